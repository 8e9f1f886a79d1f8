"""The projection in pure JAX, differentiated by autodiff."""

import jax

from jaxgs.placement import place
from jaxgs.types import Gaussians2D, Splats


def project(
  gaussians: Gaussians2D,
  *,
  active: jax.Array | None,
  scale: float,
  offset: tuple[float, float],
) -> Splats:
  """See `jaxgs.kernels`.

  Args:
    gaussians: N Gaussians, arrays of jax.
    active: (N,) bool, or None.
    scale: Output pixels per fitted pixel.
    offset: (x, y) of the output's corner in output pixels.

  Returns:
    N splats.
  """
  return place(gaussians, active=active, scale=scale, offset=offset)
