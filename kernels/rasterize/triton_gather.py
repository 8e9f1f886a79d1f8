"""The kernel that comes last: a sum over each splat's tiles.

Sums are taken in an order that does not change from run to run.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005

import triton
import triton.language as tl
from jaxgs.kernels.rasterize.triton_kernels import filled


@triton.jit
def _about_splat(value, x, y):
  """Moments about a splat's centre, from those about (x, y) from there."""
  s, sx, sy, sxx, sxy, syy = value[:6]
  shifted = (
    s,
    tl.fma(x, s, sx),
    tl.fma(y, s, sy),
    tl.fma(x, tl.fma(x, s, 2.0 * sx), sxx),
    tl.fma(x, tl.fma(y, s, sy), tl.fma(y, sx, sxy)),
    tl.fma(y, tl.fma(y, s, 2.0 * sy), syy),
  )
  return shifted + value[6:]


@triton.jit
def gather_kernel(
  mean,
  conic,
  boxes,
  written,
  pairs,
  d_mean,
  d_conic,
  d_log_weight,
  d_feature,
  N: tl.constexpr,
  P: tl.constexpr,
  COLS: tl.constexpr,
  C: tl.constexpr,
  TILE: tl.constexpr,
  J: tl.constexpr,
):
  """Sums the rows of one splat over its tiles.

  Arrays and constants:
    mean, conic: (B, N, ...).
    boxes: From `table_kernel`.
    written, pairs: From `backward_kernel`.
    d_mean, d_conic, d_log_weight, d_feature: (B, N, ...), written.
    J: Rows read at once.
  """
  batch = tl.program_id(1).to(tl.int64)
  n = batch * N + tl.program_id(0)
  written += batch * P
  pairs += batch * P * (6 + C)
  row, corner = tl.load(boxes + 4 * n), tl.load(boxes + 4 * n + 1)
  across = tl.load(boxes + 4 * n + 2)
  count = across * tl.load(boxes + 4 * n + 3)
  x = (corner % COLS * TILE).to(tl.float32) + TILE / 2 - tl.load(mean + 2 * n)
  y = (corner // COLS * TILE).to(tl.float32) + TILE / 2
  y -= tl.load(mean + 2 * n + 1)
  # Now, or the sums would wait for them.
  a = tl.load(conic + 3 * n)
  b = tl.load(conic + 3 * n + 1)
  c = tl.load(conic + 3 * n + 2)
  parts = filled(tl.zeros([J], tl.float32), 6 + C)
  for k in range(0, count, J):
    j = k + tl.arange(0, J)
    at = row + j
    mask = (j < count) & (at >= 0) & (at < P)
    valid = tl.load(written + at, mask=mask, other=0) != 0
    at = pairs + at.to(tl.int64) * (6 + C)
    # Loaded before it is known whether it is valid: one wait instead of two.
    value = (tl.load(at, mask=mask, other=0.0),)
    for i in tl.static_range(1, 6 + C):
      value = value + (tl.load(at + i, mask=mask, other=0.0),)
    left, up = j % across * TILE, j // across * TILE
    value = _about_splat(value, x + left.to(tl.float32), y + up.to(tl.float32))
    new = ()
    for i in tl.static_range(6 + C):
      new = new + (parts[i] + tl.where(valid, value[i], 0.0),)
    parts = new
  sums = (tl.sum(parts[0], axis=0),)
  for i in tl.static_range(1, 6 + C):
    sums = sums + (tl.sum(parts[i], axis=0),)
  tl.store(d_mean + 2 * n, -(a * sums[1] + b * sums[2]))
  tl.store(d_mean + 2 * n + 1, -(b * sums[1] + c * sums[2]))
  tl.store(d_conic + 3 * n, 0.5 * sums[3])
  tl.store(d_conic + 3 * n + 1, sums[4])
  tl.store(d_conic + 3 * n + 2, 0.5 * sums[5])
  tl.store(d_log_weight + n, -sums[0])
  for k in tl.static_range(C):
    tl.store(d_feature + n * C + k, sums[6 + k])
