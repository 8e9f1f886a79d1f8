"""The public rasteriser: checks, choice of backend, custom_vjp."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from jaxgs import kernels
from jaxgs.backends import resolve_backend
from jaxgs.binning import bin_splats, count_pairs
from jaxgs.config import RasterSpec
from jaxgs.project import project
from jaxgs.types import Gaussians2D, RenderOutput, Splats, TileBins


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _rasterize(spec, size, splats, bins):
  draw = kernels.load(spec.backend).forward
  return draw(spec, size, splats, bins, keep=False)[0]


def _rasterize_fwd(spec, size, splats, bins):
  out, residuals = kernels.load(spec.backend).forward(spec, size, splats, bins)
  return out, (splats, bins, residuals)


def _rasterize_bwd(spec, size, saved, cotangent):
  splats, bins, residuals = saved
  backward = kernels.load(spec.backend).backward
  # The bins are integers: they carry no gradient.
  return backward(spec, size, splats, bins, residuals, cotangent), None


_rasterize.defvjp(_rasterize_fwd, _rasterize_bwd)


def _check_shapes(splats: Splats) -> None:
  n = splats.mean.shape[0]
  channels = splats.feature.shape[-1] if splats.feature.ndim else 0
  wanted = Splats((n, 2), (n, 3), (n,), (n, channels))
  for name, leaf, shape in zip(splats._fields, splats, wanted, strict=True):
    if leaf.shape != shape:
      raise ValueError(f"splats.{name} must be {shape}, got {leaf.shape}")


def rasterize(
  splats: Splats,
  bins: TileBins,
  *,
  height: int,
  width: int,
  spec: RasterSpec,
) -> RenderOutput:
  """Draws splats; differentiable with respect to them.

  Args:
    splats: N splats in pixels of the output, float32 (the reference backend
      also takes float64).
    bins: From `bin_splats` with the same splats, size and spec.
    height: Output height, px.
    width: Output width, px.
    spec: Blend, top_k, cutoff, epsilon, tile, backend.

  Returns:
    RenderOutput with an image (height, width, C), not clipped.

  Raises:
    ValueError: Shapes do not fit together.
    NotImplementedError: The backend asked for cannot serve.
  """
  splats = jax.tree.map(jnp.asarray, splats)
  if height < 1 or width < 1:
    raise ValueError(f"size must be at least 1x1, got {height}x{width}")
  _check_shapes(splats)
  spec = resolve_backend(spec)
  image = _rasterize(spec, (height, width), splats, bins)
  return RenderOutput(image=image, dropped=bins.dropped)


def render(
  gaussians: Gaussians2D,
  *,
  height: int,
  width: int,
  active: jax.Array | None = None,
  scale: float = 1.0,
  offset: tuple[float, float] = (0.0, 0.0),
  spec: RasterSpec | None = None,
) -> RenderOutput:
  """Draws 2D Gaussians: project, bin, rasterize.

  Outside of jit the pair list gets the room it needs, so nothing is dropped.
  Under a transformation its capacity is `spec.max_pairs`, and the caller
  looks at `dropped`.

  Args:
    gaussians: N Gaussians.
    height: Output height, px.
    width: Output width, px.
    active: (N,) bool; the others are not drawn. All when None.
    scale: Output pixels per fitted pixel.
    offset: (x, y) of the window's corner in output pixels.
    spec: RasterSpec() when None.

  Returns:
    RenderOutput with an image (height, width, C), not clipped.

  Raises:
    ValueError: There are more pairs than int32 can index.
  """
  spec = resolve_backend(spec or RasterSpec())
  traced = any(
    isinstance(leaf, jax.core.Tracer)
    for leaf in jax.tree.leaves((gaussians, active))
  )
  if not traced and spec.max_pairs == 0:
    pairs = pairs_of(
      gaussians,
      height=height,
      width=width,
      active=active,
      scale=scale,
      offset=offset,
      spec=spec,
    )
    spec = _with_room_for(spec, pairs)
  return _render(gaussians, active, height, width, scale, offset, spec)


def pairs_of(
  gaussians: Gaussians2D,
  *,
  height: int,
  width: int,
  active: jax.Array | None = None,
  scale: float = 1.0,
  offset: tuple[float, float] = (0.0, 0.0),
  spec: RasterSpec,
) -> float:
  """How many tile-splat pairs `render` has to list; its arguments.

  A float, since the count of many huge splats overflows int32; a bound, since
  boxes are counted and not ellipses.
  """
  return float(_count(gaussians, active, height, width, scale, offset, spec))


def _with_room_for(spec: RasterSpec, pairs: float) -> RasterSpec:
  """The spec with a capacity of the next power of two over `pairs`.

  Raises:
    ValueError: There are more than int32 can index.
  """
  if pairs > 2**30:
    raise ValueError(
      f"the splats touch {pairs:.3g} tiles in all, over the limit of {2**30}"
    )
  capacity = 1024
  while capacity < pairs:
    capacity *= 2
  return dataclasses.replace(spec, max_pairs=capacity)


_STATIC = ("height", "width", "scale", "spec")


@functools.partial(jax.jit, static_argnames=_STATIC)
def _count(gaussians, active, height, width, scale, offset, spec):
  splats = project(
    gaussians,
    active=active,
    scale=scale,
    offset=offset,
    backend=spec.backend,
  )
  return count_pairs(splats, height=height, width=width, spec=spec)


@functools.partial(jax.jit, static_argnames=_STATIC)
def _render(gaussians, active, height, width, scale, offset, spec):
  splats = project(
    gaussians,
    active=active,
    scale=scale,
    offset=offset,
    backend=spec.backend,
  )
  bins = bin_splats(splats, height=height, width=width, spec=spec)
  return rasterize(splats, bins, height=height, width=width, spec=spec)
