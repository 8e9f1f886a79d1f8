"""The kernel that comes first: splats side by side, and room for gradients.

Only imported once a kernel is needed: this needs the package triton.
"""

import math

import triton
import triton.language as tl
from jaxgs.kernels.binning.triton_boxes import tile_box

_LOG2_E = tl.constexpr(math.log2(math.e))


@triton.jit
def table_kernel(
  mean,
  conic,
  log_weight,
  feature,
  cursor,
  rows,
  table,
  N: tl.constexpr,
  C: tl.constexpr,
  R: tl.constexpr,
  H: tl.constexpr,
  W: tl.constexpr,
  TILE: tl.constexpr,
  CUTOFF: tl.constexpr,
  S: tl.constexpr,
):
  """Writes the table of `triton_kernels`, and gives out rows for gradients.

  Each splat gets a row per tile under its box, side by side. Where they are
  depends on the run, but nothing that is computed depends on where they are.

  Arrays and constants:
    mean, conic, log_weight, feature: (B, N, ...).
    cursor: (B,) int32, zero before: rows given.
    rows: (B, N) int32, written: the first row of each splat.
    table: (B, N, R), written: 6 + C floats of each row.
    S: Splats per program.
  """
  batch = tl.program_id(1).to(tl.int64)
  n = tl.program_id(0) * S + tl.arange(0, S)
  mask = n < N
  n = batch * N + n
  _, _, nx, ny = tile_box(mean, conic, log_weight, n, mask, CUTOFF, H, W, TILE)
  count = nx * ny
  ends = tl.cumsum(count, axis=0)
  base = tl.atomic_add(cursor + batch, tl.sum(count, axis=0), sem="relaxed")
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
