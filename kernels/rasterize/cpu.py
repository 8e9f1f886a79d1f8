"""The rasteriser in C++, for a CPU: see cpu.cc.

A tile is drawn by one thread, sixteen pixels at once. The forward pass leaves,
per pixel, the K-th largest weight, its place in the list and the sum of the
weights; the backward pass evaluates the weights again, sums up each splat's
gradient over the tile, and adds those sums in the order of the lists. So
neither picture nor gradient depends on the number of threads.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxgs.kernels import ffi

from jaxgs.config import RasterSpec
from jaxgs.types import Splats, TileBins


class Residuals(NamedTuple):
  """What the backward pass needs; empty arrays for the sum blend.

  Attributes:
    image: (H, W, C) what was drawn.
    threshold: (T, Q) the K-th largest weight, by tile and pixel.
    place: (T, Q) int32 the place in the list where it stands.
    total: (T, Q) sum of the blended weights.
  """

  image: jax.Array
  threshold: jax.Array
  place: jax.Array
  total: jax.Array


def check(spec: RasterSpec, platform: str) -> None:
  """Serves every spec on a CPU, if the library was built."""
  del spec
  ffi.check(platform)


def _attributes(spec: RasterSpec, size: tuple[int, int]) -> dict:
  return {
    "height": np.int64(size[0]),
    "width": np.int64(size[1]),
    "norm": np.int64(spec.blend == "norm"),
    "top_k": np.int64(spec.top_k),
    "cutoff": np.float32(spec.cutoff),
    "smooth_edge": np.int64(spec.edge == "smooth"),
    "epsilon": np.float32(spec.epsilon),
    "tile": np.int64(spec.tile),
  }


def _shape(*shape: int, dtype=jnp.float32) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, dtype)


def forward(
  spec: RasterSpec,
  size: tuple[int, int],
  splats: Splats,
  bins: TileBins,
  *,
  keep: bool = True,
):
  """See `jaxgs.kernels`.

  Returns:
    (H, W, C) float32 image, Residuals; None for them unless `keep`.
  """
  tiles = bins.starts.shape[0] - 1
  kept = (tiles, spec.tile**2) if spec.blend == "norm" else (0, 0)
  image, threshold, place, total = ffi.call(
    "jaxgs_ffi_rasterize_forward",
    [
      _shape(*size, splats.feature.shape[1]),
      _shape(*kept),
      _shape(*kept, dtype=jnp.int32),
      _shape(*kept),
    ],
    *splats,
    bins.ids,
    bins.starts,
    **_attributes(spec, size),
  )
  return image, Residuals(image, threshold, place, total) if keep else None


def backward(
  spec: RasterSpec,
  size: tuple[int, int],
  splats: Splats,
  bins: TileBins,
  residuals: Residuals,
  cotangent: jax.Array,
) -> Splats:
  """See `jaxgs.kernels`.

  Args:
    spec: As in `forward`.
    size: (height, width).
    splats: As in `forward`.
    bins: As in `forward`.
    residuals: From `forward`.
    cotangent: (H, W, C).

  Returns:
    Gradient with respect to each field of the splats.
  """
  like = [_shape(*leaf.shape) for leaf in splats]
  pairs = _shape(bins.ids.shape[0], 6 + splats.feature.shape[1])
  *gradient, _ = ffi.call(
    "jaxgs_ffi_rasterize_backward",
    [*like, pairs],
    *splats,
    bins.ids,
    bins.starts,
    *residuals,
    cotangent,
    **_attributes(spec, size),
  )
  return Splats(*gradient)
