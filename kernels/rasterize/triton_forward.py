"""The forward kernel: one program per tile, two pixels per lane.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005

import triton
import triton.language as tl
from jaxgs.kernels.rasterize.triton_kernels import (
  exp2,
  filled,
  load_row,
  log2_weight,
)
from jaxgs.kernels.rasterize.triton_sort import keep_largest, sort8


@triton.jit
def _log_weight(x, y, table, ids, i, last, R: tl.constexpr, READ: tl.constexpr):
  """log2 of the weight of list entry i at pixels (x, y), and its splat's row.

  -inf behind the end of the list. Of the row, the first READ floats.
  """
  n = tl.load(ids + tl.minimum(i, last - 1))
  row = load_row(table + n * R, READ)
  lw = tl.where(i < last, row[5], float("-inf"))
  dx = x - row[0]
  a_dx2 = tl.fma(row[2] * dx, dx, lw)
  return log2_weight(a_dx2, row[3] * dx, row[4], y - row[1], lw), row


@triton.jit
def _next8(x, y, table, ids, i, last, R: tl.constexpr):
  """The logarithms of 8 weights of the list from i on, falling."""
  v, _ = _log_weight(x, y, table, ids, i, last, R, 6)
  values = (v,)
  for k in tl.static_range(1, 8):
    v, _ = _log_weight(x, y, table, ids, i + k, last, R, 6)
    values = values + (v,)
  return sort8(values)


@triton.jit
def _largest(
  x,
  y,
  table,
  ids,
  first,
  last,
  R: tl.constexpr,
  COUNT: tl.constexpr,
  SIZE: tl.constexpr,
):
  """The COUNT largest logarithms of each pixel, falling."""
  top = _next8(x, y, table, ids, first, last, R)
  if COUNT <= 8:
    top = top[:COUNT]
  else:
    none = tl.full(x.shape, float("-inf"), tl.float32)
    top = top + filled(none, COUNT - 8)
  for i in range(first + 8, last, 8):
    new = _next8(x, y, table, ids, i, last, R)
    top = keep_largest(top, new, COUNT, SIZE)
  return top


@triton.jit
def _kth_by_passes(
  x,
  y,
  table,
  ids,
  first,
  last,
  R: tl.constexpr,
  K: tl.constexpr,
  LIMIT: tl.constexpr,
):
  """The K-th largest logarithm, for any K, and how many equal ones are blended.

  Each pass over the list finds the next smaller value and how often it
  occurs.
  """
  kth = tl.full(x.shape, float("inf"), tl.float32)
  above = tl.zeros(x.shape, tl.int32)  # How many are larger than `kth`.
  equal = tl.zeros(x.shape, tl.int32)
  searching = tl.full(x.shape, 1, tl.int32)
  while tl.max(searching, axis=0) > 0:
    value = tl.full(x.shape, LIMIT, tl.float32)
    count = tl.zeros(x.shape, tl.int32)
    for i in range(first, last):
      v, _ = _log_weight(x, y, table, ids, i, last, R, 6)
      v = tl.where(v < kth, v, LIMIT)
      count = tl.where(v > value, 1, count + (v == value).to(tl.int32))
      value = tl.maximum(value, v)
    more = searching > 0
    above += tl.where(more, equal, 0)
    kth = tl.where(more, value, kth)
    equal = tl.where(more, count, equal)
    done = (kth <= LIMIT) | (above + equal >= K)
    searching = tl.where(done, 0, searching)
  return kth, K - above


@triton.jit
def _places(x, y, table, ids, first, last, threshold, quota, R: tl.constexpr):
  """The place in the list of the last blended weight equal to a threshold.

  -1 where `quota`, how many of them are blended, is 0.
  """
  place = tl.full(x.shape, -1, tl.int32)
  for i in range(first, last):
    v, _ = _log_weight(x, y, table, ids, i, last, R, 6)
    taken = (v == threshold) & (quota > 0)
    quota -= taken.to(tl.int32)
    place = tl.where(taken, i - first, place)
  return place


@triton.jit
def _select(
  x,
  y,
  table,
  ids,
  first,
  last,
  R: tl.constexpr,
  K: tl.constexpr,
  SORT_SIZE: tl.constexpr,
  LIMIT: tl.constexpr,
):
  """Threshold of each pixel, and how many weights equal to it are blended.

  0 where there are no equal weights to choose from: then the threshold is the
  next smaller weight.
  """
  if SORT_SIZE > 0:
    top = _largest(x, y, table, ids, first, last, R, K + 1, SORT_SIZE)
    least = tl.maximum(top[K], LIMIT)
    equal = (least > LIMIT) & (top[K - 1] == least)
    quota = tl.zeros(x.shape, tl.int32)
    for k in tl.static_range(K):
      quota += (equal & (top[k] == least)).to(tl.int32)
  else:
    least, quota = _kth_by_passes(x, y, table, ids, first, last, R, K, LIMIT)
    quota = tl.where(least > LIMIT, quota, 0)
  return least, quota


@triton.jit
def _blend(
  x,
  y,
  table,
  ids,
  first,
  last,
  least,
  place,
  R: tl.constexpr,
  C: tl.constexpr,
  EDGE: tl.constexpr,
  TIED: tl.constexpr,
):
  """Sum of the blended weights, and of the weighted features."""
  total = tl.zeros_like(x)
  sums = filled(total, C)
  for base in range(first, last, 4):
    for u in tl.static_range(4):
      i = base + u
      v, row = _log_weight(x, y, table, ids, i, last, R, 6 + C)
      kept = v > least
      if TIED:
        kept = kept | ((v == least) & (i - first <= place))
      w = tl.where(kept, exp2(v) - EDGE, 0.0)
      total += w
      new = (sums[0] + w * row[6],)
      for k in tl.static_range(1, C):
        new = new + (sums[k] + w * row[6 + k],)
      sums = new
  return total, sums


@triton.jit
def forward_kernel(
  table,
  ids,
  starts,
  image,
  threshold,
  place,
  ties,
  inverse,
  N: tl.constexpr,
  P: tl.constexpr,
  T: tl.constexpr,
  COLS: tl.constexpr,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  R: tl.constexpr,
  TILE: tl.constexpr,
  K: tl.constexpr,
  SORT_SIZE: tl.constexpr,
  NORM: tl.constexpr,
  LIMIT: tl.constexpr,
  EDGE: tl.constexpr,
  EPSILON: tl.constexpr,
):
  """Draws a tile.

  What is blended at a pixel is what is larger than its threshold, and of what
  is equal to it the weights up to its place in the list. Unless weights are
  equal the threshold is the (K + 1)-th largest weight and the place is not
  needed: `ties` says per tile whether it is written. Weights are compared as
  logarithms, so that the search needs no exponential function.

  Arrays and constants:
    table: (B, N, R), rows of splats.
    ids: (B, P).
    starts: (B, T + 1).
    image: (B, H, W, C), written.
    threshold: (B, T, Q), written if K, for Q = TILE^2 pixels; so are
    place: (B, T, Q) int32 where ties,
    ties: (B, T) int32; and if NORM
    inverse: (B, T, Q), 1 / (sum of the blended weights + EPSILON).
    K: Weights blended per pixel; 0: all.
    SORT_SIZE: Keep K + 1 weights sorted, and this is K + 1 rounded up to a
      power of two; or 0: search in many passes.
    NORM: Divide by the sum of weights.
    LIMIT: log2 of the weight at the edge of a splat.
    EDGE: Subtracted from each weight.
  """
  tile = tl.program_id(0)
  batch = tl.program_id(1).to(tl.int64)
  table += batch * (N * R)
  ids += batch * P
  starts += batch * (T + 1) + tile
  q = tl.arange(0, TILE * TILE)
  column = tile % COLS * TILE + q % TILE
  row = tile // COLS * TILE + q // TILE
  x = column.to(tl.float32) + 0.5
  y = row.to(tl.float32) + 0.5
  first = tl.load(starts)
  last = tl.load(starts + 1)
  pixel = (batch * T + tile) * (TILE * TILE) + q

  least = tl.full(x.shape, LIMIT, tl.float32)
  last_place = tl.full(x.shape, -1, tl.int32)
  tied = 0
  if K > 0:
    if last - first > K:
      least, quota = _select(
        x, y, table, ids, first, last, R, K, SORT_SIZE, LIMIT
      )
      tied = tl.max((quota > 0).to(tl.int32), axis=0)
      if tied > 0:
        last_place = _places(x, y, table, ids, first, last, least, quota, R)
        tl.store(place + pixel, last_place)
    tl.store(threshold + pixel, least)
    tl.store(ties + batch * T + tile, tied)
  # Two loops: what equal weights take would cost all other tiles a third.
  if tied > 0:
    total, sums = _blend(
      x, y, table, ids, first, last, least, last_place, R, C, EDGE, True
    )
  else:
    total, sums = _blend(
      x, y, table, ids, first, last, least, last_place, R, C, EDGE, False
    )

  inside = (column < W) & (row < H)
  out = image + ((batch * H + row) * W + column) * C
  if NORM:
    scale = 1.0 / (total + EPSILON)
    tl.store(inverse + pixel, scale)
    for k in tl.static_range(C):
      tl.store(out + k, sums[k] * scale, mask=inside)
  else:
    for k in tl.static_range(C):
      tl.store(out + k, sums[k], mask=inside)
