"""The picture of a fit and how wrong it is, by bands where it is large."""

import functools

import jax
import jax.numpy as jnp

from jaxgs.bands import Band, over_bands, rows_at, rows_of_band
from jaxgs.config import FitConfig
from jaxgs.losses import image_loss_and_mse
from jaxgs.state import channel_roots, draw_splats
from jaxgs.types import Splats


def band_size(config: FitConfig, size: tuple[int, int]) -> tuple[int, int]:
  """(height, width) of what a fit draws at a time.

  Args:
    config: Uses `band_rows` and `ssim`.
    size: (height, width) of the picture.
  """
  # The windows of SSIM reach over the rows of a band.
  if config.ssim > 0:
    return size
  return rows_of_band(size, config.band_rows), size[1]


def band_of(splats: Splats, band: Band) -> Splats:
  """The splats as a picture sees them that begins at the band."""
  if isinstance(band.top, int) and band.top == 0:
    return splats
  # A whole number of rows: their distances stay as exact as they are.
  shift = jnp.stack([jnp.zeros_like(band.top), band.top])
  return splats._replace(mean=splats.mean - shift.astype(jnp.float32)[None])


def weights_of(
  mask: jax.Array | None, band: Band, size: tuple[int, int]
) -> jax.Array | None:
  """How much each pixel of a band counts that no other band counts.

  Args:
    mask: (H, W) of the picture, or None.
    band: The band.
    size: Of the band.

  Returns:
    (rows, W) float32; None: all 1.
  """
  weights = None
  if mask is not None:
    weights = rows_at(mask, band.top, size[0]).astype(jnp.float32)
  if band.fresh is not None:
    fresh = jnp.broadcast_to(band.fresh[:, None], size).astype(jnp.float32)
    weights = fresh if weights is None else weights * fresh
  return weights


def picture_loss(
  splats: Splats,
  image: jax.Array,
  config: FitConfig,
  mask: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Draws splats and compares with an image.

  Args:
    splats: N splats.
    image: (H, W, C) float32.
    config: Weights of the loss, how to draw, and bands.
    mask: (H, W), how much a pixel counts; all alike when None.

  Returns:
    () the loss, differentiable with respect to the splats; () mean squared
    error; () int32, the most pairs that there was no room for.
  """
  if band_size(config, image.shape[:2])[0] == image.shape[0]:
    return _compare(splats, image, mask, config)
  return _by_bands(config, splats, image, mask)


def _compare(splats: Splats, image, mask, config: FitConfig):
  out = draw_splats(splats, image.shape[:2], config)
  loss, mse = image_loss_and_mse(
    out.image,
    image,
    l1=config.l1,
    l2=config.l2,
    ssim=config.ssim,
    channel_weights=config.channel_weights,
    mask=mask,
    backend=config.raster.backend,
  )
  return loss, mse, out.dropped


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_bands(config: FitConfig, splats: Splats, image, mask):
  return _by_bands_forward(config, splats, image, mask)[0]


def _by_bands_forward(config: FitConfig, splats: Splats, image, mask):
  """Loss and gradient together: then no band is drawn twice, or kept."""
  height, width = image.shape[:2]
  size = rows, _ = band_size(config, (height, width))
  whole = height * width if mask is None else jnp.sum(mask, dtype=jnp.float32)

  def body(carry, band):
    (loss, mse, dropped), gradient = carry
    weights = weights_of(mask, band, size)
    count = rows * width if weights is None else jnp.sum(weights)
    share = count / jnp.maximum(whole, 1e-30)

    def loss_of(splats):
      part = rows_at(image, band.top, rows)
      own = _compare(band_of(splats, band), part, weights, config)
      return share * own[0], own

    slope, own = jax.grad(loss_of, has_aux=True)(splats)
    sums = (
      loss + share * own[0],
      mse + share * own[1],
      jnp.maximum(dropped, own[2]),
    )
    return sums, jax.tree.map(jnp.add, gradient, slope)

  zero = jnp.float32(0.0)
  nothing = jax.tree.map(jnp.zeros_like, splats)
  start = (zero, zero, jnp.int32(0)), nothing
  return over_bands(body, start, height, rows)


def _by_bands_backward(config: FitConfig, gradient: Splats, cotangents):
  del config
  # The error and the lost pairs are for reports only, image and mask constant.
  return jax.tree.map(lambda x: cotangents[0] * x, gradient), None, None


_by_bands.defvjp(_by_bands_forward, _by_bands_backward)


def error_of(drawn: jax.Array, image: jax.Array, config: FitConfig):
  """Squared error of each pixel as the loss weighs channels: (H, W)."""
  error = (drawn - image) * channel_roots(config, image.shape[2])
  return jnp.sum(jnp.square(error), axis=-1)
