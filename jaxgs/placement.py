"""Gaussians to splats on the screen: only this module knows the dimension.

Written once for numpy arrays, which a decoder has, and for those of jax.
"""

from __future__ import annotations

import typing

import numpy as np

from jaxgs import math
from jaxgs.types import Gaussians2D, Splats

if typing.TYPE_CHECKING:
  import jax


def place(
  gaussians: Gaussians2D,
  *,
  active: jax.Array | np.ndarray | None = None,
  scale: float = 1.0,
  offset: tuple[float, float] = (0.0, 0.0),
) -> Splats:
  """Places 2D Gaussians on a screen.

  Magnification multiplies centres and standard deviations. Below 1 the pixels
  are larger than those that were fitted, so each splat is widened by the
  footprint that a larger pixel adds and its weight is lowered so that its
  integral stays: no aliasing.

  Args:
    gaussians: N Gaussians, mean in pixels of the fitted image; arrays of numpy
      or of jax, the splats are of the same kind.
    active: (N,) bool; the others get no weight. All when None.
    scale: Output pixels per fitted pixel, > 0.
    offset: (x, y) of the output's corner in output pixels: a window into the
      scaled picture.

  Returns:
    N splats in output pixels.
  """
  xp = math.array_module(*gaussians)
  blur = math.footprint(scale)
  variance = math.variances(gaussians.log_scale, scale=scale, blur=blur)
  log_weight = gaussians.log_weight
  dtype = gaussians.mean.dtype
  if blur > 0.0:
    sharp = math.variances(gaussians.log_scale, scale=scale)
    # No +=, which would change the caller's numpy array.
    loss = xp.sum(xp.log(sharp) - xp.log(variance), axis=-1)
    log_weight = log_weight + 0.5 * loss
  if active is not None:
    log_weight = xp.where(active, log_weight, -xp.inf)
  return Splats(
    mean=xp.clip(
      gaussians.mean * scale - xp.asarray(offset, dtype)[None],
      -math.FARTHEST_PX,
      math.FARTHEST_PX,
    ),
    conic=math.conic(variance, gaussians.angle),
    log_weight=log_weight,
    feature=gaussians.feature,
  )
