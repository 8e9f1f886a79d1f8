"""The kernel that comes first: splats side by side, room for gradients, order.

Only imported once a kernel is needed: this needs the package triton.
"""

import math

import triton
import triton.language as tl
from jaxgs.kernels.binning.triton_boxes import load_splat, tile_box
from jaxgs.kernels.rasterize.triton_kernels import (
  length_class,
  length_count,
  length_counts,
)

_LOG2_E = tl.constexpr(math.log2(math.e))


@triton.jit
def table_kernel(
  mean,
  conic,
  log_weight,
  feature,
  starts,
  cursor,
  boxes,
  table,
  order,
  N: tl.constexpr,
  T: tl.constexpr,
  C: tl.constexpr,
  R: tl.constexpr,
  COLS: tl.constexpr,
  H: tl.constexpr,
  W: tl.constexpr,
  TILE: tl.constexpr,
  CUTOFF: tl.constexpr,
  KEEP: tl.constexpr,
  S: tl.constexpr,
):
  """Writes the table of `triton_kernels`, and gives out rows for gradients.

  Each splat gets a row per tile under its box, side by side. Tiles are put in
  order, those with the longest lists first. Where rows and tiles are depends on
  the run, but nothing that is computed depends on it.

  Arrays and constants:
    mean, conic, log_weight, feature: (B, N, ...).
    starts: (B, T + 1).
    cursor: (B, 4) int32, zero before: rows given, nothing, and the tiles of
      each class of `length_class` as `length_counts`, in 64 bits.
    boxes: (B, N, 4) int32, written if KEEP: the first row of each splat; the
      first tile under its box, their number across (at least 1) and down.
    table: (B, N + 1, R), written: 6 + C floats of each row.
    order: (B, 2, T) int32, written: the tiles of class 1 from the front on and
      those of class 0 from the back; then those of class 2.
    S: Splats, and tiles, of a program: 32, for one warp.
  """
  batch = tl.program_id(1).to(tl.int64)
  lane = tl.arange(0, S)
  tile = tl.program_id(0) * S + lane
  mask = tile < N
  n = batch * N + tile
  splat = load_splat(mean, conic, log_weight, n, mask)
  kind = length_class(starts + batch * (T + 1), tile, tile < T, T)
  ones = length_counts(kind, T)
  cursor += 4 * batch
  # By one lane: a scalar would go through shared memory, and be waited for.
  # Both additions are on their way while the table is written.
  first_place = tl.atomic_add(
    (cursor + 2).to(tl.pointer_type(tl.int64)) + 0 * lane,
    tl.sum(ones, axis=0),
    mask=lane == 0,
    sem="relaxed",
  )
  if KEEP:
    fx, fy, nx, ny = tile_box(splat, CUTOFF, H, W, TILE)
    count = nx * ny
    first_row = tl.atomic_add(
      cursor + 0 * lane,
      tl.sum(count, axis=0),
      mask=lane == 0,
      sem="relaxed",
    )

  # The row behind the last splat's is of weight 0.
  table += (n + batch) * R
  here = tile <= N
  a, b, c, x, y, weight = splat
  tl.store(table, x, mask=here)
  tl.store(table + 1, y, mask=here)
  # (a dx^2 + c dy^2) / 2 + b dx dy with the square completed in y; as in
  # `tile_box`, the determinant of a needle cancels.
  least = tl.maximum(a * c - b * b, 1e-7 * a * c) / c
  # Finite, or its product with dx = 0 would be NaN.
  least = tl.minimum(least, 1e38)
  tl.store(table + 2, (-0.5 * _LOG2_E) * least, mask=here)
  root = tl.sqrt_rn((0.5 * _LOG2_E) * c)
  tl.store(table + 3, root * (b / c), mask=here)
  tl.store(table + 4, root, mask=here)
  tl.store(table + 5, _LOG2_E * weight, mask=here)
  for k in tl.static_range(C):
    value = tl.load(feature + n * C + k, mask=mask, other=0.0)
    tl.store(table + 6 + k, value, mask=here)

  first_place = tl.sum(tl.where(lane == 0, first_place, 0), axis=0)
  ends = first_place + tl.cumsum(ones, axis=0)
  place = length_count(ends, tl.maximum(kind, 0), T) - 1
  # From the back, from the front, and from the front of the other half.
  slot = tl.where(kind == 0, T - 1 - place, place + kind // 2 * T)
  tl.store(order + batch * (2 * T) + slot, tile, mask=kind >= 0)
  if KEEP:
    boxes += 4 * n
    first_row = tl.sum(tl.where(lane == 0, first_row, 0), axis=0)
    row = first_row + tl.cumsum(count, axis=0) - count
    tl.store(boxes, row, mask=mask)
    tl.store(boxes + 1, fy * COLS + fx, mask=mask)
    # A splat that is not drawn may have a side.
    tl.store(boxes + 2, tl.where(count > 0, nx, 1), mask=mask)
    tl.store(boxes + 3, tl.where(count > 0, ny, 0), mask=mask)
