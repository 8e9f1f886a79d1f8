"""The search of the forward kernel: which weights are blended at each pixel.

Weights are compared as logarithms, so that it needs no exponential function.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005

import triton
import triton.language as tl
from jaxgs.kernels.rasterize.triton_kernels import (
  filled,
  load_row,
  log2_weight,
  row_of,
)
from jaxgs.kernels.rasterize.triton_keys import (
  both_keys,
  keys,
  logarithm,
)
from jaxgs.kernels.rasterize.triton_sort import (
  keep_largest,
  nth_largest,
  sort8,
)


@triton.jit
def full(x, y, value, dtype: tl.constexpr):
  """A value per pixel."""
  return tl.full((x + y).shape, value, dtype)


@triton.jit
def listed(
  ids, i, last, COUNT: tl.constexpr, FULL: tl.constexpr, N: tl.constexpr
):
  """COUNT entries of the list from i on.

  Unless FULL some may be behind its end: there stands N, the empty row's.
  """
  values = ()
  for k in tl.static_range(COUNT):
    if FULL:
      n = tl.load(ids + i + k)
    else:
      n = tl.load(ids + i + k, mask=i + k < last, other=N)
    values = values + (n,)
  return values


@triton.jit
def log_weight(x, y, table, n, R: tl.constexpr):
  """log2 of the weight of splat n at pixels (x, y)."""
  row = load_row(row_of(table, n, R), 6)
  dx = x - row[0]
  column = tl.fma(row[2] * dx, dx, row[5])
  return log2_weight(column, row[3] * dx, row[4], y - row[1])


@triton.jit
def log_weights(x, y0, y1, table, n, R: tl.constexpr, READ: tl.constexpr):
  """As `log_weight` at pixels (x, y0) and (x, y1), and the splat's row.

  Of the row, the first READ floats.
  """
  row = load_row(row_of(table, n, R), READ)
  # What hangs on x alone serves both.
  dx = x - row[0]
  column = tl.fma(row[2] * dx, dx, row[5])
  v0 = log2_weight(column, row[3] * dx, row[4], y0 - row[1])
  v1 = log2_weight(column, row[3] * dx, row[4], y1 - row[1])
  return v0, v1, row


@triton.jit
def _next8(
  x,
  y0,
  y1,
  table,
  ids,
  i,
  last,
  N: tl.constexpr,
  R: tl.constexpr,
  LIMIT: tl.constexpr,
  MOST: tl.constexpr,
  FULL: tl.constexpr,
):
  """The keys of 8 weights of the list from i on, falling."""
  n = listed(ids, i, last, 8, FULL, N)
  values = ()
  for k in tl.static_range(8):
    v0, v1, _ = log_weights(x, y0, y1, table, n[k], R, 6)
    values = values + (keys(v0, v1, LIMIT, MOST),)
  return sort8(values, MOST)


@triton.jit
def _largest_keys(
  x,
  y0,
  y1,
  table,
  ids,
  first,
  last,
  N: tl.constexpr,
  R: tl.constexpr,
  K: tl.constexpr,
  SIZE: tl.constexpr,
  LIMIT: tl.constexpr,
  MOST: tl.constexpr,
):
  """The keys of the K-th and the next largest logarithm of each pixel.

  The list has more than K entries.
  """
  # Of the last 8 only what is asked for is found: they need not be merged.
  final = first + (last - 1 - first) // 8 * 8
  top = _next8(x, y0, y1, table, ids, first, last, N, R, LIMIT, MOST, K >= 8)
  if K + 1 <= 8:
    top = top[: K + 1]
  else:
    top = top + filled(tl.zeros_like(top[0]), K - 7)
  for i in range(first + 8, final, 8):
    new = _next8(x, y0, y1, table, ids, i, last, N, R, LIMIT, MOST, True)
    top = keep_largest(top, new, K + 1, SIZE, MOST)
  kth, after = top[K - 1], top[K]
  if final > first:
    new = _next8(x, y0, y1, table, ids, final, last, N, R, LIMIT, MOST, False)
    kth = nth_largest(top, new, K, MOST)
    after = nth_largest(top, new, K + 1, MOST)
  return both_keys(kth), both_keys(after)


@triton.jit
def _below(v):
  """The next smaller float; of 0 a tiny one."""
  bits = v.to(tl.int32, bitcast=True)
  bits = tl.where(v > 0.0, bits - 1, bits + 1)
  below = bits.to(tl.float32, bitcast=True)
  return tl.where(v == 0.0, -1.1754944e-38, below)


@triton.jit
def _exactly(
  x,
  y,
  table,
  ids,
  first,
  last,
  upper,
  searching,
  TILE: tl.constexpr,
  N: tl.constexpr,
  R: tl.constexpr,
  K: tl.constexpr,
  LIMIT: tl.constexpr,
):
  """As `select`, for any K; where not `searching`, `upper` and false.

  Pixel by pixel with a splat per lane. Each pass over the list finds the next
  smaller logarithm, how often it occurs and how many are larger. Fewer than K
  are not smaller than `upper`, to begin with.
  """
  SIZE: tl.constexpr = TILE * TILE // 2
  tied = searching < 0
  pixel = tl.max(searching)
  while pixel > 0:
    here = searching == pixel
    at_x = tl.max(tl.where(here, x, 0.0))
    at_y = tl.max(tl.where(here, y, 0.0))
    value = tl.max(tl.where(here, upper, float("-inf")))
    rank, count = 0, 0
    while (rank + count < K) & (value > LIMIT):
      top = value
      value, rank, count = LIMIT, 0, 0
      for base in range(first, last, SIZE):
        slot = base + tl.arange(0, SIZE)
        n = tl.load(ids + slot, mask=slot < last, other=N)
        v = log_weight(at_x, at_y, table, n, R)
        rank += tl.sum((v >= top).to(tl.int32))
        v = tl.where(v < top, v, float("-inf"))
        most = tl.max(v)
        equal = tl.sum((v == most).to(tl.int32))
        count = tl.where(most > value, 0, count)
        count += tl.where(most >= value, equal, 0)
        value = tl.maximum(value, most)
    several = (rank + count > K) & (value > LIMIT)
    least = tl.where(several | (value <= LIMIT), value, _below(value))
    upper = tl.where(here, tl.maximum(least, LIMIT), upper)
    tied = tied | (here & several)
    searching = tl.where(here, 0, searching)
    pixel = tl.max(searching)
  return upper, tied


@triton.jit
def places(
  x,
  y,
  table,
  ids,
  first,
  last,
  threshold,
  equal,
  R: tl.constexpr,
  K: tl.constexpr,
):
  """The place in the list of the last blended weight equal to a threshold.

  -1 where there are not several to choose from, not `equal`.
  """
  quota = tl.where(equal, K, 0)
  for i in range(first, last):
    v = log_weight(x, y, table, tl.load(ids + i), R)
    quota -= (v > threshold).to(tl.int32)
  place = full(x, y, -1, tl.int32)
  for i in range(first, last):
    v = log_weight(x, y, table, tl.load(ids + i), R)
    taken = (v == threshold) & (quota > 0)
    quota -= taken.to(tl.int32)
    place = tl.where(taken, i - first, place)
  return place


@triton.jit
def select(
  x,
  y,
  table,
  ids,
  first,
  last,
  TILE: tl.constexpr,
  N: tl.constexpr,
  R: tl.constexpr,
  K: tl.constexpr,
  SORT_SIZE: tl.constexpr,
  LIMIT: tl.constexpr,
  MOST: tl.constexpr,
):
  """Threshold of each pixel, and whether some weights equal to it are blended.

  Where none is the threshold lies anywhere from the (K + 1)-th largest
  logarithm up to the K-th, which it is below; it is LIMIT at least.
  """
  # Pixels by number, from 1 on.
  number = y.to(tl.int32) % TILE * TILE + x.to(tl.int32) % TILE + 1
  if SORT_SIZE == 0:
    least = full(x, y, float("inf"), tl.float32)
    searching = number
  else:
    y0, y1 = tl.split(y)
    flat = tl.reshape(x, [1, x.shape[1]])
    kth, after = _largest_keys(
      flat, y0, y1, table, ids, first, last, N, R, K, SORT_SIZE, LIMIT, MOST
    )
    # Between the logarithms there is one that neither has the key of.
    least = tl.maximum(logarithm(kth - 1, LIMIT, MOST), LIMIT)
    close = (kth > 2) & (kth - after < 2)
    above = logarithm(kth + 1, LIMIT, MOST)
    above = tl.where(kth < MOST, above, float("inf"))
    least = tl.where(close, above, least)
    searching = tl.where(close, number, 0)
  return _exactly(
    x, y, table, ids, first, last, least, searching, TILE, N, R, K, LIMIT
  )
