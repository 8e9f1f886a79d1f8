"""Lists of splats per tile in Triton, for NVIDIA GPUs."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxgs.kernels import triton_call, triton_tuning
from jaxgs.kernels.tiles import num_tiles

from jaxgs.config import RasterSpec
from jaxgs.types import Splats, TileBins

# Splats per program: one per lane.
_SPLATS = 32
# Tiles per program where counts are added up; pairs at once where they are
# ordered.
_SUMMED, _ORDERED = 1024, 64
# Where lists are filled: slots per block, blocks at once, rounds of a program
# if all slots are used.
_FILL = (128, 4, 2)


@functools.cache
def _bin(spec: RasterSpec, size: tuple[int, int]):
  """`bin_splats` over arrays with a leading axis B."""
  rows, cols = num_tiles(*size, spec.tile)
  tiles, pairs = rows * cols, spec.max_pairs
  # One buffer, so that one call fills it with zeros: see `count_kernel`.
  num_counters = (tiles + 5) // 2 * 2

  def function(mean, conic, log_weight):
    from jaxgs.kernels.binning import triton_kernels

    batch, num_gaussians = log_weight.shape
    integers = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.int32)
    blocks = triton_tuning.blocks()
    groups = math.ceil(num_gaussians / _SPLATS)
    counters, found, before = triton_call.call(
      triton_kernels.count_kernel,
      mean,
      conic,
      log_weight,
      out=(
        integers((batch, num_counters)),
        integers((batch, pairs, 2)),
        integers((batch, pairs)),
      ),
      zeroed=1,
      grid=(groups, batch, blocks.sharers),
      num_warps=1,
      N=num_gaussians,
      P=pairs,
      M=num_counters,
      COLS=cols,
      H=size[0],
      W=size[1],
      TILE=spec.tile,
      CUTOFF=spec.cutoff,
      S=_SPLATS,
      J=blocks.candidates,
      Z=blocks.sharers,
    )
    starts, dropped = triton_call.call(
      triton_kernels.starts_kernel,
      counters,
      out=(integers((batch, tiles + 1)), integers((batch,))),
      grid=(math.ceil(tiles / _SUMMED), batch),
      num_warps=8,
      T=tiles,
      P=pairs,
      M=num_counters,
      BLOCK=_SUMMED,
      WIDE=16 * _SUMMED,
    )
    (unordered,) = triton_call.call(
      triton_kernels.fill_kernel,
      counters,
      found,
      before,
      starts,
      out=(integers((batch, pairs, 2)),),
      grid=(math.ceil(pairs / math.prod(_FILL)), batch),
      num_warps=_FILL[0] // 32,
      T=tiles,
      P=pairs,
      M=num_counters,
      BLOCK=_FILL[0],
      UNROLL=_FILL[1],
    )
    (ids,) = triton_call.call(
      triton_kernels.order_kernel,
      starts,
      unordered,
      out=(integers((batch, pairs)),),
      grid=(math.ceil(pairs / (4 * _ORDERED)), batch),
      num_warps=_ORDERED // 32,
      T=tiles,
      P=pairs,
      BLOCK=_ORDERED,
      UNROLL=8,
    )
    return ids, starts, dropped

  return triton_call.fold_batches(function)


def bin_splats(
  spec: RasterSpec, size: tuple[int, int], splats: Splats
) -> TileBins:
  """See `jaxgs.kernels`.

  Args:
    spec: Uses `tile`, `cutoff` and `max_pairs`, which is P.
    size: (height, width), px.
    splats: N splats.

  Returns:
    TileBins. `dropped` counts boxes: here and in the backward pass each tile
    under a splat's box takes room. Behind the last list the ids hold anything.

  Raises:
    ValueError: `max_pairs` is over 2^30, too many for the kernels' int32.
  """
  if spec.max_pairs > 2**30:
    raise ValueError(f"max_pairs must be at most 2^30, got {spec.max_pairs}")
  arrays = (splats.mean, splats.conic, splats.log_weight)
  bins = _bin(spec, size)(*(jnp.asarray(x)[None] for x in arrays))
  return TileBins(*(x[0] for x in bins))
