"""What a fit minimises."""

import jax
import jax.numpy as jnp

from jaxgs.metrics import ssim_map


def image_loss(
  rendered: jax.Array,
  target: jax.Array,
  *,
  l1: float,
  l2: float,
  ssim: float,
  mask: jax.Array | None = None,
) -> jax.Array:
  """l1 mean|r - t| + l2 mean (r - t)^2 + ssim (1 - SSIM).

  The SSIM here counts every pixel, with zeros around the picture, as
  fused-ssim does; `jaxgs.metrics.ssim` leaves out the borders. The gradient is
  finite everywhere (0 where r = t), in reverse mode only. For a batch, vmap.

  Args:
    rendered: (H, W, C) float.
    target: (H, W, C), same dtype, in [0, 1].
    l1: weight, static, 0 or more; a term of weight 0 costs nothing.
    l2: as `l1`.
    ssim: as `l1`.
    mask: (H, W) bool or float in [0, 1], 0 where a pixel is padding. Pixels
      count by it in each mean, and for SSIM both pictures are multiplied by
      it. What `rendered` and `target` hold at 0 does not matter, NaN included.

  Returns:
    (), of the dtype of `rendered`; 0 where the mask is 0 everywhere.

  Raises:
    ValueError: shapes or dtypes do not match, a weight is negative or not
      finite, or all are 0.
  """
  _check_arguments(rendered, target, l1, l2, ssim, mask)
  if mask is None:
    average = jnp.mean
  else:
    weight = mask.astype(rendered.dtype)[..., None]
    rendered = jnp.where(weight > 0, rendered, 0.0)
    target = jnp.where(weight > 0, target, 0.0)
    # An empty mask has a sum of 0 above the line too.
    total = jnp.sum(weight) * rendered.shape[-1]
    total = jnp.where(total > 0, total, 1.0)

    def average(values: jax.Array) -> jax.Array:
      return jnp.sum(values * weight) / total

  loss = jnp.zeros((), rendered.dtype)
  error = rendered - target
  if l1:
    # |error|, with gradient 0 at 0: that of jnp.abs is 1 there, and would
    # brighten every pixel that is already right.
    sign = jax.lax.stop_gradient(jnp.sign(error))
    loss += l1 * average(error * sign)
  if l2:
    loss += l2 * average(jnp.square(error))
  if ssim:
    if mask is not None:
      rendered, target = rendered * weight, target * weight
    loss += ssim * average(1.0 - ssim_map(rendered, target, padding="same"))
  return loss


def _check_arguments(rendered, target, l1, l2, ssim, mask) -> None:
  if rendered.ndim != 3 or rendered.shape != target.shape:
    raise ValueError(
      "rendered and target must have one shape (H, W, C), got "
      f"{rendered.shape}, {target.shape}"
    )
  if rendered.dtype != target.dtype:
    raise ValueError(
      "rendered and target must have one dtype, got "
      f"{rendered.dtype}, {target.dtype}"
    )
  if mask is not None and mask.shape != rendered.shape[:2]:
    raise ValueError(
      f"mask must be (H, W) = {rendered.shape[:2]}, got {mask.shape}"
    )
  for name, value in (("l1", l1), ("l2", l2), ("ssim", ssim)):
    if not 0 <= value < float("inf"):
      raise ValueError(f"{name} must be finite, 0 or more, got {value}")
  if not (l1 or l2 or ssim):
    raise ValueError("one of l1, l2 and ssim must be positive")
