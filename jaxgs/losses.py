"""What a fit minimises: checks and choice of backend."""

import functools
import itertools

import jax
import jax.numpy as jnp

from jaxgs import kernels
from jaxgs.backends import resolve_backend
from jaxgs.config import RasterSpec


def image_loss(
  rendered: jax.Array,
  target: jax.Array,
  *,
  l1: float,
  l2: float,
  ssim: float,
  channel_weights: tuple[float, ...] = (),
  mask: jax.Array | None = None,
  backend: str = "auto",
) -> jax.Array:
  """l1 mean|r - t| + l2 mean (r - t)^2 + ssim (1 - SSIM).

  The SSIM here counts every pixel, with zeros around the picture, as
  fused-ssim does; `jaxgs.metrics.ssim` leaves out the borders. The gradient is
  finite everywhere (0 where r = t), in reverse mode only, and there is none
  with respect to the mask. For a batch, vmap.

  Args:
    rendered: (H, W, C) float.
    target: (H, W, C), same dtype, in [0, 1].
    l1: weight, static, 0 or more; a term of weight 0 costs nothing.
    l2: as `l1`.
    ssim: as `l1`.
    channel_weights: what each channel counts, static, positive; only ratios
      matter. Equal when empty.
    mask: (H, W) bool or float in [0, 1], 0 where a pixel is padding. Pixels
      count by it in each mean, and for SSIM both pictures are multiplied by
      it. What `rendered` and `target` hold at 0 does not matter, NaN included.
    backend: See RasterSpec.

  Returns:
    (), of the dtype of `rendered`; 0 where the mask is 0 everywhere.

  Raises:
    ValueError: shapes or dtypes do not match, a weight is negative or not
      finite, or all are 0.
  """
  return image_loss_and_mse(
    rendered,
    target,
    l1=l1,
    l2=l2,
    ssim=ssim,
    channel_weights=channel_weights,
    mask=mask,
    backend=backend,
  )[0]


def image_loss_and_mse(
  rendered: jax.Array,
  target: jax.Array,
  *,
  l1: float,
  l2: float,
  ssim: float,
  channel_weights: tuple[float, ...] = (),
  mask: jax.Array | None = None,
  backend: str = "auto",
) -> tuple[jax.Array, jax.Array]:
  """The loss, and for reports the mean squared error, without a gradient.

  Arguments and errors are those of `image_loss`. All terms are means over the
  channels: weights make them weighted means, and leave the squared error alone.
  """
  _check_arguments(rendered, target, l1, l2, ssim, channel_weights, mask)
  backend = resolve_backend(RasterSpec(backend=backend)).backend
  if mask is not None:
    mask = jax.lax.stop_gradient(mask.astype(rendered.dtype))
  function = functools.partial(
    kernels.load(backend, "loss").image_loss, l1=l1, l2=l2, ssim=ssim
  )
  if len(set(channel_weights)) < 2:
    return function(rendered, target, mask)
  # Channels in a row that weigh the same go together.
  loss = mse = jnp.zeros((), rendered.dtype)
  first = 0
  for weight, run in itertools.groupby(channel_weights):
    count = len(list(run))
    part = slice(first, first + count)
    one, squared = function(rendered[..., part], target[..., part], mask)
    loss += count * weight / sum(channel_weights) * one
    mse += count / len(channel_weights) * squared
    first += count
  return loss, mse


def _check_arguments(
  rendered, target, l1, l2, ssim, channel_weights, mask
) -> None:
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
  if len(channel_weights) not in (0, rendered.shape[-1]):
    raise ValueError(
      f"channel_weights must be {rendered.shape[-1]} or none, got"
      f" {len(channel_weights)}"
    )
  if not (l1 or l2 or ssim):
    raise ValueError("one of l1, l2 and ssim must be positive")
