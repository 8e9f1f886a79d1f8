"""Which weights are blended, where the kernels in Triton find it hard to tell.

They also run in Triton's interpreter, from `triton_test`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxgs.kernels import load
from jaxgs.kernels.binning import triton as triton_binning
from jaxgs.kernels.rasterize import triton as triton_rasterize

from jaxgs.config import RasterSpec
from jaxgs.types import Splats
from tests.kernels.scenes import circle
from tests.kernels.triton_test import compare_with_reference, needs_kernels

SIZE = (8, 8)


def round_splats(log_weight, *, mean=(4.0, 4.0), sigma=3.0):
  """Round splats of one size; their features differ."""
  n = len(log_weight)
  feature = np.random.default_rng(2).normal(0.5, 0.4, (n, 1))
  return Splats(
    mean=jnp.asarray(np.broadcast_to(np.float32(mean), (n, 2))),
    conic=jnp.tile(jnp.float32([sigma**-2, 0, sigma**-2]), (n, 1)),
    log_weight=jnp.float32(log_weight),
    feature=jnp.float32(feature),
  )


def check_nearly_equal_weights():
  """At every pixel some weights beside the K-th have its key or the next.

  Of 70 splats 12 are drawn: three in each quarter of the tile, some of them
  over the largest logarithm that has a key of its own.
  """
  n = 70
  rng = np.random.default_rng(4)
  # In the logarithm to base 2 it is 3e-5 from one to the next, a key is 1.5e-4.
  log_weight = 1.0 + 2e-5 * rng.permutation(n)
  quarter = rng.permutation(n) % 4
  mean = np.stack([2 + 4 * (quarter % 2), 2 + 4 * (quarter // 2)], axis=1)
  largest = [
    np.argsort(np.where(quarter == i, -log_weight, 0.0))[:3] for i in range(4)
  ]
  largest = np.sort(np.ravel(largest))
  # In each 32 of the list there are some, and others.
  assert set(largest // 32) == {0, 1, 2}
  spec = RasterSpec(backend="triton", top_k=3, max_pairs=128, tile=8)
  splats = round_splats(log_weight, mean=mean, sigma=1.5)
  residuals = compare_with_reference(spec, SIZE, splats)
  assert residuals.ties[0] == 0
  assert residuals.num_drawn[0] == len(largest)
  np.testing.assert_array_equal(residuals.drawn[: len(largest)], largest)


def check_weights_at_the_limit():
  """More than K weights are larger than the limit, but have its key."""
  log_weight = -6 + 1e-5 * np.array([1, 3, 2, 5, 4])
  spec = RasterSpec(
    backend="triton", edge="sharp", epsilon=0.0, top_k=3, max_pairs=64, tile=8
  )
  compare_with_reference(spec, SIZE, round_splats(log_weight, sigma=1e4))


def check_more_than_are_sorted():
  """The 17 largest of 20 that are all over the limit: 17 passes a pixel."""
  rng = np.random.default_rng(0)
  splats = round_splats(
    rng.normal(0, 0.5, 20), mean=rng.uniform(1, 7, (20, 2)), sigma=4.0
  )
  spec = RasterSpec(backend="triton", top_k=17, max_pairs=64, tile=8)
  compare_with_reference(spec, SIZE, splats)


def check_two_scenes():
  """Two scenes in one call, in one of four tiles some weights are equal.

  Without what gradients need the picture is the same, bit by bit. The row
  behind the table's last splat is a warp's only one.
  """
  size, half = (8, 16), 16
  spec = RasterSpec(backend="triton", top_k=2, max_pairs=128, tile=8)
  rng = np.random.default_rng(0)
  log_weight = rng.normal(0, 0.5, (2, 2, half))
  log_weight[1, 1, 8:] = 2.0
  mean = np.repeat([[4.0, 4.0], [12.0, 4.0]], half, axis=0)
  scenes = [round_splats(x.ravel(), mean=mean, sigma=1.0) for x in log_weight]
  both = jax.tree.map(lambda *x: jnp.stack(x), *scenes)

  def draw(splats, keep):
    bins = triton_binning.bin_splats(spec, size, splats)
    image, residuals = triton_rasterize.forward(
      spec, size, splats, bins, keep=keep
    )
    if not keep:
      assert residuals is None
      return image
    gradient = triton_rasterize.backward(
      spec, size, splats, bins, residuals, jnp.ones_like(image)
    )
    return image, residuals, gradient

  image, residuals, gradient = jax.vmap(lambda s: draw(s, True))(both)
  np.testing.assert_array_equal(residuals.ties, [[0, 0], [0, 1]])
  np.testing.assert_array_equal(residuals.num_drawn, [[2, 2], [2, half]])
  np.testing.assert_array_equal(residuals.table[:, -1, 5:7], 2 * [[-np.inf, 0]])
  place = np.argsort(np.argsort(-log_weight, stable=True), stable=True)
  got = np.reshape(gradient.feature, log_weight.shape)
  np.testing.assert_array_equal(got > 0, place < 2)
  np.testing.assert_array_equal(jax.vmap(lambda s: draw(s, False))(both), image)


def check_a_splat_much_smaller_than_a_pixel():
  """Entries of its conic have no finite product."""
  splats = jax.tree.map(
    lambda *x: jnp.concatenate(x),
    circle(4.5, 4.5, 1e-10),
    circle(4.0, 4.0, 3.0, feature=(0.2,)),
  )
  spec = RasterSpec(backend="triton", blend="sum", max_pairs=64, tile=8)
  # Its box has no finite size either: with lists made elsewhere.
  bins = load("xla", "binning").bin_splats(spec, SIZE, splats)
  image, residuals = triton_rasterize.forward(spec, SIZE, splats, bins)
  np.testing.assert_allclose(
    image, load("reference").draw(spec, SIZE, splats), rtol=1e-4, atol=2e-5
  )
  gradient = triton_rasterize.backward(
    spec, SIZE, splats, bins, residuals, jnp.ones_like(image)
  )
  assert np.isfinite(gradient.feature).all()


@needs_kernels
def test_nearly_equal_weights():
  check_nearly_equal_weights()


@needs_kernels
def test_weights_at_the_limit():
  check_weights_at_the_limit()


@needs_kernels
def test_more_than_are_sorted():
  check_more_than_are_sorted()


@needs_kernels
def test_a_splat_much_smaller_than_a_pixel():
  check_a_splat_much_smaller_than_a_pixel()


@needs_kernels
def test_two_scenes():
  check_two_scenes()
