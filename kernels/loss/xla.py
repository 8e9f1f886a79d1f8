"""The loss in pure JAX, differentiated by autodiff."""

import jax
import jax.numpy as jnp

from jaxgs.metrics import ssim_map


def image_loss(
  rendered: jax.Array,
  target: jax.Array,
  mask: jax.Array | None,
  *,
  l1: float,
  l2: float,
  ssim: float,
) -> tuple[jax.Array, jax.Array]:
  """See `jaxgs.kernels`.

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
  if mask is None:
    average = jnp.mean
  else:
    weight = mask[..., None]
    rendered = jnp.where(weight > 0, rendered, 0.0)
    target = jnp.where(weight > 0, target, 0.0)
    # An empty mask has a sum of 0 above the line too.
    total = jnp.sum(weight) * rendered.shape[-1]
    total = jnp.where(total > 0, total, 1.0)

    def average(values: jax.Array) -> jax.Array:
      return jnp.sum(values * weight) / total

  loss = jnp.zeros((), rendered.dtype)
  error = rendered - target
  mse = average(jnp.square(error))
  if l1:
    # |error|, with gradient 0 at 0: that of jnp.abs is 1 there, and would
    # brighten every pixel that is already right.
    sign = jax.lax.stop_gradient(jnp.sign(error))
    loss += l1 * average(error * sign)
  if l2:
    loss += l2 * mse
  if ssim:
    if mask is not None:
      rendered, target = rendered * weight, target * weight
    loss += ssim * average(1.0 - ssim_map(rendered, target, padding="same"))
  return loss, jax.lax.stop_gradient(mse)
