import jax
import jax.numpy as jnp
import numpy as np

from jaxgs import codec, coded_bits
from jaxgs.config import QuantConfig
from jaxgs.quantize import device_lattice, lattice_of, to_symbols
from jaxgs.rate import estimated_bits, expect
from tests.kernels.scenes import random_gaussians

LATTICE = lattice_of(QuantConfig(), 3, "ycocg")
HEADER = codec.Header(
  height=33,
  width=41,
  channels=3,
  num_gaussians=60,
  lattice=LATTICE,
  color_transform="ycocg",
)


def symbols_of(seed):
  gaussians = jax.tree.map(jnp.asarray, random_gaussians(seed))
  return to_symbols(
    gaussians, device_lattice(LATTICE), height=33, width=41, transform="ycocg"
  )


def true_bits(symbols, count=60):
  arrays = jax.tree.map(lambda x: np.asarray(x)[:count], symbols)
  header = codec.Header(
    height=33,
    width=41,
    channels=3,
    num_gaussians=count,
    lattice=LATTICE,
    color_transform="ycocg",
  )
  return 8 * len(codec.encode(header, arrays))


def test_inside_jit():
  got = jax.jit(lambda s: coded_bits(s, HEADER))(symbols_of(0))
  assert got == true_bits(symbols_of(0))


def test_batches():
  scenes = [symbols_of(s) for s in range(4)]
  many = jax.tree.map(lambda *x: jnp.stack(x), *scenes)
  want = [true_bits(s) for s in scenes]
  size = jax.vmap(lambda s: coded_bits(s, HEADER))
  np.testing.assert_array_equal(size(many), want)
  np.testing.assert_array_equal(jax.jit(size)(many), want)
  square = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), many)
  np.testing.assert_array_equal(
    jax.vmap(size)(square), np.reshape(want, (2, 2))
  )


def test_batch_of_some_leaves_only():
  scene = symbols_of(0)
  weights = jnp.stack([scene.weight, jnp.zeros_like(scene.weight)])
  got = jax.vmap(lambda w: coded_bits(scene._replace(weight=w), HEADER))(
    weights
  )
  assert got[0] == true_bits(scene)
  assert got[1] < got[0]


def test_inactive_are_not_written():
  active = jnp.arange(60) < 25
  got = coded_bits(symbols_of(0), HEADER, active=active)
  assert got == true_bits(symbols_of(0), 25)
  assert coded_bits(symbols_of(0), HEADER, active=jnp.zeros(60, bool)) == 0


def test_expects_what_is_around():
  # Two halves of the picture, each of one colour; weights of no order at all.
  gaussians = jax.tree.map(jnp.asarray, random_gaussians(0, n=400))
  left = gaussians.mean[:, 0] < 20.0
  feature = jnp.where(left[:, None], 0.2, 0.9) + 0.0 * gaussians.feature
  gaussians = gaussians._replace(feature=feature)
  active = jnp.arange(400) < 300
  expected = expect(gaussians, active)
  error = jnp.abs(expected.centre[:300, 3:] - feature[:300])
  assert jnp.median(error) < 0.01
  # Nothing is to be learnt from those around: the mean of all is best.
  weight = gaussians.log_weight[:300]
  np.testing.assert_allclose(
    expected.spread[2], jnp.mean(jnp.abs(weight - weight.mean())), rtol=1e-3
  )
  elsewhere = gaussians.feature.at[300:].set(1e6)
  same = expect(gaussians._replace(feature=elsewhere), active)
  np.testing.assert_allclose(
    same.centre[:300], expected.centre[:300], atol=1e-5
  )


def test_cheaper_by_estimate_is_cheaper_in_the_file():
  gaussians = jax.tree.map(jnp.asarray, random_gaussians(1, n=300))
  active = jnp.ones(300, bool)
  options = {"transform": "ycocg"}
  expected = expect(gaussians, active, **options)

  def bits(gaussians):
    return estimated_bits(gaussians, active, expected, **options)

  gradient = jax.grad(bits)(gaussians)
  assert not gradient.mean.any()
  assert not gradient.angle.any()
  moved = jax.tree.map(lambda x, g: x - 0.1 * jnp.sign(g), gaussians, gradient)
  estimate = bits(moved) - bits(gaussians)
  lattice = lattice_of(QuantConfig(coarseness=0.3), 3, "ycocg")
  header = codec.Header(
    height=33,
    width=41,
    channels=3,
    num_gaussians=300,
    lattice=lattice,
    color_transform="ycocg",
  )
  before, after = (
    coded_bits(
      to_symbols(
        g, device_lattice(lattice), height=33, width=41, transform="ycocg"
      ),
      header,
    )
    for g in (gaussians, moved)
  )
  saved = float(after) - float(before)
  assert saved < 0
  assert 0.3 < float(estimate) / saved < 3
