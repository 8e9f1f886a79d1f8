"""The forward kernel: one program per tile or part of one, pixels in lanes.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005

import triton
import triton.language as tl
from jaxgs.kernels.rasterize.triton_kernels import (
  exp2,
  filled,
  length_count,
  load_row,
  log2_weight,
)
from jaxgs.kernels.rasterize.triton_sort import (
  keep_largest,
  nth_largest,
  sort8,
)


@triton.jit
def _full(x, y, value, dtype: tl.constexpr):
  """A value per pixel."""
  return tl.full((x + y).shape, value, dtype)


@triton.jit
def _listed(ids, i, last, spare, COUNT: tl.constexpr, FULL: tl.constexpr):
  """COUNT entries of the list from i on.

  Unless FULL some may be behind its end. There stands `spare`, an entry of the
  list: weight 0 of a splat that is not in it could be 0 times NaN.
  """
  values = ()
  for k in tl.static_range(COUNT):
    if FULL:
      n = tl.load(ids + i + k)
    else:
      n = tl.load(ids + i + k, mask=i + k < last, other=spare)
    values = values + (n,)
  return values


@triton.jit
def _log_weight(x, y, table, n, inside, R: tl.constexpr, READ: tl.constexpr):
  """log2 of the weight of splat n at pixels (x, y), and the splat's row.

  -inf where not `inside`. Of the row, the first READ floats.
  """
  row = load_row(table + n.to(tl.int64) * R, READ)
  lw = tl.where(inside, row[5], float("-inf"))
  # x is a row and y a column: what hangs on x alone serves all of its pixels.
  dx = x - row[0]
  a_dx2 = tl.fma(row[2] * dx, dx, lw)
  return log2_weight(a_dx2, row[3] * dx, row[4], y - row[1], lw), row


@triton.jit
def _next8(
  x, y, table, ids, i, last, spare, R: tl.constexpr, FULL: tl.constexpr
):
  """The logarithms of 8 weights of the list from i on, falling."""
  n = _listed(ids, i, last, spare, 8, FULL)
  values = ()
  for k in tl.static_range(8):
    inside = True if FULL else i + k < last
    v, _ = _log_weight(x, y, table, n[k], inside, R, 6)
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
  spare,
  R: tl.constexpr,
  K: tl.constexpr,
  SIZE: tl.constexpr,
):
  """The K-th and the next largest logarithm of each pixel.

  The list has more than K entries.
  """
  # Of the last 8 only what is asked for is found: they need not be merged.
  final = first + (last - 1 - first) // 8 * 8
  top = _next8(x, y, table, ids, first, last, spare, R, K >= 8)
  if K + 1 <= 8:
    top = top[: K + 1]
  else:
    none = _full(x, y, float("-inf"), tl.float32)
    top = top + filled(none, K - 7)
  for i in range(first + 8, final, 8):
    new = _next8(x, y, table, ids, i, last, spare, R, True)
    top = keep_largest(top, new, K + 1, SIZE)
  kth, least = top[K - 1], top[K]
  if final > first:
    new = _next8(x, y, table, ids, final, last, spare, R, False)
    kth, least = nth_largest(top, new, K), nth_largest(top, new, K + 1)
  return kth, least


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
  """The K-th largest logarithm, for any K.

  Each pass over the list finds the next smaller value and how often it
  occurs.
  """
  kth = _full(x, y, float("inf"), tl.float32)
  above = _full(x, y, 0, tl.int32)  # How many are larger than `kth`.
  equal = _full(x, y, 0, tl.int32)
  searching = _full(x, y, 1, tl.int32)
  while tl.max(searching) > 0:
    value = _full(x, y, LIMIT, tl.float32)
    count = _full(x, y, 0, tl.int32)
    for i in range(first, last):
      v, _ = _log_weight(x, y, table, tl.load(ids + i), True, R, 6)
      v = tl.where(v < kth, v, LIMIT)
      count = tl.where(v > value, 1, count + (v == value).to(tl.int32))
      value = tl.maximum(value, v)
    more = searching > 0
    above += tl.where(more, equal, 0)
    kth = tl.where(more, value, kth)
    equal = tl.where(more, count, equal)
    done = (kth <= LIMIT) | (above + equal >= K)
    searching = tl.where(done, 0, searching)
  return kth


@triton.jit
def _places(
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
    v, _ = _log_weight(x, y, table, tl.load(ids + i), True, R, 6)
    quota -= (v > threshold).to(tl.int32)
  place = _full(x, y, -1, tl.int32)
  for i in range(first, last):
    v, _ = _log_weight(x, y, table, tl.load(ids + i), True, R, 6)
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
  spare,
  R: tl.constexpr,
  K: tl.constexpr,
  SORT_SIZE: tl.constexpr,
  LIMIT: tl.constexpr,
):
  """Threshold of each pixel, and whether weights equal to it are blended.

  Where they are not the threshold is the next smaller weight.
  """
  if SORT_SIZE > 0:
    kth, least = _largest(x, y, table, ids, first, last, spare, R, K, SORT_SIZE)
    least = tl.maximum(least, LIMIT)
    equal = (least > LIMIT) & (kth == least)
  else:
    least = _kth_by_passes(x, y, table, ids, first, last, R, K, LIMIT)
    equal = least > LIMIT
  return least, equal


@triton.jit
def _blend(
  x,
  y,
  table,
  ids,
  first,
  last,
  spare,
  least,
  place,
  R: tl.constexpr,
  C: tl.constexpr,
  EDGE: tl.constexpr,
  TIED: tl.constexpr,
):
  """Sum of the blended weights, and of the weighted features."""
  total = _full(x, y, 0.0, tl.float32)
  sums = filled(total, C)
  for i in range(first, last, 4):
    n = _listed(ids, i, last, spare, 4, False)
    for u in tl.static_range(4):
      v, row = _log_weight(x, y, table, n[u], i + u < last, R, 6 + C)
      kept = v > least
      if TIED:
        kept = kept | ((v == least) & (i + u - first <= place))
      w = tl.where(kept, exp2(v) - EDGE, 0.0)
      total += w
      new = (sums[0] + w * row[6],)
      for k in tl.static_range(1, C):
        new = new + (sums[k] + w * row[6 + k],)
      sums = new
  return total, sums


@triton.jit
def _draw(
  tile,
  part,
  batch,
  table,
  ids,
  starts,
  image,
  threshold,
  place,
  ties,
  inverse,
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
  PARTS: tl.constexpr,
  WHOLE: tl.constexpr,
):
  """Draws a part of a tile, or all of it if WHOLE; see `forward_kernel`."""
  rows: tl.constexpr = TILE if WHOLE else TILE // PARTS
  across = tl.arange(0, TILE)[None, :]
  down = part * rows + tl.arange(0, rows)[:, None]
  column = tile % COLS * TILE + across
  row = tile // COLS * TILE + down
  x = column.to(tl.float32) + 0.5
  y = row.to(tl.float32) + 0.5
  first = tl.load(starts + tile)
  last = tl.load(starts + tile + 1)
  spare = tl.load(ids + tl.maximum(last - 1, 0))
  pixel = (batch * T + tile) * (TILE * TILE) + down * TILE + across

  least = _full(x, y, LIMIT, tl.float32)
  last_place = _full(x, y, -1, tl.int32)
  tied = 0
  if K > 0:
    if last - first > K:
      least, equal = _select(
        x, y, table, ids, first, last, spare, R, K, SORT_SIZE, LIMIT
      )
      tied = tl.max(equal.to(tl.int32))
      if tied > 0:
        last_place = _places(x, y, table, ids, first, last, least, equal, R, K)
        tl.store(place + pixel, last_place)
      elif not WHOLE:
        # Other parts of the tile may have equal weights.
        tl.store(place + pixel, last_place)
    tl.store(threshold + pixel, least)
    part_ties = ties + (batch * T + tile) * PARTS
    if WHOLE:
      for i in tl.static_range(PARTS):
        tl.store(part_ties + i, tied)
    else:
      tl.store(part_ties + part, tied)
  # Two loops: what equal weights take would cost all other tiles a third.
  if tied > 0:
    total, sums = _blend(
      x, y, table, ids, first, last, spare, least, last_place, R, C, EDGE, True
    )
  else:
    total, sums = _blend(
      x, y, table, ids, first, last, spare, least, last_place, R, C, EDGE, False
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


@triton.jit
def forward_kernel(
  table,
  ids,
  starts,
  cursor,
  order,
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
  PARTS: tl.constexpr,
  LONG: tl.constexpr,
):
  """Draws a tile, or its share of the parts of tiles with long lists.

  What is blended at a pixel is what is larger than its threshold, and of what
  is equal to it the weights up to its place in the list. Unless weights are
  equal the threshold is the (K + 1)-th largest weight and the place is not
  needed: `ties` says per tile whether it is written. Weights are compared as
  logarithms, so that the search needs no exponential function.

  The first programs take the tiles with long lists, in parts.

  Arrays and constants:
    table: (B, N, R), rows of splats.
    ids: (B, P).
    starts: (B, T + 1).
    cursor, order: From `table_kernel`.
    image: (B, H, W, C), written.
    threshold: (B, T, Q), written if K, for Q = TILE^2 pixels; so are
    place: (B, T, Q) int32 where ties,
    ties: (B, T, PARTS) int32, by part of a tile, in rows; and if NORM
    inverse: (B, T, Q), 1 / (sum of the blended weights + EPSILON).
    K: Weights blended per pixel; 0: all.
    SORT_SIZE: Keep K + 1 weights sorted, and this is K + 1 rounded up to a
      power of two; or 0: search in many passes.
    NORM: Divide by the sum of weights.
    LIMIT: log2 of the weight at the edge of a splat.
    EDGE: Subtracted from each weight.
    PARTS: That a tile with a long list is drawn in.
    LONG: Programs for each part of such tiles.
  """
  batch = tl.program_id(1).to(tl.int64)
  table += batch * (N * R)
  ids += batch * P
  starts += batch * (T + 1)
  counts = tl.load((cursor + 4 * batch + 2).to(tl.pointer_type(tl.int64)))
  if tl.program_id(0) < PARTS * LONG:
    count = length_count(counts, 2, T)
    for k in range(tl.program_id(0) // PARTS, count, LONG):
      _draw(
        tl.load(order + (2 * batch + 1) * T + k),
        tl.program_id(0) % PARTS,
        batch,
        table,
        ids,
        starts,
        image,
        threshold,
        place,
        ties,
        inverse,
        T,
        COLS,
        H,
        W,
        C,
        R,
        TILE,
        K,
        SORT_SIZE,
        NORM,
        LIMIT,
        EDGE,
        EPSILON,
        PARTS,
        False,
      )
  else:
    k = tl.program_id(0) - PARTS * LONG
    middle = length_count(counts, 1, T)
    if k < middle + length_count(counts, 0, T):
      at = tl.where(k < middle, k, T - 1 - (k - middle))
      _draw(
        tl.load(order + 2 * batch * T + at),
        0,
        batch,
        table,
        ids,
        starts,
        image,
        threshold,
        place,
        ties,
        inverse,
        T,
        COLS,
        H,
        W,
        C,
        R,
        TILE,
        K,
        SORT_SIZE,
        NORM,
        LIMIT,
        EDGE,
        EPSILON,
        PARTS,
        True,
      )
