"""Gaussians to splats on the screen: only this module knows the dimension."""

from __future__ import annotations

import typing

import numpy as np

from jaxgs import math
from jaxgs.types import Gaussians2D, Splats

if typing.TYPE_CHECKING:
  import jax


def project(
  gaussians: Gaussians2D,
  *,
  active: jax.Array | None = None,
  scale: float = 1.0,
  offset: tuple[float, float] = (0.0, 0.0),
) -> Splats:
  """Places 2D Gaussians on a screen.

  Magnification multiplies centres and standard deviations. Below 1 the pixels
  are larger than those that were fitted, so each splat is widened by the
  footprint that a larger pixel adds (a box of 1 px less the box of `scale` px
  that the fit has seen already: variances (1 - scale^2) / 12) and its weight
  is lowered so that its integral stays: no aliasing. (Against averaged pixels
  of two fits at 1/2, 1/4 and 1/8, a variance of 1/12 is 0.7 to 5 dB better
  than none and 0.8 to 6 dB better than 0.16 to 0.3.)

  Args:
    gaussians: N Gaussians, mean in pixels of the fitted image.
    active: (N,) bool; the others get no weight. All when None.
    scale: Output pixels per fitted pixel, > 0.
    offset: (x, y) of the output's corner in output pixels: a window into the
      scaled picture.

  Returns:
    N splats in output pixels.
  """
  import jax
  import jax.numpy as jnp

  gaussians = jax.tree.map(jnp.asarray, gaussians)
  return place(gaussians, active=active, scale=scale, offset=offset)


def place(
  gaussians: Gaussians2D,
  *,
  active: jax.Array | np.ndarray | None = None,
  scale: float = 1.0,
  offset: tuple[float, float] = (0.0, 0.0),
) -> Splats:
  """`project` for arrays of numpy or of jax: the splats are of the same kind.

  Args:
    gaussians: As in `project`.
    active: As in `project`.
    scale: As in `project`.
    offset: As in `project`.

  Returns:
    N splats in output pixels.
  """
  xp = math.array_module(*gaussians)
  blur = max(0.0, 1.0 - scale * scale) / 12.0
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
    # Squares of offsets must stay finite; 1e9 px is outside of any picture.
    mean=xp.clip(
      gaussians.mean * scale - xp.asarray(offset, dtype)[None], -1e9, 1e9
    ),
    conic=math.conic(variance, gaussians.angle),
    log_weight=log_weight,
    feature=gaussians.feature,
  )
