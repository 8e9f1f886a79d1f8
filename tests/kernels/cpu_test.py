"""The backend in C++: what the shared cases leave open."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxgs.kernels import load

from jaxgs import native
from jaxgs.backends import resolve_backend
from jaxgs.binning import bin_splats
from jaxgs.config import RasterSpec
from jaxgs.losses import image_loss
from jaxgs.project import project
from jaxgs.rasterize import rasterize, render
from jaxgs.types import Splats, TileBins
from tests.kernels.rasterize_test_base import RasterizeTestBase
from tests.kernels.scenes import circle, random_gaussians

pytestmark = pytest.mark.skipif(
  native.library() is None or jax.default_backend() != "cpu",
  reason=native.reason() or "draws on a CPU only",
)

SPEC = RasterSpec(backend="cpu", max_pairs=1 << 14)


class TestCpu(RasterizeTestBase):
  backend = "cpu"


def spec_of(**changes):
  return dataclasses.replace(SPEC, **changes)


def scene(seed=0, *, n=60, size=(33, 41), channels=3):
  """Splats of all sizes as numpy arrays."""
  height, width = size
  gaussians = random_gaussians(
    seed, n=n, height=height, width=width, channels=channels
  )
  return Splats(*map(np.array, project(gaussians)))


def draw(spec, size, splats, bins=None):
  height, width = size
  if bins is None:
    bins = bin_splats(splats, height=height, width=width, spec=spec)
    assert bins.dropped == 0
  return rasterize(splats, bins, height=height, width=width, spec=spec).image


def draw_and_pull(spec, size, splats, cotangent, bins=None):
  """The picture, and the gradient for a cotangent."""
  splats = jax.tree.map(jnp.asarray, splats)
  image, vjp = jax.vjp(lambda s: draw(spec, size, s, bins), splats)
  return image, vjp(jnp.asarray(cotangent, jnp.float32))[0]


def assert_same_bits(a, b):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def assert_like_reference(spec, size, splats):
  """Picture and gradient against the definition in float64."""
  cotangent = np.random.default_rng(0).normal(size=(*size, splats[3].shape[1]))
  image, gradient = draw_and_pull(spec, size, splats, cotangent)
  with jax.enable_x64(True):
    want, vjp = jax.vjp(
      lambda s: load("reference").draw(spec, size, s),
      Splats(*(jnp.asarray(leaf, np.float64) for leaf in splats)),
    )
    want, wanted = jax.tree.map(
      np.asarray, (want, vjp(jnp.asarray(cotangent))[0])
    )
  np.testing.assert_allclose(image, want, atol=2e-5, rtol=1e-4)
  for name, a, b in zip(Splats._fields, gradient, wanted, strict=True):
    error = np.linalg.norm(np.float64(a) - b)
    assert error <= 1e-4 * np.linalg.norm(b), name


# Who draws makes no difference.


@pytest.fixture
def set_threads():
  yield native.library().jaxgs_set_num_threads
  native.library().jaxgs_set_num_threads(native.num_threads())


def test_any_number_of_threads_gives_the_same_bits(set_threads):
  # Enough splats for several threads to bin them.
  size = (150, 130)
  splats = scene(1, n=9000, size=size)
  target = jnp.asarray(np.random.default_rng(0).random((*size, 3), np.float32))

  def evaluate(spec):
    bins = bin_splats(splats, height=150, width=130, spec=spec)
    image, gradient = draw_and_pull(spec, size, splats, target - 0.5, bins)
    loss = jax.value_and_grad(image_loss)(
      image, target, l1=0.8, l2=0.1, ssim=0.2, backend="cpu"
    )
    return bins, image, gradient, loss

  for spec in (
    spec_of(max_pairs=1 << 17),
    spec_of(max_pairs=1 << 17, blend="sum"),
    # Without room for all lists the same are cut.
    spec_of(max_pairs=20000),
  ):
    results = []
    for threads in (1, 2, 8):
      set_threads(threads)
      results.append(jax.tree.map(np.asarray, evaluate(spec)))
    assert (results[0][0].dropped > 0) == (spec.max_pairs == 20000)
    for result in results[1:]:
      assert_same_bits(result, results[0])


@pytest.mark.parametrize("blend", ["norm", "sum"])
@pytest.mark.parametrize("tile", [4, 8, 16, 32])
def test_drawing_without_xla_gives_the_same_bits(tile, blend):
  size, spec = (37, 45), spec_of(tile=tile, blend=blend)
  splats = scene(2, size=size)
  # Denormal products count as 0 here and there.
  splats.feature[::2] *= 1e-38
  splats.conic[1] = 1e-40
  image = np.full((*size, 3), np.nan, np.float32)
  status = native.library().jaxgs_draw(
    *(native.pointer(leaf, np.float32) for leaf in splats),
    *(len(splats.mean), 3, *size, int(blend == "sum"), spec.top_k),
    *(spec.cutoff, 1, spec.epsilon, tile, 2),
    native.pointer(image, np.float32),
  )
  assert status == 0
  assert_same_bits(image, draw(spec, size, splats))


def check_instructions(name):
  """Runs in a process of its own: the variable is read once."""
  if native.instruction_set() != name:
    print("not on this machine:", native.instruction_set())
    return
  for tile, blend, channels in ((8, "norm", 3), (16, "sum", 5)):
    assert_like_reference(
      spec_of(tile=tile, blend=blend), (33, 41), scene(3, channels=channels)
    )
  tied = jax.tree.map(lambda leaf: np.repeat(leaf, 3, axis=0), scene(3, n=20))
  assert_like_reference(spec_of(top_k=4), (33, 41), tied)
  # The loss has instructions of its own too.
  for channels in (1, 2, 3):
    rng = np.random.default_rng(0)
    pair = rng.random((2, 30, 70, channels), np.float32)
    got, want = (
      jax.value_and_grad(image_loss)(
        *jnp.asarray(pair), l1=0.5, l2=0.1, ssim=0.2, backend=backend
      )
      for backend in ("cpu", "xla")
    )
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
    np.testing.assert_allclose(got[1], want[1], atol=1e-4 * want[1].max())


@pytest.mark.parametrize("name", ["baseline", "avx2"])
def test_other_instruction_sets(name):
  code = (
    "import tests.conftest\nfrom tests.kernels import cpu_test\n"
    f"cpu_test.check_instructions({name!r})"
  )
  out = subprocess.run(
    [sys.executable, "-c", code],
    cwd=pathlib.Path(__file__).parents[2],
    env=os.environ | {"JAXGS_ISA": name},
    capture_output=True,
    text=True,
    check=False,
  )
  assert out.returncode == 0, out.stderr
  if out.stdout:
    pytest.skip(out.stdout)


# Shapes.


@pytest.mark.parametrize(
  ("top_k", "channels", "tile"),
  [
    (0, 1, 4),
    (1, 2, 8),
    (2, 3, 16),
    (10, 4, 32),
    (11, 5, 4),
    (16, 16, 8),
    (40, 17, 16),
    (255, 3, 32),
    (10, 17, 32),
  ],
)
def test_k_channels_and_tiles(top_k, channels, tile):
  splats = scene(4, n=300, size=(19, 23), channels=channels)
  # So wide that more than 255 reach every pixel.
  splats = splats._replace(conic=splats.conic * 0.02)
  # With one splat all of the weight's gradient comes from epsilon.
  spec = spec_of(top_k=top_k, tile=tile, epsilon=1e-2)
  assert_like_reference(spec, (19, 23), splats)


@pytest.mark.parametrize("size", [(1, 4096), (17, 4096), (4096, 1), (5, 3)])
def test_narrow_pictures(size):
  splats = scene(5, n=100, size=size)
  # Rounder: float32 does not know a needle's far end to a thousandth.
  splats = splats._replace(conic=splats.conic + np.float32([0.02, 0, 0.02]))
  assert_like_reference(spec_of(), size, splats)


def test_a_large_picture():
  size = (4096, 4096)
  splats = scene(6, n=200, size=size, channels=1)
  splats = splats._replace(conic=splats.conic / 900)
  image = np.asarray(draw(spec_of(max_pairs=1 << 19), size, splats))
  for row in (0, 2047, 4095):
    moved = splats._replace(mean=splats.mean - np.float32([0, row]))
    want = load("reference").draw(SPEC, (1, 4096), moved)
    np.testing.assert_allclose(image[row : row + 1], want, atol=1e-3)


def test_a_very_long_list():
  splats = scene(7, n=20000, size=(5, 6))
  assert_like_reference(spec_of(max_pairs=1 << 15), (5, 6), splats)


def test_no_splats_no_lists():
  for splats in (scene(n=0), scene()):
    size, n = (33, 41), len(splats.mean)
    for room in (0, 5):
      bins = TileBins(
        jnp.zeros(room, jnp.int32), jnp.zeros(10, jnp.int32), jnp.int32(0)
      )
      image, gradient = draw_and_pull(
        spec_of(), size, splats, np.ones((*size, 3)), bins
      )
      assert not image.any()
      assert [leaf.shape[0] for leaf in gradient] == [n] * 4
      assert not any(leaf.any() for leaf in gradient)


# Ties.


@pytest.mark.parametrize("tile", [4, 8, 16, 32])
@pytest.mark.parametrize("top_k", [1, 2, 10, 11])
def test_equal_splats(top_k, tile):
  splats = scene(8, n=15, size=(20, 22))
  copies = [splats._replace(feature=splats.feature + k) for k in range(4)]
  splats = Splats(*map(np.concatenate, zip(*copies, strict=True)))
  assert_like_reference(spec_of(top_k=top_k, tile=tile), (20, 22), splats)


@pytest.mark.parametrize("top_k", [1, 10, 40])
def test_equal_weights_on_flat_areas(top_k):
  splats = scene(9, n=80, size=(20, 22))
  # In float64 too these weigh the same everywhere.
  splats.conic[:] = [1e-30, 0, 1e-30]
  splats.log_weight[:] = np.random.default_rng(0).integers(0, 3, 80)
  spec = spec_of(top_k=top_k, epsilon=1e-2)
  assert_like_reference(spec, (20, 22), splats)


# Whatever it is given.

BROKEN = (np.nan, np.inf, -np.inf, 1e-40, -1e-40, 3e38, -3e38, 0.0, -1.0)


@pytest.mark.parametrize("blend", ["norm", "sum"])
@pytest.mark.parametrize("field", Splats._fields)
def test_broken_splats_harm_nothing_but_what_they_touch(field, blend):
  rng = np.random.default_rng(0)
  clean = Splats(
    mean=rng.uniform(0, 20, (30, 2)),
    conic=rng.uniform([0.5, -0.4, 0.5], [3, 0.4, 3], (30, 3)),
    log_weight=rng.normal(0, 0.2, 30),
    feature=rng.random((30, 3)),
  )
  clean = jax.tree.map(np.float32, clean)
  broken = jax.tree.map(lambda x: np.concatenate([x[:0]] + 30 * [x]), clean)
  broken.mean[:] = [60, 60]
  leaf = getattr(broken, field).reshape(900, -1)
  for i, value in enumerate(BROKEN):
    if (field, value) == ("log_weight", 3e38) or (
      field == "mean" and abs(value) <= 1
    ):
      continue  # Those do touch what is compared.
    leaf[i, i % leaf.shape[1]] = value
    leaf[20 + i, :] = value
    leaf[40 + i, -1] = value
  both = jax.tree.map(lambda *x: np.concatenate(x), clean, broken)
  cotangent = rng.normal(size=(64, 64, 3))
  cotangent[32:] = cotangent[:, 32:] = 0
  for tile in (4, 16):
    spec = spec_of(blend=blend, tile=tile)
    want, wanted = draw_and_pull(spec, (64, 64), clean, cotangent)
    image, gradient = draw_and_pull(spec, (64, 64), both, cotangent)
    np.testing.assert_array_equal(image[:32, :32], want[:32, :32])
    for a, b in zip(gradient, wanted, strict=True):
      np.testing.assert_array_equal(a[:30], b)


@pytest.mark.parametrize("tile", [4, 8, 16, 32])
def test_weights_that_are_no_numbers_are_zero(tile):
  # inf - inf beside the centre.
  point = circle(8.5, 8.5, 1.0)._replace(
    conic=np.float32([[2e38, -1.99e38, 2e38]])
  )
  image = draw(spec_of(tile=tile, blend="sum"), (16, 16), point)
  assert np.argwhere(image[..., 0]).tolist() == [[8, 8]]


def test_cotangents_that_are_no_numbers():
  size = (48, 48)
  splats = scene(10, n=80, size=size)
  cotangent = np.zeros((*size, 3))
  cotangent[:16, :16] = 1
  _, want = draw_and_pull(spec_of(), size, splats, cotangent)
  cotangent[40, 40] = [np.nan, np.inf, -np.inf]
  bins = bin_splats(splats, height=48, width=48, spec=spec_of())
  _, got = draw_and_pull(spec_of(), size, splats, cotangent, bins)
  # The last of nine tiles.
  near = np.asarray(bins.ids)[bins.starts[8] : bins.starts[9]]
  far = np.setdiff1d(np.arange(80), near)
  assert 0 < len(far) < 80
  assert not np.isfinite(got.feature[near]).all()
  for a, b in zip(got, want, strict=True):
    np.testing.assert_array_equal(a[far], b[far])


def lists_of(splats, size):
  bins = bin_splats(splats, height=size[0], width=size[1], spec=SPEC)
  starts = np.asarray(bins.starts)
  return np.asarray(bins.ids)[: starts[-1]], starts


def bins_of(ids, starts):
  return TileBins(
    jnp.asarray(ids, jnp.int32), jnp.asarray(starts, jnp.int32), jnp.int32(0)
  )


@pytest.mark.parametrize("blend", ["norm", "sum"])
def test_ids_that_are_none_draw_nothing(blend):
  size, spec = (33, 41), spec_of(blend=blend)
  splats = scene(11)
  ids, starts = lists_of(splats, size)
  cotangent = np.random.default_rng(0).normal(size=(*size, 3))
  want = draw_and_pull(spec, size, splats, cotangent, bins_of(ids, starts))
  # Ahead of each list, and ahead of and behind all of them.
  nowhere = [-1, 60, 2**31 - 1, -(2**31)]
  tiles = np.split(ids, starts[1:-1])
  mixed = np.concatenate([x for tile in tiles for x in (nowhere, tile)])
  mixed = np.concatenate([[3, 4], mixed, [5]])
  moved = starts + 4 * np.arange(len(starts)) + 2
  got = draw_and_pull(spec, size, splats, cotangent, bins_of(mixed, moved))
  assert_same_bits(got, want)


# What comes of an error of the library, under jit and outside.
REFUSED = (jax.errors.JaxRuntimeError, ValueError)


@pytest.mark.parametrize(
  "change",
  [
    lambda starts: starts[::-1],
    lambda starts: starts - 1,
    lambda starts: starts + 1,
    lambda starts: np.where(np.arange(len(starts)) == 4, 2**31 - 1, starts),
    lambda starts: starts[:-1],
    lambda starts: np.append(starts, starts[-1]),
  ],
)
def test_lists_that_are_none_are_refused(change):
  size, splats = (33, 41), scene(11)
  ids, starts = lists_of(splats, size)
  bad, good = bins_of(ids, change(starts)), bins_of(ids, starts)
  with pytest.raises(REFUSED, match="starts must ascend"):
    draw(SPEC, size, splats, bad).block_until_ready()
  cpu, spec = load("cpu"), resolve_backend(SPEC)
  image, residuals = cpu.forward(spec, size, splats, good)
  with pytest.raises(REFUSED, match="starts must ascend"):
    jax.block_until_ready(
      cpu.backward(spec, size, splats, bad, residuals, image)
    )


def test_render_has_room_for_what_the_binning_finds():
  # 1024 ellipses that end just short of a tile: the lists have a margin.
  gaussians = random_gaussians(12, n=1024, height=32, width=32)
  gaussians.log_scale[:] = gaussians.log_weight[:] = 0
  gaussians.mean[:] = [16.5 - np.sqrt(12) * (1 + 3e-5), 8.0]
  out = render(gaussians, height=32, width=32, spec=RasterSpec(backend="cpu"))
  assert out.dropped == 0


# Batches.


def test_vmap_of_some_arguments():
  size = (20, 24)
  scenes = [scene(s, n=25, size=size) for s in range(3)]
  many = jax.tree.map(lambda *x: jnp.stack(x), *scenes)
  one = jax.tree.map(jnp.asarray, scenes[0])
  cotangents = jnp.asarray(
    np.random.default_rng(0).normal(size=(3, *size, 3)), jnp.float32
  )

  def pull(splats, cotangent):
    return draw_and_pull_traced(size, splats, cotangent)

  for names in (("feature",), ("mean", "log_weight"), Splats._fields, ()):
    axes = Splats(*(0 if name in names else None for name in Splats._fields))
    splats = one._replace(**{name: getattr(many, name) for name in names})
    for axis in (0, None):
      if not names and axis is None:
        continue
      given = cotangents if axis == 0 else cotangents[0]
      got = jax.jit(jax.vmap(pull, (axes, axis)))(splats, given)
      for k in range(3):
        single = Splats(
          *(
            leaf if a is None else leaf[k]
            for leaf, a in zip(splats, axes, strict=True)
          )
        )
        want = pull(single, given[k] if axis == 0 else given)
        assert_same_bits(jax.tree.map(lambda x, k=k: x[k], got), want)


def draw_and_pull_traced(size, splats, cotangent):
  bins = bin_splats(splats, height=size[0], width=size[1], spec=SPEC)
  image, vjp = jax.vjp(lambda s: draw_listed(size, s, bins), splats)
  return image, vjp(cotangent)[0]


def draw_listed(size, splats, bins):
  return rasterize(splats, bins, height=size[0], width=size[1], spec=SPEC).image


def test_nested_vmap_and_scan_of_gradients():
  size = (20, 24)
  scenes = [scene(s, n=25, size=size) for s in range(2)]
  many = jax.tree.map(lambda *x: jnp.stack(x), *scenes)
  cotangents = jnp.asarray(
    np.random.default_rng(0).normal(size=(3, *size, 3)), jnp.float32
  )

  def pull(splats, cotangent):
    return draw_and_pull_traced(size, splats, cotangent)

  inner = jax.vmap(pull, (None, 0))
  nested = jax.vmap(inner, (0, None))(many, cotangents)
  scanned = jax.lax.scan(lambda c, s: (c, inner(s, cotangents)), 0, many)[1]
  assert_same_bits(nested, scanned)
  for i in range(2):
    for k in range(3):
      want = pull(jax.tree.map(lambda x, i=i: x[i], many), cotangents[k])
      got = jax.tree.map(lambda x, i=i, k=k: x[i, k], nested)
      assert_same_bits(got, want)


def test_a_batch_of_none():
  size = (20, 24)
  none = jax.tree.map(lambda x: jnp.zeros((0, *x.shape)), scene(n=25))
  image, gradient = jax.vmap(
    lambda s: draw_and_pull_traced(size, s, jnp.ones((*size, 3)))
  )(none)
  assert image.shape == (0, *size, 3)
  assert gradient.conic.shape == (0, 25, 3)
