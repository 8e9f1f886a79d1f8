"""Gaussians to splats on the screen: only this module knows the dimension."""

import jax
import jax.numpy as jnp

from jaxgs import math
from jaxgs.types import Gaussians2D, Splats


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
  gaussians = jax.tree.map(jnp.asarray, gaussians)
  blur = max(0.0, 1.0 - scale * scale) / 12.0
  variance = math.variances(gaussians.log_scale, scale=scale, blur=blur)
  log_weight = gaussians.log_weight
  dtype = gaussians.mean.dtype
  if blur > 0.0:
    sharp = math.variances(gaussians.log_scale, scale=scale)
    log_weight += 0.5 * jnp.sum(jnp.log(sharp) - jnp.log(variance), axis=-1)
  if active is not None:
    log_weight = jnp.where(active, log_weight, -jnp.inf)
  return Splats(
    # Squares of offsets must stay finite; 1e9 px is outside of any picture.
    mean=jnp.clip(
      gaussians.mean * scale - jnp.asarray(offset, dtype)[None], -1e9, 1e9
    ),
    conic=math.conic(variance, gaussians.angle),
    log_weight=log_weight,
    feature=gaussians.feature,
  )
