import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgs
from jaxgs import native
from jaxgs.backends import resolve_backend
from jaxgs.config import RasterSpec
from jaxgs.project import project
from jaxgs.types import Gaussians2D
from tests import fixtures
from tests.kernels.scenes import random_gaussians


def psnr_db(a, b):
  return -10 * np.log10(np.mean((np.asarray(a, np.float64) - b) ** 2))


def test_image_gs_norm():
  gaussians, want = fixtures.image_gs()
  image = jaxgs.render(
    gaussians, height=512, width=768, spec=fixtures.IMAGE_GS
  ).image
  levels = np.rint(np.clip(image, 0, 1) * 255) / 255
  assert psnr_db(levels, want["norm"]) > 50.0


def test_image_gs_sum():
  gaussians, want = fixtures.image_gs()
  y, x = want["crop_yx"]
  spec = RasterSpec(blend="sum", cutoff=fixtures.IMAGE_GS.cutoff)
  image = jaxgs.render(
    gaussians, height=128, width=128, offset=(x, y), spec=spec
  ).image
  assert psnr_db(np.clip(image, 0, 1), want["sum"]) > 60.0


def test_image_gs_twice_the_size():
  gaussians, want = fixtures.image_gs()
  y, x = want["crop_2x_yx"]
  # Its centres are scaled before the half pixel is added, ours after.
  image = jaxgs.render(
    gaussians,
    height=128,
    width=128,
    scale=2.0,
    offset=(x + 0.5, y + 0.5),
    spec=fixtures.IMAGE_GS,
  ).image
  assert psnr_db(np.clip(image, 0, 1), want["twice"]) > 48.0


def test_gaussian_image():
  gaussians, want = fixtures.gaussian_image()
  y, x = want["crop_yx"]
  image = jaxgs.render(
    gaussians,
    height=128,
    width=128,
    offset=(x, y),
    spec=fixtures.GAUSSIAN_IMAGE,
  ).image
  assert psnr_db(np.clip(image, 0, 1), want["render"]) > 75.0


def test_window_is_the_window_of_the_whole():
  gaussians = random_gaussians(0, n=80, height=40, width=50)
  whole = jaxgs.render(gaussians, height=40, width=50).image
  part = jaxgs.render(gaussians, height=17, width=9, offset=(31, 12)).image
  np.testing.assert_allclose(part, whole[12:29, 31:40], atol=1e-5)


def test_magnified_samples_the_same_field():
  """Odd magnification puts every old pixel centre on a new one."""
  gaussians = random_gaussians(1, n=50, height=12, width=14)
  small = jaxgs.render(gaussians, height=12, width=14).image
  large = jaxgs.render(gaussians, height=36, width=42, scale=3.0).image
  np.testing.assert_allclose(large[1::3, 1::3], small, atol=2e-5)


@pytest.mark.parametrize("blend", ["sum", "norm"])
def test_magnified_has_no_blocks(blend):
  """At four times the height no tile can be told from another."""
  gaussians = random_gaussians(5, n=80, height=24, width=28)
  pictures = [
    jaxgs.render(
      gaussians,
      height=96,
      width=112,
      scale=4.0,
      spec=RasterSpec(blend=blend, tile=tile),
    ).image
    for tile in (8, 32)
  ]
  assert np.ptp(pictures[0]) > 0.3
  np.testing.assert_allclose(pictures[0], pictures[1], atol=1e-5)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("blend", ["sum", "norm"])
def test_minified_is_near_the_average(blend, factor):
  """Anti-aliased: nearer to averaged pixels than samples of them are."""
  gaussians = random_gaussians(2, n=300, height=64, width=64, spread=0)
  gaussians = gaussians._replace(
    log_scale=np.clip(gaussians.log_scale, -1.0, 2.0),
    log_weight=np.zeros_like(gaussians.log_weight),
  )
  # Enough splats for the normalised blend of large pixels.
  spec = RasterSpec(blend=blend, top_k=0)
  side = 64 // factor
  full = jaxgs.render(gaussians, height=64, width=64, spec=spec).image
  small = jaxgs.render(
    gaussians, height=side, width=side, scale=1 / factor, spec=spec
  ).image
  average = full.reshape(side, factor, side, factor, 3).mean((1, 3))
  sampled = full[factor // 2 :: factor, factor // 2 :: factor]
  error = np.sqrt(np.mean((small - average) ** 2))
  aliased = np.sqrt(np.mean((sampled - average) ** 2))
  assert error < 0.4 * aliased


def test_minified_energy():
  """Splats below a pixel keep their integral, wherever the pixels fall."""
  n = 200
  rng = np.random.default_rng(0)
  many = Gaussians2D(
    rng.uniform(16, 48, (n, 2)).astype(np.float32),
    np.tile(np.log(np.float32([[2.0, 0.8]])), (n, 1)),
    rng.uniform(0, 3, n).astype(np.float32),
    np.zeros(n, np.float32),
    np.ones((n, 1), np.float32),
  )
  spec = RasterSpec(blend="sum", cutoff=12.0)
  full = jaxgs.render(many, height=64, width=64, spec=spec).image
  tiny = jaxgs.render(many, height=8, width=8, scale=1 / 8, spec=spec).image
  np.testing.assert_allclose(tiny.sum() * 64, full.sum(), rtol=0.05)


def test_room_is_made_outside_of_jit_and_counted_inside():
  gaussians = random_gaussians(3, n=200, height=64, width=64)
  whole = jaxgs.render(gaussians, height=64, width=64)
  assert whole.dropped == 0
  small = RasterSpec(max_pairs=64)
  cut = jax.jit(lambda g: jaxgs.render(g, height=64, width=64, spec=small))(
    gaussians
  )
  assert cut.dropped > 0
  gaussians.log_scale[:] = 11.0
  with pytest.raises(ValueError, match="over the limit"):
    jaxgs.render(gaussians, height=60000, width=60000)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of a CPU")
def test_backend_choice(monkeypatch):
  monkeypatch.delenv("JAXGS_BACKEND", raising=False)
  spec = RasterSpec()
  best = "xla" if native.library() is None else "cpu"
  assert resolve_backend(spec).backend == best
  monkeypatch.setenv("JAXGS_BACKEND", "reference")
  assert resolve_backend(spec).backend == "reference"
  with jaxgs.use_backend("xla"):
    assert resolve_backend(spec).backend == "xla"
  explicit = RasterSpec(backend="xla")
  assert resolve_backend(explicit).backend == "xla"
  with pytest.raises(ValueError, match="backend must be one of"):
    jaxgs.use_backend("cuda")
  monkeypatch.setenv("JAXGS_BACKEND", "nonsense")
  with pytest.raises(ValueError, match="nonsense"):
    resolve_backend(spec)


def test_context_is_part_of_the_jit_cache_key():
  traces = []

  @jax.jit
  def name_of(x):
    traces.append(resolve_backend(RasterSpec()).backend)
    return x

  name_of(1.0)
  with jaxgs.use_backend("reference"):
    name_of(1.0)
  name_of(2.0)
  assert traces[1:] == ["reference"]
  assert traces[0] != "reference"


def test_bad_arguments():
  gaussians = random_gaussians(4)
  with pytest.raises(ValueError, match="at least 1x1"):
    jaxgs.render(gaussians, height=0, width=4)
  splats = project(gaussians)
  bins = jaxgs.bin_splats(splats, height=8, width=8, spec=RasterSpec())
  with pytest.raises(ValueError, match=r"splats\.conic must be"):
    jaxgs.rasterize(
      splats._replace(conic=jnp.zeros((60, 2))),
      bins,
      height=8,
      width=8,
      spec=RasterSpec(),
    )
  with pytest.raises(ValueError, match="blend must be"):
    RasterSpec(blend="max")
  with pytest.raises(ValueError, match="top_k must be"):
    RasterSpec(top_k=-1)
