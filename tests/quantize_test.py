import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgs import codec
from jaxgs.config import FieldBits, QuantConfig
from jaxgs.dequantize import from_symbols, ycocg_to_rgb
from jaxgs.quantize import (
  canonicalize,
  device_lattice,
  lattice_of,
  measured_config,
  quantize,
  rgb_to_ycocg,
  to_symbols,
)
from jaxgs.types import Gaussians2D
from tests.kernels.scenes import random_gaussians

SIZE = {"height": 33, "width": 41}


def scene(seed=0, channels=3):
  gaussians = random_gaussians(seed, n=400, spread=0.0, channels=channels)
  return jax.tree.map(jnp.asarray, gaussians)


# Steps that do not depend on the splat, but for those that always do.
PLAIN = QuantConfig(
  adaptive=False,
  scale_step=0.073,
  position_precision=3.18,
  angle_step=0.097,
  weight_step=0.255,
  luma_step=0.0092,
  chroma_step=0.0202,
)


def lattice(transform="ycocg", channels=3, config=None, **changes):
  config = dataclasses.replace(config or QuantConfig(), **changes)
  return lattice_of(config, channels, transform)


@pytest.mark.parametrize("transform", ["none", "ycocg"])
def test_error_is_within_half_a_step(transform):
  config = PLAIN
  steps = lattice(transform, config=config)
  got = quantize(scene(), device_lattice(steps), **SIZE, transform=transform)
  want = canonicalize(scene())
  half = 0.5 + 1e-3
  scale = steps.scale_step / 65536
  assert np.abs(got.log_scale - want.log_scale).max() <= half * scale
  weight = steps.weight_step / 65536
  assert np.abs(got.log_weight - want.log_weight).max() <= half * weight
  step = np.exp(want.log_scale[:, 1:]) / 2**config.position_precision
  # The position step is the power of two up to twice the wanted one; the
  # rounding of the scale may move it by half a step.
  error = np.abs(got.mean - want.mean)
  assert (error <= 0.51 * np.maximum(2 * step, 1 / 64) * np.exp(scale)).all()
  assert np.median(error / step) > 0.1
  change = rgb_to_ycocg if transform == "ycocg" else lambda x: x
  error = np.abs(change(got.feature) - change(want.feature)).max(0)
  assert (error <= half * np.array(steps.feature_step) / 65536 + 1e-6).all()
  ratio = np.exp(want.log_scale[:, 1] - want.log_scale[:, 0])
  step = np.minimum(
    config.angle_step * ratio / np.maximum(1 - ratio**2, 1e-3), np.pi
  )
  turn = np.abs(got.angle - want.angle)
  turn = np.minimum(turn, np.pi - turn)
  assert (turn <= np.maximum(0.62 * step, np.pi / 1024) + 1e-5)[
    ratio < 0.7
  ].all()


def test_error_follows_the_splat():
  config = QuantConfig(coarseness=0.5)
  got = quantize(
    scene(), device_lattice(lattice(config=config)), **SIZE, transform="ycocg"
  )
  want = canonicalize(scene())
  area = np.exp(want.log_scale.sum(1))
  # Centres: along and across the long axis, each against its own scale.
  dx, dy = np.array(got.mean - want.mean).T
  cos, sin = np.cos(got.angle), np.sin(got.angle)
  inside = ((want.mean > 1) & (want.mean < jnp.array([[40.0, 32.0]]))).all(1)
  fine = 2.0 ** (config.position_precision + 1) * area**config.geometry_power
  for error, axis in ((cos * dx + sin * dy, 0), (cos * dy - sin * dx, 1)):
    step = 2 * np.exp(want.log_scale[:, axis]) / fine
    share = np.abs(error) / np.maximum(step, 1 / 64)
    # The lattice is of the rounded shape, and sheared, not turned.
    assert share[inside & (step < 4)].max() < 1.6
    assert np.median(share[inside]) > 0.1
  error = np.abs(rgb_to_ycocg(got.feature) - rgb_to_ycocg(want.feature))
  fine = area**config.feature_power * np.exp(
    config.feature_weight_power * want.log_weight
  )
  for channel, step in enumerate(
    (config.luma_step, config.chroma_step, config.chroma_step)
  ):
    share = error[:, channel] * fine / (0.5 * step)
    assert share.max() < 0.5 * 1.3
    assert 0.15 < np.median(share) < 0.35
  step = 0.5 * config.weight_step / area**config.geometry_power
  share = np.abs(got.log_weight - want.log_weight) / step
  assert 0.4 < share.max() < 0.65


def test_steps_follow_the_error_of_the_fit():
  def coarseness(mse, size=(33, 41), coarseness=2.0):
    config = QuantConfig(coarseness=coarseness)
    return measured_config(
      scene(), np.ones(400, bool), mse, config, size=size, transform="ycocg"
    ).coarseness

  base = coarseness(1e-3)
  assert coarseness(1e-2) == pytest.approx(base * 10**0.3)
  assert coarseness(1e-3, size=(66, 82)) == pytest.approx(2 * base)
  assert coarseness(1e-3, coarseness=4.0) == pytest.approx(2 * base)
  assert coarseness(np.inf) == 2.0
  assert 0 < coarseness(0.0) < coarseness(1e-6, size=(99, 82)) < 2


def test_what_is_trained_is_what_is_stored():
  steps = device_lattice(lattice())
  trained = jax.jit(lambda g: quantize(g, steps, **SIZE, transform="ycocg"))(
    scene()
  )
  symbols = to_symbols(scene(), steps, **SIZE, transform="ycocg")
  header = codec.Header(
    **SIZE,
    channels=3,
    num_gaussians=400,
    lattice=lattice(),
    color_transform="ycocg",
  )
  symbols = jax.tree.map(np.asarray, symbols)
  order = codec.order(header, symbols)
  _, decoded = codec.decode(codec.encode(header, symbols))
  stored = from_symbols(
    jax.tree.map(jnp.asarray, decoded), steps, transform="ycocg"
  )
  for name, a, b in zip(trained._fields, trained, stored, strict=True):
    np.testing.assert_array_equal(a[order], b, err_msg=name)


def test_straight_through_gradient_is_the_identity():
  steps = device_lattice(lattice())
  gaussians = canonicalize(scene())
  cotangent = jax.tree.map(
    lambda x: jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape),
    gaussians,
  )
  _, vjp = jax.vjp(
    lambda g: quantize(g, steps, **SIZE, transform="ycocg"), gaussians
  )
  for got, want in zip(vjp(cotangent)[0], cotangent, strict=True):
    np.testing.assert_array_equal(got, want)


def test_quantizing_twice_changes_nothing():
  steps = device_lattice(lattice())
  once = to_symbols(scene(), steps, **SIZE, transform="ycocg")
  values = from_symbols(once, steps, transform="ycocg")
  twice = to_symbols(values, steps, **SIZE, transform="ycocg")
  for a, b in zip(once, twice, strict=True):
    np.testing.assert_array_equal(a, b)


def test_canonical_form_is_the_same_ellipse():
  gaussians = scene()
  same = canonicalize(gaussians)
  assert (same.log_scale[:, 0] >= same.log_scale[:, 1]).all()
  assert ((same.angle >= 0) & (same.angle <= np.pi)).all()

  def covariance(g):
    c, s = np.cos(g.angle), np.sin(g.angle)
    rotation = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
    scale = np.exp(2 * np.asarray(g.log_scale))
    return np.einsum("nij,nj,nkj->nik", rotation, scale, rotation)

  np.testing.assert_allclose(
    covariance(gaussians), covariance(same), rtol=2e-4, atol=1e-4
  )


def test_extreme_parameters_make_valid_symbols():
  gaussians = scene()
  bad = Gaussians2D(
    mean=gaussians.mean.at[:9].set(1e30).at[9:18].set(-1e30),
    log_scale=gaussians.log_scale.at[:5].set(1e9).at[5:9, 0].set(-1e9),
    angle=gaussians.angle.at[:9].set(1e6),
    log_weight=gaussians.log_weight.at[:9].set(-1e30),
    feature=gaussians.feature.at[:9].set(1e30),
  )
  symbols = to_symbols(
    bad, device_lattice(lattice()), **SIZE, transform="ycocg"
  )
  header = codec.Header(
    **SIZE,
    channels=3,
    num_gaussians=400,
    lattice=lattice(),
    color_transform="ycocg",
  )
  data = codec.encode(header, jax.tree.map(np.asarray, symbols))
  assert codec.decode(data)[0] == header


@pytest.mark.parametrize("channels", [3, 5])
def test_color_transform_round_trip(channels):
  rng = np.random.default_rng(0)
  rgb = jnp.asarray(rng.normal(size=(50, channels)), jnp.float32)
  np.testing.assert_allclose(ycocg_to_rgb(rgb_to_ycocg(rgb)), rgb, atol=1e-6)
  grey = jnp.full((1, channels), 0.4, jnp.float32)
  np.testing.assert_allclose(
    rgb_to_ycocg(grey)[0, :3], [0.4, 0.0, 0.0], atol=1e-7
  )


def test_bits_per_field_give_that_many_levels():
  gaussians = scene()
  config = QuantConfig(bits=FieldBits(scale=5, weight=4, feature=6, angle=6))
  measured = measured_config(
    gaussians,
    np.ones(400, bool),
    1e-3,
    config,
    size=(33, 41),
    transform="none",
  )
  steps = device_lattice(lattice_of(measured, 3, "none"))
  symbols = to_symbols(gaussians, steps, **SIZE, transform="none")
  for values, bits in (
    (symbols.weight, 4),
    (symbols.feature[:, 0], 6),
    (symbols.scale[:, 0], 5),
  ):
    levels = int(values.max() - values.min()) + 1
    assert levels <= 2**bits + 1
  assert int(symbols.weight.max() - symbols.weight.min()) + 1 >= 2**4 - 1


def test_coarser_steps_make_smaller_files():
  sizes = []
  for coarseness in (0.5, 1.0, 2.0):
    steps = lattice(coarseness=coarseness)
    symbols = to_symbols(
      scene(), device_lattice(steps), **SIZE, transform="ycocg"
    )
    header = codec.Header(
      **SIZE,
      channels=3,
      num_gaussians=400,
      lattice=steps,
      color_transform="ycocg",
    )
    sizes.append(len(codec.encode(header, jax.tree.map(np.asarray, symbols))))
  assert sizes[0] > 1.1 * sizes[1] > 1.2 * sizes[2]
