"""Which splat touches which tile, in pure JAX.

Candidates come from the bounding box of the ellipse; a second test keeps only
the pairs whose ellipse reaches a pixel centre of the tile. The list has a
fixed capacity, so that the function can be jitted and vmapped; what does not
fit is counted.
"""

import jax
import jax.numpy as jnp
from jaxgs.kernels.tiles import num_tiles

from jaxgs import math
from jaxgs.config import RasterSpec
from jaxgs.types import Splats, TileBins


def _tile_boxes(
  splats: Splats, height: int, width: int, spec: RasterSpec, margin=0.0
):
  """First tile and number of tiles of each splat's box: (N, 2) int32 each."""
  reach = 2.0 * (spec.cutoff + splats.log_weight)
  half = math.half_extent(splats.conic, reach) * (1.0 + margin)
  # A tile counts when one of its pixel centres may be inside.
  low = jnp.ceil(splats.mean - half - 0.5)
  high = jnp.floor(splats.mean + half - 0.5)
  last = jnp.array([[width - 1, height - 1]], low.dtype)
  # NaN compares false: a broken splat is not drawn, and indexes nothing.
  seen = jnp.all((high >= 0) & (low <= last) & (low <= high), axis=-1)
  seen &= reach > 0
  low = jnp.where(seen[:, None], jnp.clip(low, 0.0, last), 0.0)
  high = jnp.where(seen[:, None], jnp.clip(high, 0.0, last), 0.0)
  first = low.astype(jnp.int32) // spec.tile
  count = high.astype(jnp.int32) // spec.tile - first + 1
  return first, jnp.where(seen[:, None], count, 0)


def _reaches(splats: Splats, ids, tile_x, tile_y, tile: int, cutoff: float):
  """Whether the ellipse of splat ids[p] reaches a pixel centre's box.

  The exponent is convex, so its minimum over the box of pixel centres is at
  the splat's centre if that is inside, else on the edge that faces it, in x
  or in y.
  """
  mean, con = splats.mean[ids], splats.conic[ids]
  low_x = (tile_x * tile).astype(mean.dtype) + 0.5 - mean[:, 0]
  low_y = (tile_y * tile).astype(mean.dtype) + 0.5 - mean[:, 1]
  high_x, high_y = low_x + (tile - 1), low_y + (tile - 1)
  near_x, near_y = jnp.clip(0.0, low_x, high_x), jnp.clip(0.0, low_y, high_y)
  on_x = jnp.clip(-con[:, 1] * near_x / con[:, 2], low_y, high_y)
  on_y = jnp.clip(-con[:, 1] * near_y / con[:, 0], low_x, high_x)
  least = jnp.minimum(
    math.evaluate_conic(con, near_x, on_x),
    math.evaluate_conic(con, on_y, near_y),
  )
  # Rounding must not lose a pair that the rasteriser would draw.
  return least * (1 - 1e-4) - 1e-4 <= cutoff + splats.log_weight[ids]


def count_pairs(
  spec: RasterSpec, size: tuple[int, int], splats: Splats
) -> jax.Array:
  """How many candidate pairs there are: at least what `bin_splats` lists.

  Args:
    spec: Uses `tile` and `cutoff`.
    size: (height, width), px.
    splats: N splats.

  Returns:
    () float32 (a sum of int32 could overflow).
  """
  # Another program, or triton, may round the sides of a box the other way.
  _, count = _tile_boxes(splats, *size, spec, margin=1e-6)
  return jnp.sum(jnp.prod(count.astype(jnp.float32), axis=-1))


def bin_splats(
  spec: RasterSpec, size: tuple[int, int], splats: Splats
) -> TileBins:
  """See `jaxgs.kernels`.

  Args:
    spec: Uses `tile`, `cutoff` and `max_pairs`, which is P.
    size: (height, width), px.
    splats: N splats.

  Returns:
    TileBins; `dropped` saturates at 2^31 - 1.
  """
  height, width = size
  num_gaussians, max_pairs = splats.mean.shape[0], spec.max_pairs
  first, count = _tile_boxes(splats, height, width, spec)
  rows, cols = num_tiles(height, width, spec.tile)
  pairs = count[:, 0] * count[:, 1]
  # The sum as floats cannot overflow: it takes out what int32 could not add
  # up. What is left over the capacity is cut by the slots.
  total = jnp.cumsum(pairs.astype(jnp.float32))
  pairs = jnp.where(total <= 2.0 * max_pairs, pairs, 0)
  ends = jnp.cumsum(pairs)
  slot = jnp.arange(max_pairs, dtype=jnp.int32)
  ids = jnp.searchsorted(ends, slot, side="right").astype(jnp.int32)
  ids = jnp.minimum(ids, num_gaussians - 1)
  begins = ends - pairs
  local = slot - begins[ids]
  across = jnp.maximum(count[ids, 0], 1)
  tile_x = first[ids, 0] + local % across
  tile_y = first[ids, 1] + local // across
  valid = (slot < ends[-1]) & _reaches(
    splats, ids, tile_x, tile_y, spec.tile, spec.cutoff
  )
  key = jnp.where(valid, tile_y * cols + tile_x, rows * cols)
  key, ids = jax.lax.sort((key, ids), num_keys=1, is_stable=True)
  starts = jnp.searchsorted(
    key, jnp.arange(rows * cols + 1, dtype=jnp.int32), side="left"
  )
  dropped = jnp.maximum(total[-1] - max_pairs, 0.0)
  return TileBins(
    ids=ids,
    starts=starts.astype(jnp.int32),
    dropped=jnp.minimum(dropped, 2147483520.0).astype(jnp.int32),
  )
