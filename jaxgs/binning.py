"""Which splat touches which tile: room for the lists, and who makes them.

The lists have a fixed capacity, so that the function can be jitted and vmapped;
what does not fit is counted.
"""

import dataclasses
import functools

import jax
import numpy as np

from jaxgs import kernels
from jaxgs.backends import resolve_backend
from jaxgs.config import RasterSpec
from jaxgs.kernels.tiles import num_tiles
from jaxgs.types import Splats, TileBins


def default_max_pairs(num_gaussians: int, height: int, width: int, tile: int):
  """A pair capacity that fits the splats of a usual fit with room to spare.

  The support of a splat has a radius of about three times its spacing on the
  grid; twice its box leaves room for uneven sizes.

  Returns:
    A power of two, so that few distinct programs are compiled.
  """
  spacing = (height * width / num_gaussians) ** 0.5
  side = 4.5 * spacing / tile + 1.0
  most = num_gaussians * np.prod(num_tiles(height, width, tile), dtype=float)
  pairs = min(2.0 * num_gaussians * side * side, most)
  return 1 << int(np.ceil(np.log2(max(pairs, 1024))))


def count_pairs(
  splats: Splats, *, height: int, width: int, spec: RasterSpec
) -> jax.Array:
  """How many pairs `bin_splats` must find room for, at most.

  Args:
    splats: N splats.
    height: Image height, px.
    width: Image width, px.
    spec: Uses `tile`, `cutoff` and `backend`.

  Returns:
    () float32 (a sum of int32 could overflow).
  """
  spec = resolve_backend(spec)
  # In double, and with a margin, "cpu" may find more than xla.
  name = "cpu" if spec.backend == "cpu" else "xla"
  count = kernels.load(name, "binning").count_pairs
  return count(spec, (height, width), splats)


def bin_splats(
  splats: Splats, *, height: int, width: int, spec: RasterSpec
) -> TileBins:
  """Lists, per tile, the splats whose support reaches one of its pixels.

  Args:
    splats: N splats.
    height: Image height, px.
    width: Image width, px.
    spec: Uses `tile`, `cutoff`, `backend` and `max_pairs` (0:
      `default_max_pairs`).

  Returns:
    TileBins with P = max_pairs.
  """
  spec = resolve_backend(spec)
  if spec.max_pairs == 0:
    pairs = default_max_pairs(splats.mean.shape[0], height, width, spec.tile)
    spec = dataclasses.replace(spec, max_pairs=pairs)
  return _bin_splats(splats, (height, width), spec)


@functools.partial(jax.jit, static_argnames=("size", "spec"))
def _bin_splats(splats: Splats, size: tuple[int, int], spec: RasterSpec):
  # Lists are whole numbers: they have no gradient.
  splats = jax.lax.stop_gradient(splats)
  return kernels.load(spec.backend, "binning").bin_splats(spec, size, splats)
