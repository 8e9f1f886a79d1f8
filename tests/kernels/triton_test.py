"""The backend in Triton: on a GPU in full, elsewhere what can be had.

Without a GPU the kernels are compiled to PTX, and their arithmetic runs in
Triton's interpreter. One command runs only these tests on a GPU:

  python -m pytest -n 0 tests/kernels/triton_{test,lists_test,search_test}.py
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxgs.kernels import load, triton_call
from jaxgs.kernels.binning import triton as triton_binning
from jaxgs.kernels.rasterize import triton as triton_rasterize

from jaxgs.binning import bin_splats
from jaxgs.config import RasterSpec
from jaxgs.project import project
from jaxgs.rasterize import render
from jaxgs.types import Splats
from tests.kernels.rasterize_test_base import SPECS, RasterizeTestBase
from tests.kernels.scenes import circle, random_gaussians
from tests.kernels.triton_without_gpu import (
  compile_for,
  needs_compiler,
  needs_interpreter,
  needs_kernels,
  run_interpreted,
)

# The number of the largest weights that are sorted sets the kernel's code.
KERNEL_SPECS = SPECS | {
  "norm_k4": RasterSpec(top_k=4),
  "norm_k16": RasterSpec(top_k=16),
}


@needs_kernels
class TestTriton(RasterizeTestBase):
  backend = "triton"


def scene(seed, n, size, **changes):
  gaussians = random_gaussians(
    seed, n=n, height=size[0], width=size[1], **changes
  )
  return project(jax.tree.map(jnp.asarray, gaussians))


def assert_same_lists(got, want):
  """Equal lists; `got` may have room for more."""
  np.testing.assert_array_equal(got.starts, want.starts)
  length = int(want.starts[-1])
  np.testing.assert_array_equal(got.ids[:length], want.ids[:length])


def check_against_reference(name, size, n, tile, channels=3, *, max_pairs=2048):
  """Lists, picture and gradients of a scene."""
  spec = dataclasses.replace(KERNEL_SPECS[name], tile=tile, max_pairs=max_pairs)
  compare_with_reference(spec, size, scene(0, n, size, channels=channels))


def compare_with_reference(spec, size, splats):
  """Lists, picture and gradients; what the forward pass has left."""
  bins = triton_binning.bin_splats(spec, size, splats)
  want = load("xla", "binning").bin_splats(spec, size, splats)
  if spec.edge == "smooth":
    # A sharp edge may be rounded across a tile's border: neither is wrong.
    assert_same_lists(bins, want)
  image, residuals = triton_rasterize.forward(spec, size, splats, bins)
  draw = load("reference").draw
  cotangent = np.random.default_rng(1).normal(size=image.shape)
  cotangent = cotangent.astype(np.float32)
  got = triton_rasterize.backward(
    spec, size, splats, bins, residuals, jnp.asarray(cotangent)
  )
  with jax.enable_x64(True):
    wide = Splats(*(np.float64(x) for x in splats))
    want, vjp = jax.vjp(lambda s: draw(spec, size, s), wide)
    gradients = vjp(np.float64(cotangent))[0]
  np.testing.assert_allclose(image, want, atol=2e-5, rtol=1e-4)
  for field, a, b in zip(got._fields, got, gradients, strict=True):
    b = np.asarray(b)
    error = np.linalg.norm(np.float64(a) - b) / np.linalg.norm(b)
    assert error < 1e-4, (field, error)
  return residuals


def check_a_long_list():
  """One tile with a long list among others: it is drawn first."""
  size, n = (8, 48), 75
  rng = np.random.default_rng(0)
  gaussians = random_gaussians(0, n=n, height=8, width=48, channels=1)
  gaussians = gaussians._replace(
    mean=rng.uniform([9, 1], [15, 7], (n, 2)).astype(np.float32),
    log_scale=rng.uniform(-0.5, 0.2, (n, 2)).astype(np.float32),
  )
  # Equal weights at the limit of what is blended, in the upper half only.
  gaussians.mean[:, 1] = np.where(np.arange(n) < 30, 1.5, 6.5)
  for field in gaussians[:4]:
    field[1:30:2] = field[0:30:2]
  # One that is not drawn, but beside tiles that are.
  gaussians.mean[40] = [-50.0, 4.0]
  splats = project(jax.tree.map(jnp.asarray, gaussians))
  spec = RasterSpec(backend="triton", max_pairs=512, tile=8)
  residuals = compare_with_reference(spec, size, splats)
  counts = np.asarray(residuals.cursor)[2:].view(np.int64)[0]
  assert counts >> 42 == 1
  assert residuals.ties[1] == 1


def check_batch():
  """Gradients of two scenes in one call of the kernels."""
  size = {"height": 5, "width": 9}
  scenes = [random_gaussians(seed, n=8, **size) for seed in range(2)]
  many = jax.tree.map(lambda *x: jnp.stack(x), *scenes)

  def loss(gaussians, backend):
    spec = RasterSpec(backend=backend, max_pairs=128, tile=8)
    return jnp.sum(jnp.square(render(gaussians, **size, spec=spec).image))

  got, want = (
    jax.vmap(jax.value_and_grad(functools.partial(loss, backend=backend)))(many)
    for backend in ("triton", "reference")
  )
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max())


@needs_kernels
def test_a_splat_shows_only_where_it_is_listed():
  # Lists are read four or eight at a time: nothing comes after their end.
  splats = scene(0, 5, (8, 8), channels=1)
  splats = splats._replace(
    mean=splats.mean.at[0].set(1e4), feature=splats.feature.at[0].set(jnp.nan)
  )
  spec = RasterSpec(backend="triton", top_k=3, max_pairs=256, tile=8)
  bins = triton_binning.bin_splats(spec, (8, 8), splats)
  assert 0 < int(bins.starts[-1]) < 5
  image, _ = triton_rasterize.forward(spec, (8, 8), splats, bins)
  assert np.isfinite(image).all()


@needs_kernels
def test_equal_weights_among_many():
  # Twice 10 equal splats, above and below: those blended are the first of them
  # in the list, also backward.
  spec = RasterSpec(backend="triton", top_k=3, max_pairs=1024, tile=8)
  many = [
    circle(4.0, 1.5 if i < 10 else 6.5, 3.0, feature=(float(i),))
    for i in range(20)
  ]
  splats = jax.tree.map(lambda *x: jnp.concatenate(x), *many)
  bins = triton_binning.bin_splats(spec, (8, 8), splats)
  image, residuals = triton_rasterize.forward(spec, (8, 8), splats, bins)
  np.testing.assert_allclose(image[1, 3], 1.0, rtol=1e-3)
  np.testing.assert_allclose(image[6, 3], 11.0, rtol=1e-3)
  gradient = triton_rasterize.backward(
    spec, (8, 8), splats, bins, residuals, jnp.ones_like(image)
  )
  blended = np.arange(20) % 10 < 3
  feature = np.asarray(gradient.feature)[:, 0]
  np.testing.assert_allclose(feature, np.where(blended, 32 / 3, 0), rtol=1e-3)
  np.testing.assert_array_equal(gradient.conic[~blended], 0.0)


@needs_kernels
def test_pixels_where_nothing_is_drawn_without_an_epsilon():
  spec = RasterSpec(
    backend="triton", top_k=3, max_pairs=64, tile=8, epsilon=0.0
  )
  both = [circle(1.5, 1.5, 0.4), circle(6.5, 6.5, 0.4)]
  splats = jax.tree.map(lambda *x: jnp.concatenate(x), *both)
  bins = triton_binning.bin_splats(spec, (8, 8), splats)
  image, residuals = triton_rasterize.forward(spec, (8, 8), splats, bins)
  cotangent = jnp.zeros_like(image).at[jnp.array([1, 6]), jnp.array([1, 6])]
  gradient = triton_rasterize.backward(
    spec, (8, 8), splats, bins, residuals, cotangent.set(1.0)
  )
  assert all(np.isfinite(x).all() for x in gradient)


@needs_kernels
def test_the_same_bits_every_time():
  size, spec = (
    (64, 80),
    RasterSpec(backend="triton", max_pairs=1 << 14, tile=16),
  )
  splats = scene(3, 400, size)

  @jax.jit
  def gradient(splats):
    bins = bin_splats(splats, height=64, width=80, spec=spec)
    image, residuals = triton_rasterize.forward(spec, size, splats, bins)
    return triton_rasterize.backward(
      spec, size, splats, bins, residuals, jnp.cos(image)
    )

  first = gradient(splats)
  for _ in range(5):
    jax.tree.map(np.testing.assert_array_equal, gradient(splats), first)


def check_loss(size, channels, masked):
  """Value and gradients of the loss against xla."""
  rng = np.random.default_rng(0)
  target = rng.random((*size, channels)).astype(np.float32)
  noise = rng.normal(0, 0.2, target.shape).astype(np.float32)
  rendered, mask = target + noise, None
  if masked:
    mask = np.ones(size, np.float32)
    mask[:2] = 0.5
    mask[size[0] // 2 :, size[1] // 2 :] = 0.0
    rendered[-1, -1] = np.nan
  results = []
  for backend in ("triton", "xla"):
    function = functools.partial(
      load(backend, "loss").image_loss, mask=mask, l1=0.8, l2=0.5, ssim=0.2
    )
    results.append(
      jax.value_and_grad(function, argnums=(0, 1), has_aux=True)(
        jnp.asarray(rendered), jnp.asarray(target)
      )
    )
  (got, got_gradients), (want, want_gradients) = results
  np.testing.assert_allclose(got, want, rtol=1e-5)
  for a, b in zip(got_gradients, want_gradients, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * np.abs(b).max())


@needs_kernels
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
  ("size", "channels"),
  [((1, 1), 1), ((40, 33), 3), ((16, 64), 8), ((130, 521), 2)],
)
def test_loss(size, channels, masked):
  if size == (1, 1) and masked:
    pytest.skip("nothing is left of it")
  check_loss(size, channels, masked)


def check_loss_of_a_flat_picture(*shape):
  """Variances of a bright picture that hardly varies are small differences.

  Tensor cores cut what they add up, always towards 0: 3.5e-4 of the loss here,
  on an H200. The interpreter does not.
  """
  noise = np.random.default_rng(0).normal(0, 0.02, (2, *shape))
  rendered, target = np.float32(0.98 + noise[0]), np.float32(1 + noise[1])
  losses = [
    load(backend, "loss").image_loss(
      jnp.asarray(rendered), jnp.asarray(target), None, l1=0.0, l2=0.0, ssim=1.0
    )[0]
    for backend in ("triton", "xla")
  ]
  rtol = 1e-4 if triton_call.interpreted() else 1e-3
  np.testing.assert_allclose(*losses, rtol=rtol)


@needs_kernels
def test_loss_of_a_flat_picture():
  check_loss_of_a_flat_picture(40, 48, 3)


def check_loss_of_a_batch(*shape):
  """Under two maps: 2 by 3 pairs of this shape."""
  rng = np.random.default_rng(0)
  pairs = rng.random((2, 2, 3, *shape)).astype(np.float32)
  losses = [
    jax.vmap(
      jax.vmap(
        functools.partial(
          load(backend, "loss").image_loss, mask=None, l1=0.0, l2=0.0, ssim=1.0
        )
      )
    )(*pairs)
    for backend in ("triton", "xla")
  ]
  np.testing.assert_allclose(*losses, rtol=1e-5)


@needs_kernels
def test_loss_of_a_batch():
  check_loss_of_a_batch(20, 24, 3)


@needs_compiler
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(
  ("name", "channels", "tile"),
  [
    ("norm", 3, 8),
    ("norm_k4", 1, 16),
    ("norm_k16", 8, 8),
    ("norm_k40", 1, 16),
    ("sum", 16, 32),
  ],
)
def test_compiles_without_a_gpu(
  monkeypatch, tmp_path, capability, name, channels, tile
):
  spec = dataclasses.replace(KERNEL_SPECS[name], tile=tile, max_pairs=4096)
  size, n = (33, 41 + channels % 2), 60

  def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)

  def step(splats, cotangent):
    bins = triton_binning.bin_splats(spec, size, splats)
    image, residuals = triton_rasterize.forward(spec, size, splats, bins)
    loss = load("triton", "loss").image_loss
    slope = jax.grad(
      lambda x: loss(x, cotangent, None, l1=1.0, l2=0.0, ssim=0.1)[0]
    )(image)
    return image, triton_rasterize.backward(
      spec, size, splats, bins, residuals, slope
    )

  splats = Splats(array(n, 2), array(n, 3), array(n), array(n, channels))
  calls, compiled = compile_for(
    capability,
    step,
    (splats, array(*size, channels)),
    monkeypatch=monkeypatch,
    folder=tmp_path,
  )
  # Four kernels make the lists, two draw, two compare, two differentiate.
  assert calls >= 10
  # jax-triton keeps those of other cases, but not the two that draw.
  assert len(compiled) >= 2
  for ptx in compiled:
    if "mma.sync" in ptx and "value_kernel" not in ptx:
      # Lanes are those that the products expect: nothing is handed about.
      assert "shared" not in ptx.split(".entry")[1]


# Small scenes: the interpreter takes a fraction of a millisecond per operation.
INTERPRETED = {
  "norm": 't.check_against_reference("norm", (6, 9), 12, 8, max_pairs=256)',
  "norm_k4": """
t.check_against_reference("norm_k4", (5, 6), 12, 8, channels=1, max_pairs=256)
t.test_equal_weights_among_many()
""",
  "norm_k16": """
t.check_against_reference("norm_k16", (6, 7), 24, 8, channels=8, max_pairs=256)
""",
  "long_list": "t.check_a_long_list()",
  "norm_k40": """
t.check_against_reference("norm_k40", (5, 6), 45, 8, channels=1, max_pairs=256)
""",
  "nearly_equal": """
from tests.kernels import triton_search_test as t
t.check_nearly_equal_weights()
""",
  "search": """
from tests.kernels import triton_search_test as t
t.check_weights_at_the_limit()
t.check_more_than_are_sorted()
t.check_two_scenes()
t.check_a_splat_much_smaller_than_a_pixel()
""",
  "sum": """
t.check_against_reference("sum", (6, 9), 12, 8, channels=16, max_pairs=256)
t.check_against_reference("sum_sharp", (12, 20), 8, 16, max_pairs=256)
""",
  "lists": """
from tests.kernels import triton_lists_test as t
t.check_slots()
t.test_lists_are_cut_where_there_is_no_room()
""",
  "batch": """
t.check_batch()
t.test_a_splat_shows_only_where_it_is_listed()
t.test_pixels_where_nothing_is_drawn_without_an_epsilon()
""",
  "loss": """
t.check_loss((5, 9), 1, True)
t.check_loss((22, 5), 3, False)
t.check_loss((2, 40), 2, True)
t.check_loss_of_a_batch(2, 3, 3)
t.check_loss_of_a_flat_picture(12, 16, 1)
""",
}


@needs_interpreter
@pytest.mark.parametrize("case", INTERPRETED)
def test_arithmetic_in_the_interpreter(case):
  run_interpreted(
    f"from tests.kernels import triton_test as t\n{INTERPRETED[case]}"
  )


@needs_kernels
@pytest.mark.parametrize("tile", [8, 16, 32])
@pytest.mark.parametrize("name", KERNEL_SPECS)
def test_against_the_reference(name, tile):
  check_against_reference(name, (33, 41), 120, tile)


@needs_kernels
def test_a_long_list():
  check_a_long_list()


@needs_kernels
@pytest.mark.parametrize("channels", [1, 2, 4, 8, 16, 33])
def test_many_channels(channels):
  check_against_reference("norm", (24, 24), 60, 8, channels)
