"""The loss in C++, for a CPU: value and gradient in one pass; see cpu.cc."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxgs.kernels import ffi
from jaxgs.kernels.loss import xla


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
  if rendered.dtype != jnp.float32:
    return xla.image_loss(rendered, target, mask, l1=l1, l2=l2, ssim=ssim)
  if mask is None:
    mask = jnp.zeros((0, 0), jnp.float32)
  return _image_loss((l1, l2, ssim), rendered, target, mask)


def _evaluate(weights, rendered, target, mask, with_gradient: bool):
  shape = rendered.shape if with_gradient else (0, 0, 0)
  return ffi.call(
    "jaxgs_ffi_image_loss",
    [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((), (), shape)],
    rendered,
    target,
    mask,
    l1=np.float32(weights[0]),
    l2=np.float32(weights[1]),
    ssim=np.float32(weights[2]),
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _image_loss(weights, rendered, target, mask):
  loss, mse, _ = _evaluate(weights, rendered, target, mask, False)
  return loss, mse


def _forward(weights, rendered, target, mask):
  loss, mse, gradient = _evaluate(weights, rendered, target, mask, True)
  return (loss, mse), (gradient, rendered, target, mask)


def _backward(weights, saved, cotangents):
  gradient, rendered, target, mask = saved
  # The loss is symmetric. XLA drops the second call where nobody asks for it.
  other = _evaluate(weights, target, rendered, mask, True)[2]
  # The error is for reports only, and the mask is no variable.
  return (
    cotangents[0] * gradient,
    cotangents[0] * other,
    jnp.zeros_like(mask),
  )


_image_loss.defvjp(_forward, _backward)
