import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgs.config import FitConfig, QuantConfig
from jaxgs.fit import fit_chunk
from jaxgs.state import init_fit, share_of
from jaxgs.step import thrift_of

SMALL = FitConfig(
  num_gaussians=40,
  num_steps=100,
  chunk_steps=10,
  growth_rounds=0,
  relocate_ratio=0.0,
)
SIZE = (24, 32)


def image():
  y, x = np.mgrid[: SIZE[0], : SIZE[1]] / 8.0
  waves = [0.5 + 0.4 * np.sin(x * k + y) for k in (1, 2, 3)]
  return jnp.asarray(np.stack(waves, -1), jnp.float32)


def state_at(step, mse=1e-3, value=np.inf):
  state = init_fit(jax.random.key(0), image(), SMALL)
  return state._replace(
    step=jnp.int32(step),
    mse=jnp.float32(mse),
    splat_value=jnp.float32(value),
  )


def thrift(state, quant=None, **settings):
  config = dataclasses.replace(SMALL, **settings)
  quant = quant or QuantConfig()
  return thrift_of(state, config, quant, share_of(config, SIZE), "ycocg")


def test_nothing_is_asked_while_splats_are_added():
  for state in (state_at(19), state_at(50, mse=np.inf)):
    asked = thrift(state)
    assert asked.bit_price == 0
    assert asked.coarseness == 0
  asked = thrift(state_at(20))
  assert asked.bit_price > 0
  assert asked.coarseness > 0


def test_price_follows_error_and_worth():
  base = thrift(state_at(50)).bit_price
  ratios = {
    "error": thrift(state_at(50, mse=32e-3)).bit_price,
    "price": thrift(state_at(50), bit_price=1.0).bit_price,
    # The bound by what a splat is worth: far off, and in force.
    "dear": thrift(state_at(50, value=1.0)).bit_price,
    "cheap": thrift(state_at(50, value=1e-6)).bit_price,
  }
  expected = {"error": 8.0, "price": 2.0, "dear": 1.0}
  for name, factor in expected.items():
    np.testing.assert_allclose(ratios[name] / base, factor, rtol=1e-4)
  np.testing.assert_allclose(ratios["cheap"], 0.5 * 8e-3 * 1e-6, rtol=1e-5)


def test_noise_is_as_coarse_as_the_lattice():
  once = thrift(state_at(50)).coarseness
  twice = thrift(state_at(50), QuantConfig(coarseness=2.0)).coarseness
  np.testing.assert_allclose(twice / once, 2.0, rtol=1e-6)


@pytest.mark.parametrize("settings", ({"bit_price": 8.0}, {"noise": 1.0}))
def test_only_fits_that_are_to_be_rounded_pay(settings):
  off = dataclasses.replace(SMALL, bit_price=0.0)
  on = dataclasses.replace(off, **settings)
  start = state_at(50)

  def after(config, quant):
    new = fit_chunk(start, image(), config, quant=quant, num_steps=2)
    return np.concatenate([np.ravel(leaf) for leaf in new.gaussians])

  free = after(off, None)
  np.testing.assert_array_equal(after(on, None), free)
  np.testing.assert_array_equal(after(off, QuantConfig()), free)
  assert np.abs(after(on, QuantConfig()) - free).max() > 1e-3


def test_relocation_tells_what_a_splat_is_worth():
  config = dataclasses.replace(
    SMALL, relocate_ratio=0.05, growth_every=20, relocate_until=0.9
  )
  state = state_at(19)._replace(decay_step=jnp.int32(config.decay_step))
  assert not np.isfinite(state.splat_value)
  after = fit_chunk(state, image(), config, num_steps=1)
  # Less than all of the picture, more than nothing.
  assert 0 < after.splat_value < 0.1
