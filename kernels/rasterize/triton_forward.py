"""The forward kernel: one program per tile, pixels in lanes.

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
)
from jaxgs.kernels.rasterize.triton_search import (
  full,
  listed,
  log_weights,
  places,
  select,
)


@triton.jit
def _either(a, b):
  return a | b


@triton.jit
def _nonzero(w0, w1, bit: tl.constexpr):
  """The bit where one of two weights is not 0."""
  either = w0.to(tl.int32, bitcast=True) | w1.to(tl.int32, bitcast=True)
  return tl.where(either != 0, bit, 0)


@triton.jit
def _weight(v, least, at, place, EDGE: tl.constexpr, TIED: tl.constexpr):
  """The weight of entry `at` of the list if it is blended, else 0."""
  kept = v > least
  if TIED:
    kept = kept | ((v == least) & (at <= place))
  return tl.where(kept, exp2(v) - EDGE, 0.0)


@triton.jit
def _keep(drawn, ids, base, last, used):
  """Copies those of up to 32 entries of the list that have a bit in any lane.

  Returns how many.
  """
  lane = tl.arange(0, 32)
  found = tl.reduce(tl.reshape(used, [32]), 0, _either)
  mine = (found >> lane) & 1
  n = tl.load(ids + base + lane, mask=base + lane < last, other=0)
  tl.store(drawn + tl.cumsum(mine, axis=0) - 1, n, mask=mine > 0)
  return tl.sum(mine)


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
  drawn,
  N: tl.constexpr,
  R: tl.constexpr,
  C: tl.constexpr,
  EDGE: tl.constexpr,
  TIED: tl.constexpr,
  FIND: tl.constexpr,
):
  """Sums of the blended weights and of the weighted features; how many splats.

  Arrays and constants:
    place: Looked at only if TIED.
    drawn: If FIND it writes from here on the ids of what is blended at some
      pixel, and returns how many, else 0. Pixels are those of one warp.
  """
  # Halves of the pixels are apart, or there would be shuffles in the loop.
  x, y0, y1 = tl.reshape(x, [1, x.shape[1]]), tl.split(y)[0], tl.split(y)[1]
  least0, least1 = tl.split(least)
  place0, place1 = tl.split(place)
  sums0 = filled(tl.zeros_like(least0), C + 1)
  sums1 = sums0
  count = 0
  for base in range(first, last, 32):
    used = tl.zeros_like(place0)
    for i in range(base, tl.minimum(base + 32, last), 4):
      n = listed(ids, i, last, 4, False, N)
      bits = tl.zeros_like(used)
      for u in tl.static_range(4):
        v0, v1, row = log_weights(x, y0, y1, table, n[u], R, 6 + C)
        w0 = _weight(v0, least0, i + u - first, place0, EDGE, TIED)
        w1 = _weight(v1, least1, i + u - first, place1, EDGE, TIED)
        new0, new1 = (sums0[0] + w0,), (sums1[0] + w1,)
        for k in tl.static_range(C):
          new0 = new0 + (sums0[1 + k] + w0 * row[6 + k],)
          new1 = new1 + (sums1[1 + k] + w1 * row[6 + k],)
        sums0, sums1 = new0, new1
        if FIND:
          bits |= _nonzero(w0, w1, 1 << u)
      used |= bits << (i - base)
    if FIND:
      count += _keep(drawn + count, ids, base, last, used)
  sums = ()
  for k in tl.static_range(C + 1):
    sums = sums + (tl.join(sums0[k], sums1[k]),)
  return sums, count


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
  drawn,
  num_drawn,
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
  MOST: tl.constexpr,
  KEEP: tl.constexpr,
  FIND: tl.constexpr,
):
  """Draws a tile.

  What is blended at a pixel is what is larger than its threshold, and of what
  is equal to it the weights up to its place in the list. Unless weights are
  equal the threshold lies between the K-th and the (K + 1)-th largest weight
  and the place is not needed: `ties` says per tile whether it is written.

  The first programs take the tiles with the longest lists.

  Arrays and constants:
    table: (B, N + 1, R), rows of splats.
    ids: (B, P).
    starts: (B, T + 1).
    cursor, order: From `table_kernel`.
    image: (B, H, W, C), written. The others are if KEEP:
    threshold: (B, T, Q), if K, for Q = TILE^2 pixels; so are
    place: (B, T, Q) int32 where ties,
    ties: (B, T) int32; and if NORM
    inverse: (B, T, Q), 1 / (sum of the blended weights + EPSILON).
    drawn: (B, P), if FIND: of each part of the list, from where it
      begins, the ids that are blended at some pixel, in their order;
    num_drawn: (B, T) int32, how many; where ties, all.
    K: Weights blended per pixel; 0: all.
    SORT_SIZE: Keep K + 1 keys sorted, and this is K + 1 rounded up to a power
      of two; or 0: search in many passes.
    NORM: Divide by the sum of weights.
    LIMIT: log2 of the weight at the edge of a splat.
    EDGE: Subtracted from each weight.
    MOST: The largest key, see `triton_keys`.
    KEEP: A backward pass will follow.
    FIND: For that pass, which needs no others. A program is a warp.
  """
  batch = tl.program_id(1).to(tl.int64)
  table += batch * ((N + 1) * R)
  ids += batch * P
  starts += batch * (T + 1)
  counts = tl.load((cursor + 4 * batch + 2).to(tl.pointer_type(tl.int64)))
  k = tl.program_id(0) - length_count(counts, 2, T)
  middle = length_count(counts, 1, T)
  at = tl.where(k < middle, k, T - 1 - (k - middle))
  at = tl.where(k < 0, T + tl.program_id(0), at)
  tile = tl.load(order + 2 * batch * T + at)
  # Two pixels per lane, half a tile apart.
  down = tl.arange(0, TILE // 2)[:, None]
  down = tl.join(down, down + TILE // 2)
  across = tl.arange(0, TILE)[None, :, None]
  column = tile % COLS * TILE + across
  row = tile // COLS * TILE + down
  x = column.to(tl.float32) + 0.5
  y = row.to(tl.float32) + 0.5
  first = tl.load(starts + tile)
  last = tl.load(starts + tile + 1)
  pixel = (batch * T + tile) * (TILE * TILE) + down * TILE + across

  least = full(x, y, LIMIT, tl.float32)
  last_place = full(x, y, -1, tl.int32)
  tied = 0
  if K > 0:
    if last - first > K:
      least, equal = select(
        x, y, table, ids, first, last, TILE, N, R, K, SORT_SIZE, LIMIT, MOST
      )
      tied = tl.max(equal.to(tl.int32))
      if tied > 0:
        last_place = places(x, y, table, ids, first, last, least, equal, R, K)
        if KEEP:
          tl.store(place + pixel, last_place)
    if KEEP:
      tl.store(threshold + pixel, least)
      tl.store(ties + batch * T + tile, tied)
  drawn += batch * P + first
  # Two loops: what equal weights take would cost all other tiles a third.
  if tied > 0:
    sums, count = _blend(
      x,
      y,
      table,
      ids,
      first,
      last,
      least,
      last_place,
      drawn,
      N,
      R,
      C,
      EDGE,
      True,
      False,
    )
    count = last - first
    if FIND:
      # Places are those of the whole list.
      for base in range(0, count, 32):
        slot = base + tl.arange(0, 32)
        n = tl.load(ids + first + slot, mask=slot < count)
        tl.store(drawn + slot, n, mask=slot < count)
  else:
    sums, count = _blend(
      x,
      y,
      table,
      ids,
      first,
      last,
      least,
      last_place,
      drawn,
      N,
      R,
      C,
      EDGE,
      False,
      FIND,
    )
  if FIND:
    tl.store(num_drawn + batch * T + tile, count)

  inside = (column < W) & (row < H)
  out = image + ((batch * H + row) * W + column) * C
  if NORM:
    scale = 1.0 / (sums[0] + EPSILON)
    if KEEP:
      tl.store(inverse + pixel, scale)
    for k in tl.static_range(C):
      tl.store(out + k, sums[1 + k] * scale, mask=inside)
  else:
    for k in tl.static_range(C):
      tl.store(out + k, sums[1 + k], mask=inside)
