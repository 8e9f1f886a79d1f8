"""The binning in C++, for a CPU: see cpu.cc."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxgs.kernels import ffi
from jaxgs.kernels.tiles import num_tiles

from jaxgs.config import RasterSpec
from jaxgs.types import Splats, TileBins


def _arguments(splats: Splats):
  return splats.mean, splats.conic, splats.log_weight


def _attributes(spec: RasterSpec, size: tuple[int, int]) -> dict:
  return {
    "height": np.int64(size[0]),
    "width": np.int64(size[1]),
    "tile": np.int64(spec.tile),
    "cutoff": np.float32(spec.cutoff),
  }


def count_pairs(
  spec: RasterSpec, size: tuple[int, int], splats: Splats
) -> jax.Array:
  """How many pairs `bin_splats` lists at most: tiles under the boxes.

  Args:
    spec: Uses `tile` and `cutoff`.
    size: (height, width), px.
    splats: N splats.

  Returns:
    () float32, rounded up.
  """
  return ffi.call(
    "jaxgs_ffi_count_pairs",
    jax.ShapeDtypeStruct((), jnp.float32),
    *_arguments(splats),
    **_attributes(spec, size),
  )


def bin_splats(
  spec: RasterSpec, size: tuple[int, int], splats: Splats
) -> TileBins:
  """See `jaxgs.kernels`.

  Args:
    spec: Uses `tile`, `cutoff` and `max_pairs`, which is P.
    size: (height, width), px.
    splats: N splats.

  Returns:
    TileBins.
  """
  rows, cols = num_tiles(*size, spec.tile)
  shapes = [(spec.max_pairs,), (rows * cols + 1,), ()]
  lists = ffi.call(
    "jaxgs_ffi_bin_splats",
    [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in shapes],
    *_arguments(splats),
    **_attributes(spec, size),
  )
  return TileBins(*lists)
