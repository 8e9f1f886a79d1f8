"""The loss in Triton, for NVIDIA GPUs: SSIM in two kernels.

XLA's fusions load every pixel once per tap of the window. Without SSIM they
are as good as any, so that goes there.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxgs.kernels import triton_call
from jaxgs.kernels.loss import xla

# Warps of a program, which share a cache, and of all that keep a GPU busy.
_WARPS, _BUSY = 4, 2048


def image_loss(
  rendered: jax.Array,
  target: jax.Array,
  mask: jax.Array | None,
  *,
  l1: float,
  l2: float,
  ssim: float,
) -> tuple[jax.Array, jax.Array]:
  """See `jaxgs.kernels`; other types than float32 go through xla.

  Args:
    rendered: (H, W, C) float.
    target: (H, W, C), same dtype.
    mask: (H, W) of that dtype, or None.
    l1: Weight; a term of weight 0 costs nothing.
    l2: As `l1`.
    ssim: As `l1`.

  Returns:
    (), the loss; (), the mean squared error.
  """
  if rendered.dtype != jnp.float32 or not ssim:
    return xla.image_loss(rendered, target, mask, l1=l1, l2=l2, ssim=ssim)
  masked = mask is not None
  if masked:
    # An empty mask has a sum of 0 above the line too.
    total = jnp.sum(mask) * rendered.shape[-1]
    scale = 1.0 / jnp.where(total > 0, total, 1.0)
  else:
    mask = jnp.zeros((1, 1), jnp.float32)
    scale = jnp.float32(1.0 / rendered.size)
  return _image_loss((l1, l2, ssim, masked), rendered, target, mask, scale)


def _sizes(shape: tuple[int, ...], masked: bool) -> dict:
  """Grid and constants of kernels over pictures of a shape (B, H, W, C)."""
  batch, height, width, channels = shape
  bands = math.ceil(height / 16)
  tiles = 32
  # Columns on both sides of a part are blurred for it alone: the longer parts
  # are the better, as long as they keep the GPU busy.
  while tiles > 4 and (
    batch * bands * channels * math.ceil(width / (8 * tiles)) < _BUSY
  ):
    tiles //= 2
  tiles = min(tiles, math.ceil(width / 8))
  units = math.ceil(width / (8 * tiles)) * channels
  return dict(
    grid=(math.ceil(units / _WARPS), bands, batch),
    H=height,
    W=width,
    PADDED=width + width % 2,
    C=channels,
    MASKED=masked,
    TILES=tiles,
    WARPS=_WARPS,
    num_warps=_WARPS,
  )


def _float(*shape: int) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, jnp.float32)


@functools.cache
def _value(masked: bool):
  """Sums and slopes over arrays with a leading axis B."""

  def function(rendered, target, mask):
    from jaxgs.kernels.loss.triton_value import value_kernel

    batch, height, _, channels = rendered.shape
    sizes = _sizes(rendered.shape, masked)
    parts, bands, _ = sizes["grid"]
    return triton_call.call(
      value_kernel,
      rendered,
      target,
      mask,
      out=(
        _float(batch, parts * bands, 3),
        _float(batch, 3, channels, height, sizes["PADDED"]),
      ),
      **sizes,
    )

  return triton_call.fold_batches(function)


@functools.cache
def _gradient(weights: tuple):
  """The gradient over arrays with a leading axis B."""
  l1, l2, ssim, masked = weights

  def function(rendered, target, mask, slopes, scale):
    from jaxgs.kernels.loss.triton_gradient import gradient_kernel

    batch, height, width, channels = rendered.shape
    (gradient,) = triton_call.call(
      gradient_kernel,
      rendered,
      target,
      mask,
      slopes,
      scale,
      out=(_float(batch, channels, height, width),),
      L1=float(l1),
      L2=float(l2),
      SSIM=float(ssim),
      **_sizes(rendered.shape, masked),
    )
    # The rasteriser wants planes too: XLA drops both transpositions.
    return (jnp.moveaxis(gradient, 1, -1),)

  return triton_call.fold_batches(function)


def _evaluate(weights, rendered, target, mask, scale):
  """Loss, mean squared error, slopes."""
  l1, l2, ssim, masked = weights
  arrays = (x[None] for x in (rendered, target, mask))
  sums, slopes = (x[0] for x in _value(masked)(*arrays))
  # The mask's share of the mean of 1 is 1, or 0 where it is empty.
  whole = jnp.sum(mask) * rendered.shape[-1] * scale if masked else 1.0
  similarity, absolute, squared = (
    jnp.sum(sums[..., i]) * scale for i in range(3)
  )
  loss = l1 * absolute + l2 * squared + ssim * (whole - similarity)
  return loss, squared, slopes


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _image_loss(weights, rendered, target, mask, scale):
  return _evaluate(weights, rendered, target, mask, scale)[:2]


def _forward(weights, rendered, target, mask, scale):
  loss, mse, slopes = _evaluate(weights, rendered, target, mask, scale)
  return (loss, mse), (rendered, target, mask, scale, slopes)


def _slope(weights, rendered, target, mask, slopes, scale):
  arrays = (x[None] for x in (rendered, target, mask, slopes, scale))
  return _gradient(weights)(*arrays)[0][0]


def _backward(weights, saved, cotangents):
  rendered, target, mask, scale, slopes = saved
  gradient = _slope(weights, rendered, target, mask, slopes, scale)
  # The loss is symmetric. XLA drops this where nobody asks for it.
  slopes = _evaluate(weights, target, rendered, mask, scale)[2]
  other = _slope(weights, target, rendered, mask, slopes, scale)
  # The error is for reports only, and the mask is no variable.
  return (
    cotangents[0] * gradient,
    cotangents[0] * other,
    jnp.zeros_like(mask),
    jnp.zeros_like(scale),
  )


_image_loss.defvjp(_forward, _backward)
