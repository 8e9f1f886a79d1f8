"""Ellipses: scales and angle to conic and extent.

Written once for numpy arrays, which a decoder has, and for those of jax: what
comes in as numpy's stays numpy's, in its own precision.
"""

from __future__ import annotations

import typing

import numpy as np

if typing.TYPE_CHECKING:
  import jax

# Standard deviations outside [e^-5, e^12] px draw the same as at the border:
# under 0.007 px nothing but the pixel at the centre is hit, over 160000 px
# every picture is flat. The bound keeps 1 / s^2 finite in float32.
LOG_SCALE_MIN, LOG_SCALE_MAX = -5.0, 12.0

# Centres are kept within: squares of distances must stay finite, and this is
# outside of any picture.
FARTHEST_PX = 1e9


def array_module(*arrays):
  """The library of some arrays: numpy if all are numpy's, else jax.numpy."""
  if all(isinstance(array, (np.ndarray, np.generic)) for array in arrays):
    return np
  import jax.numpy as jnp

  return jnp


def footprint(scale: float) -> float:
  """Variance that a pixel adds which is larger than those that were fitted.

  A box of 1 px less the box of `scale` px that the fit has seen already.
  (Against averaged pixels of two fits at 1/2, 1/4 and 1/8, a variance of 1/12
  is 0.7 to 5 dB better than none and 0.8 to 6 dB better than 0.16 to 0.3.)

  Args:
    scale: Output pixels per fitted pixel.

  Returns:
    px^2 of the output; 0 from a scale of 1 on.
  """
  return max(0.0, 1.0 - scale * scale) / 12.0


def variances(
  log_scale: jax.Array, *, scale: float = 1.0, blur: float = 0.0
) -> jax.Array:
  """Squares of the standard deviations after magnification and blur.

  Args:
    log_scale: (..., 2) log standard deviations, px.
    scale: Magnification of the picture.
    blur: Variance of the blur added afterwards, px^2.

  Returns:
    (..., 2) variances, px^2.
  """
  xp = array_module(log_scale)
  log_scale = xp.clip(log_scale, LOG_SCALE_MIN, LOG_SCALE_MAX)
  return xp.exp(2.0 * log_scale) * (scale * scale) + blur


def conic(variance: jax.Array, angle: jax.Array) -> jax.Array:
  """Inverse of R(angle) diag(variance) R(angle)^T.

  Args:
    variance: (..., 2) along the own axes, px^2.
    angle: (...,) radians.

  Returns:
    (..., 3): the entries xx, xy, yy, 1 / px^2.
  """
  xp = array_module(variance, angle)
  cos, sin = xp.cos(angle), xp.sin(angle)
  i1, i2 = 1.0 / variance[..., 0], 1.0 / variance[..., 1]
  return xp.stack(
    [
      cos * cos * i1 + sin * sin * i2,
      cos * sin * (i1 - i2),
      sin * sin * i1 + cos * cos * i2,
    ],
    axis=-1,
  )


def half_extent(conic_: jax.Array, radius2: jax.Array) -> jax.Array:
  """Half sides of the box around the ellipse d^T conic d <= radius2.

  Args:
    conic_: (..., 3), 1 / px^2.
    radius2: (...,) squared Mahalanobis radius; negative counts as zero.

  Returns:
    (..., 2): half width and half height, px.
  """
  xp = array_module(conic_, radius2)
  a, b, c = conic_[..., 0], conic_[..., 1], conic_[..., 2]
  # For a needle the determinant cancels in float32; its trace bounds it from
  # below by the rounding error, so the box can only come out too large.
  det = xp.maximum(a * c - b * b, 1e-7 * a * c)
  radius2 = xp.maximum(radius2, 0.0)
  return xp.sqrt(xp.stack([c, a], axis=-1) * (radius2 / det)[..., None])


def evaluate_conic(conic_: jax.Array, dx: jax.Array, dy: jax.Array):
  """The exponent e = (a dx^2 + c dy^2) / 2 + b dx dy at an offset.

  Args:
    conic_: (..., 3), 1 / px^2.
    dx: Offsets in x, px, broadcast against conic_[..., 0].
    dy: Offsets in y, px.

  Returns:
    e, broadcast of dx, dy and conic_[..., 0]; never negative.
  """
  xp = array_module(conic_, dx, dy)
  a, b, c = conic_[..., 0], conic_[..., 1], conic_[..., 2]
  return xp.maximum(0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy, 0.0)
