"""The kernel that comes first: splats side by side, room for gradients, order.

Only imported once a kernel is needed: this needs the package triton.
"""

import math

import triton
import triton.language as tl
from jaxgs.kernels.binning.triton_boxes import tile_box
from jaxgs.kernels.rasterize.triton_kernels import is_long

_LOG2_E = tl.constexpr(math.log2(math.e))


@triton.jit
def table_kernel(
  mean,
  conic,
  log_weight,
  feature,
  starts,
  cursor,
  rows,
  table,
  long_tiles,
  N: tl.constexpr,
  T: tl.constexpr,
  C: tl.constexpr,
  R: tl.constexpr,
  H: tl.constexpr,
  W: tl.constexpr,
  TILE: tl.constexpr,
  CUTOFF: tl.constexpr,
  S: tl.constexpr,
):
  """Writes the table of `triton_kernels`, and gives out rows for gradients.

  Each splat gets a row per tile under its box, side by side. Tiles with long
  lists are put on a list of their own, to be drawn first. Where rows and such
  tiles are depends on the run, but nothing that is computed depends on it.

  Arrays and constants:
    mean, conic, log_weight, feature: (B, N, ...).
    starts: (B, T + 1).
    cursor: (B, 2) int32, zero before: rows given, tiles with long lists.
    rows: (B, N) int32, written: the first row of each splat.
    table: (B, N, R), written: 6 + C floats of each row.
    long_tiles: (B, T) int32, its first ones written.
    S: Splats, and tiles, per program.
  """
  batch = tl.program_id(1).to(tl.int64)
  n = tl.program_id(0) * S + tl.arange(0, S)
  mask = n < N
  n = batch * N + n
  _, _, nx, ny = tile_box(mean, conic, log_weight, n, mask, CUTOFF, H, W, TILE)
  count = nx * ny
  ends = tl.cumsum(count, axis=0)
  cursor += 2 * batch
  base = tl.atomic_add(cursor, tl.sum(count, axis=0), sem="relaxed")
  tl.store(rows + n, base + ends - count, mask=mask)
  table += n * R
  for k in tl.static_range(2):
    tl.store(table + k, tl.load(mean + 2 * n + k, mask=mask), mask=mask)
  for k in tl.static_range(3):
    scale = -_LOG2_E if k == 1 else -0.5 * _LOG2_E
    value = scale * tl.load(conic + 3 * n + k, mask=mask)
    tl.store(table + 2 + k, value, mask=mask)
  value = _LOG2_E * tl.load(log_weight + n, mask=mask)
  tl.store(table + 5, value, mask=mask)
  for k in tl.static_range(C):
    tl.store(table + 6 + k, tl.load(feature + n * C + k, mask=mask), mask=mask)

  tile = tl.program_id(0) * S + tl.arange(0, S)
  chosen = is_long(starts + batch * (T + 1), tile, tile < T, T)
  ends = tl.cumsum(chosen.to(tl.int32), axis=0)
  count = tl.sum(chosen.to(tl.int32), axis=0)
  if count > 0:
    base = tl.atomic_add(cursor + 1, count, sem="relaxed")
    slot = long_tiles + batch * T + base + ends - 1
    tl.store(slot, tile, mask=chosen)
