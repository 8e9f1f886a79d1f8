"""The loss in Triton, for NVIDIA GPUs: SSIM in four kernels.

XLA's fusions load every pixel once per tap of the window. Without SSIM they
are as good as any, so that goes there.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxgs.kernels import triton_call
from jaxgs.kernels.loss import xla

# Lanes per program, and rows per lane of a blur down the columns.
_BLOCK, _ROWS = 256, 8


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


def _sizes(shape: tuple[int, ...], rows: int) -> dict:
  """Grid and constants of kernels over pictures of a shape (B, H, W, C)."""
  batch, height, width, channels = shape
  grid = (math.ceil(width * channels / _BLOCK), math.ceil(height / rows), batch)
  return dict(
    grid=grid, H=height, W=width, C=channels, BLOCK=_BLOCK, num_warps=4
  )


def _float(*shape: int) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, jnp.float32)


@functools.cache
def _value(masked: bool):
  """Sums and slopes over arrays with a leading axis B."""

  def function(rendered, target, mask):
    from jaxgs.kernels.loss import triton_kernels

    batch, *size = rendered.shape
    (moments,) = triton_call.call(
      triton_kernels.moments_kernel,
      rendered,
      target,
      mask,
      out=(_float(batch, 4, *size),),
      MASKED=masked,
      ROWS=_ROWS,
      **_sizes(rendered.shape, _ROWS),
    )
    sizes = _sizes(rendered.shape, 1)
    return triton_call.call(
      triton_kernels.value_kernel,
      rendered,
      target,
      mask,
      moments,
      out=(
        _float(batch, size[0], sizes["grid"][0], 4),
        _float(batch, 3, *size),
      ),
      MASKED=masked,
      **sizes,
    )

  return triton_call.fold_batches(function)


@functools.cache
def _gradient(weights: tuple):
  """The gradient over arrays with a leading axis B."""
  l1, l2, ssim, masked = weights

  def function(rendered, target, mask, slopes, scale):
    from jaxgs.kernels.loss import triton_kernels

    size = rendered.shape[1:]
    (blurred,) = triton_call.call(
      triton_kernels.columns_kernel,
      slopes,
      out=(_float(*slopes.shape),),
      ROWS=_ROWS,
      **_sizes((3 * rendered.shape[0], *size), _ROWS),
    )
    return triton_call.call(
      triton_kernels.gradient_kernel,
      rendered,
      target,
      mask,
      blurred,
      scale,
      out=(_float(*rendered.shape),),
      L1=float(l1),
      L2=float(l2),
      SSIM=float(ssim),
      MASKED=masked,
      **_sizes(rendered.shape, 1),
    )

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
