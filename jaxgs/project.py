"""Gaussians to splats on the screen: choice of backend."""

import jax
import jax.numpy as jnp

from jaxgs import kernels
from jaxgs.backends import resolve_backend
from jaxgs.config import RasterSpec
from jaxgs.types import Gaussians2D, Splats


def project(
  gaussians: Gaussians2D,
  *,
  active: jax.Array | None = None,
  scale: float = 1.0,
  offset: tuple[float, float] = (0.0, 0.0),
  backend: str = "auto",
) -> Splats:
  """Places 2D Gaussians on a screen; see `jaxgs.placement.place`.

  Differentiable with respect to the Gaussians, by "triton" in reverse mode
  only.

  Args:
    gaussians: N Gaussians, mean in pixels of the fitted image.
    active: (N,) bool; the others get no weight. All when None.
    scale: Output pixels per fitted pixel, > 0, static.
    offset: (x, y) of the output's corner in output pixels: a window into the
      scaled picture.
    backend: See RasterSpec.

  Returns:
    N splats in output pixels.

  Raises:
    NotImplementedError: The backend asked for cannot serve.
  """
  gaussians = jax.tree.map(jnp.asarray, gaussians)
  backend = resolve_backend(RasterSpec(backend=backend)).backend
  function = kernels.load(backend, "project").project
  return function(gaussians, active=active, scale=scale, offset=offset)
