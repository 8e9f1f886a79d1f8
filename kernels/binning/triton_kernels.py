"""Counting sort of tile-splat pairs in Triton kernels.

Find the pairs and count those of each tile, add the counts up, drop each id
into its tile's part of the list in any order, and sort each part.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.

import triton
import triton.language as tl
from jaxgs.kernels.binning.triton_boxes import reaches, tile_box


@triton.jit
def _tile_counts(
  mean,
  conic,
  log_weight,
  CUTOFF: tl.constexpr,
  N: tl.constexpr,
  H: tl.constexpr,
  W: tl.constexpr,
  TILE: tl.constexpr,
  S: tl.constexpr,
):
  """Tiles under the box of each of the program's S splats."""
  n = tl.program_id(0) * S + tl.arange(0, S)
  _, _, nx, ny = tile_box(mean, conic, log_weight, n, n < N, CUTOFF, H, W, TILE)
  return nx * ny


@triton.jit
def _pair(
  mean,
  conic,
  log_weight,
  ends,
  index,
  CUTOFF: tl.constexpr,
  N: tl.constexpr,
  COLS: tl.constexpr,
  H: tl.constexpr,
  W: tl.constexpr,
  TILE: tl.constexpr,
  S: tl.constexpr,
):
  """Pair `index` of the program's splats: splat, tile, whether they touch.

  Pairs of all S splats are numbered one after the other, so that every lane
  has work although a splat has between one and all tiles.

  Arrays and constants:
    mean, conic, log_weight: Of one image.
    ends: (S,) int32, running sums of the tiles under the boxes.
    index: (J,) int32.
  """
  passed = ends[None, :] <= index[:, None]
  which = tl.sum(passed.to(tl.int32), axis=1)
  begin = tl.max(tl.where(passed, ends[None, :], 0), axis=1)
  mask = which < S
  n = tl.minimum(tl.program_id(0) * S + which, N - 1)
  fx, fy, nx, _ = tile_box(mean, conic, log_weight, n, mask, CUTOFF, H, W, TILE)
  across = tl.maximum(nx, 1)
  tile_x = fx + (index - begin) % across
  tile_y = fy + (index - begin) // across
  mask = reaches(mean, conic, log_weight, n, mask, tile_x, tile_y, CUTOFF, TILE)
  return n, tile_y * COLS + tile_x, mask


@triton.jit
def count_kernel(
  mean,
  conic,
  log_weight,
  counters,
  pairs,
  N: tl.constexpr,
  P: tl.constexpr,
  M: tl.constexpr,
  COLS: tl.constexpr,
  H: tl.constexpr,
  W: tl.constexpr,
  TILE: tl.constexpr,
  CUTOFF: tl.constexpr,
  S: tl.constexpr,
  J: tl.constexpr,
  Z: tl.constexpr,
):
  """Finds the pairs and counts those of each tile.

  Arrays and constants:
    mean, conic, log_weight: (B, N, ...).
    counters: (B, M) int32, zero before: tiles under the boxes (int64), pairs,
      nothing, and pairs of each tile.
    pairs: (B, 3, P) int32, written in any order: the splat, the tile, and how
      many pairs of the tile were found before.
    M: An even number.
    S: Splats per program.
    J: Candidates looked at at once.
    Z: Programs that share S splats.
  """
  batch = tl.program_id(1).to(tl.int64)
  z = tl.program_id(2)
  mean += batch * (2 * N)
  conic += batch * (3 * N)
  log_weight += batch * N
  counters += batch * M
  pairs += batch * (3 * P)
  count = _tile_counts(mean, conic, log_weight, CUTOFF, N, H, W, TILE, S)
  ends = tl.cumsum(count, axis=0)
  end = tl.sum(count, axis=0)
  if z == 0:
    boxes = counters.to(tl.pointer_type(tl.int64))
    tl.atomic_add(boxes, end.to(tl.int64), sem="relaxed")
  room = 1
  for base in range(z * J, end, Z * J):
    index = base + tl.arange(0, J)
    n, tile, mask = _pair(
      mean, conic, log_weight, ends, index, CUTOFF, N, COLS, H, W, TILE, S
    )
    # Once it is full nothing is added, or the sum could overflow.
    one = (mask & (room > 0)).to(tl.int32)
    first = tl.atomic_add(counters + 2, tl.sum(one, axis=0), sem="relaxed")
    slot = first + tl.cumsum(one, axis=0) - 1
    # What finds no room must not be counted: its place would hold anything.
    mask = (one > 0) & (slot < P)
    room = (first < P).to(tl.int32)
    before = tl.atomic_add(
      counters + 4 + tile, mask.to(tl.int32), mask=mask, sem="relaxed"
    )
    tl.store(pairs + slot, n, mask=mask)
    tl.store(pairs + P + slot, tile, mask=mask)
    tl.store(pairs + 2 * P + slot, before, mask=mask)


@triton.jit
def starts_kernel(
  counters,
  starts,
  dropped,
  T: tl.constexpr,
  P: tl.constexpr,
  M: tl.constexpr,
  BLOCK: tl.constexpr,
  WIDE: tl.constexpr,
):
  """Where each tile's part of the list begins.

  Each program adds up what comes before its tiles: that takes one launch, and
  there are never many programs.

  Arrays and constants:
    counters: From `count_kernel`.
    starts: (B, T + 1), written.
    dropped: (B,) int32, written: pairs that may have found no room.
    BLOCK: Tiles per program.
    WIDE: Tiles whose counts are added at once.
  """
  batch = tl.program_id(1).to(tl.int64)
  counters += batch * M
  counts = counters + 4
  starts += batch * (T + 1)
  begin = tl.program_id(0) * BLOCK
  tile = begin + tl.arange(0, BLOCK)
  before = tl.zeros([WIDE], tl.int64)
  for base in range(0, begin, WIDE):
    earlier = base + tl.arange(0, WIDE)
    before += tl.load(counts + earlier, mask=earlier < begin, other=0)
  count = tl.load(counts + tile, mask=tile < T, other=0).to(tl.int64)
  ends = tl.sum(before, axis=0) + tl.cumsum(count, axis=0)
  ends = tl.minimum(ends, P).to(tl.int32)
  tl.store(starts + 1 + tile, ends, mask=tile < T)
  if tl.program_id(0) == 0:
    tl.store(starts, 0)
    boxes = tl.load(counters.to(tl.pointer_type(tl.int64)))
    lost = tl.minimum(tl.maximum(boxes - P, 0), 2147483520)
    tl.store(dropped + batch, lost.to(tl.int32))


@triton.jit
def fill_kernel(
  pairs,
  starts,
  unordered,
  T: tl.constexpr,
  P: tl.constexpr,
  BLOCK: tl.constexpr,
):
  """Puts each pair into its tile's part of the list, in any order.

  Arrays and constants:
    pairs: From `count_kernel`.
    starts: From `starts_kernel`.
    unordered: (B, P, 2) int32, written: splat and tile, to be read as one
      number.
    BLOCK: Pairs at once.
  """
  batch = tl.program_id(1).to(tl.int64)
  count = tl.load(starts + batch * (T + 1) + T)
  pairs += batch * (3 * P)
  out = unordered.to(tl.pointer_type(tl.int64)) + batch * P
  # There is room for several times the pairs.
  for base in range(
    tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK
  ):
    i = base + tl.arange(0, BLOCK)
    mask = i < count
    n = tl.load(pairs + i, mask=mask, other=0)
    tile = tl.load(pairs + P + i, mask=mask, other=0)
    slot = tl.load(pairs + 2 * P + i, mask=mask, other=0)
    slot += tl.load(starts + batch * (T + 1) + tile, mask=mask, other=0)
    both = (tile.to(tl.int64) << 32) | n.to(tl.int64)
    tl.store(out + slot, both, mask=mask & (slot < P))


@triton.jit
def order_kernel(
  starts,
  unordered,
  ids,
  T: tl.constexpr,
  P: tl.constexpr,
  BLOCK: tl.constexpr,
  UNROLL: tl.constexpr,
):
  """Sorts the ids of each tile: each goes behind all that are smaller.

  Quadratic in the length of a list, but lists are short: some tens.

  Arrays and constants:
    starts: (B, T + 1).
    unordered: (B, P, 2), from `fill_kernel`.
    ids: (B, P), written.
    BLOCK: Pairs at once.
    UNROLL: Others that they are compared with at once.
  """
  batch = tl.program_id(1).to(tl.int64)
  starts += batch * (T + 1)
  unordered += batch * (2 * P)
  count = tl.load(starts + T)
  for base in range(
    tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK
  ):
    slot = base + tl.arange(0, BLOCK)
    mask = slot < count
    mine = tl.load(unordered + 2 * slot, mask=mask, other=0)
    tile = tl.load(unordered + 2 * slot + 1, mask=mask, other=0)
    first = tl.load(starts + tile, mask=mask, other=0)
    length = tl.load(starts + tile + 1, mask=mask, other=0) - first
    rank = tl.zeros([BLOCK], tl.int32)
    for k in range(0, tl.max(length, axis=0), UNROLL):
      for u in tl.static_range(UNROLL):
        other = tl.load(
          unordered + 2 * (first + k + u),
          mask=k + u < length,
          other=2147483647,
        )
        rank += (other < mine).to(tl.int32)
    tl.store(ids + batch * P + first + rank, mine, mask=mask)
