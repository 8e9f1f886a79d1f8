import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgs.config import FitConfig, RasterSpec
from jaxgs.fit import fit, fit_chunk
from jaxgs.picture import band_size, picture_loss
from jaxgs.project import project
from jaxgs.state import draw, init_fit
from tests.kernels.scenes import random_gaussians
from tests.pictures import blobs, parrot

CONFIG = FitConfig(
  num_gaussians=40,
  num_steps=60,
  initial_ratio=0.5,
  chunk_steps=10,
  growth_every=10,
  growth_rounds=2,
  raster=RasterSpec(max_pairs=4096),
)


def in_bands(config, rows):
  return dataclasses.replace(config, band_rows=rows)


def slopes(splats, image, config, mask):
  def loss(splats):
    loss, *rest = picture_loss(splats, image, config, mask)
    return loss, (loss, *rest)

  return jax.jit(jax.grad(loss, has_aux=True))(splats)


# 24 rows: in equal bands, and with a last one that overlaps.
@pytest.mark.parametrize(
  ("rows", "blend", "masked", "backend"),
  (
    (8, "norm", False, "auto"),
    (7, "norm", True, "auto"),
    (7, "sum", False, "auto"),
    (8, "sum", True, "auto"),
    (7, "norm", True, "xla"),
  ),
)
def test_loss_and_gradient_are_those_of_the_whole(rows, blend, masked, backend):
  image = blobs(0)
  splats = project(random_gaussians(1, n=60, height=24, width=32))
  mask = None
  if masked:
    # All of the first band is padding.
    mask = jnp.asarray(np.random.default_rng(0).random((24, 32), np.float32))
    mask = mask.at[:9].set(0.0)
  raster = RasterSpec(blend=blend, max_pairs=4096, backend=backend)
  config = dataclasses.replace(
    CONFIG, l1=0.4, l2=0.6, channel_weights=(1.0, 2.0, 2.0), raster=raster
  )
  want, whole = slopes(splats, image, config, mask)
  got, sums = slopes(splats, image, in_bands(config, rows), mask)
  np.testing.assert_allclose(sums, whole, rtol=1e-5)
  for a, b in zip(got, want, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


def test_pairs_without_room_are_those_of_the_worst_band():
  splats = project(random_gaussians(1, n=60, height=24, width=32))
  raster = RasterSpec(max_pairs=32)
  config = in_bands(dataclasses.replace(CONFIG, raster=raster), 8)
  few = picture_loss(splats, blobs(0), config)[2]
  all_at_once = picture_loss(splats, blobs(0), in_bands(config, 0))[2]
  assert 0 < few < all_at_once


def test_a_step_with_noise_and_a_mask():
  """Two pictures at once, by vmap, over bands."""
  image = blobs(1)
  config = dataclasses.replace(CONFIG, growth_rounds=0, relocate_ratio=0.0)
  state = init_fit(jax.random.key(0), image, config)
  # The gradient in the angle of a round splat is noise.
  long = state.gaussians.log_scale.at[:, 0].add(0.6)
  state = state._replace(gaussians=state.gaussians._replace(log_scale=long))
  mask = jnp.ones((24, 32)).at[20:].set(0.5)

  def run(config):
    pair = jax.tree.map(lambda x: jnp.stack([x, x]), state.gaussians)

    def loss(gaussians):
      splats = project(gaussians, active=state.active)
      return picture_loss(splats, image, config, mask)[0]

    one = fit_chunk(state, image, config, mask=mask, num_steps=1)
    return jax.vmap(jax.grad(loss))(pair), one.gaussians

  (pair, stepped), (want, one) = run(in_bands(config, 7)), run(config)
  for a, b in zip(pair, want, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())
  np.testing.assert_allclose(stepped.feature, one.feature, atol=1e-5)


def test_a_batch_in_bands():
  keys = jax.random.split(jax.random.key(0), 2)
  images = jnp.stack([blobs(2), blobs(3)])
  masks = jnp.ones((2, 24, 32)).at[1, 22:].set(0.0)
  config = dataclasses.replace(
    CONFIG, num_steps=30, num_gaussians=30, growth_rounds=1
  )

  def psnr_db(config):
    out = jax.vmap(lambda k, i, m: fit(k, i, config, mask=m))(
      keys, images, masks
    )
    assert (out.dropped == 0).all()
    assert out.active.all()
    return out.psnr_db[:, -1]

  # Splats move by other random signs.
  np.testing.assert_allclose(
    psnr_db(in_bands(config, 10)), psnr_db(config), atol=1.0
  )


def test_no_seams():
  """The rows beside two bands' border are as good as without bands."""
  image = parrot()
  rows = 38
  # Without growth, which differences of rounding could send elsewhere.
  config = dataclasses.replace(
    CONFIG,
    num_gaussians=400,
    growth_rounds=0,
    relocate_ratio=0.0,
    raster=RasterSpec(),
  )

  def errors(config):
    out = fit(jax.random.key(0), image, config)
    drawn = draw(out.gaussians, out.active, image.shape[:2], config).image
    return np.square(drawn - image).mean((1, 2))

  banded, whole = errors(in_bands(config, rows)), errors(config)
  place = np.arange(190) % rows
  near = (place < 5) | (place >= rows - 5)
  for part in (near, ~near):
    gain_db = 10 * np.log10(whole[part].mean() / banded[part].mean())
    assert abs(gain_db) < 0.1


def test_ssim_is_drawn_at_once():
  config = dataclasses.replace(CONFIG, ssim=0.1)
  assert band_size(config, (16384, 16384)) == (16384, 16384)
  assert band_size(CONFIG, (16384, 16384)) == (512, 16384)
  with pytest.raises(ValueError, match="band_rows must be 0 with ssim"):
    in_bands(config, 8)
  with pytest.raises(ValueError, match="band_rows must be >= 0, got -1"):
    in_bands(CONFIG, -1)
