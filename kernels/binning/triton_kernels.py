"""Counting sort of tile-splat pairs in Triton kernels.

Find the pairs and count those of each tile, add the counts up, drop each id
into its tile's part of the list in any order, and sort each part.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005

import triton
import triton.language as tl
from jaxgs.kernels.binning.triton_boxes import load_splat, reaches, tile_box


@triton.jit
def _owner(ends, index):
  """Which of 32 splats a candidate belongs to; the last one if to none.

  Bisection: how many of the sums are not above the index, at most 31.

  Arrays and constants:
    ends: (32,) int32, running sums of the tiles under the boxes.
    index: (J,) int32.
  """
  which = tl.zeros_like(index)
  for k in tl.static_range(5):
    further = which + (16 >> k)
    passed = tl.gather(ends, further - 1, axis=0) <= index
    which = tl.where(passed, further, which)
  return which


@triton.jit
def _candidate(
  splat,
  fx,
  fy,
  nx,
  ends,
  begins,
  index,
  CUTOFF: tl.constexpr,
  COLS: tl.constexpr,
  ROWS: tl.constexpr,
  TILE: tl.constexpr,
):
  """Candidate `index` of 32 splats: which one, tile, whether they touch.

  Candidates are the tiles under the boxes, those of all splats numbered one
  after the other, so that every lane has work although a splat has between one
  and all tiles. All that is known of the splats is in registers, a splat per
  lane, and comes from there by shuffles.

  Arrays and constants:
    splat: 6 arrays (32,), from `load_splat`.
    fx, fy, nx: (32,) int32, from `tile_box`.
    ends, begins: (32,) int32, running sums of the tiles under the boxes, with a
      splat's own and without.
    index: (J,) int32.
  """
  which = _owner(ends, index)
  owner = ()
  for k in tl.static_range(6):
    owner = owner + (tl.gather(splat[k], which, axis=0),)
  offset = index - tl.gather(begins, which, axis=0)
  across = tl.gather(nx, which, axis=0)
  if COLS * ROWS <= 1048576:
    # An integer division takes many instructions. This one is exact: from the
    # next integer it is at least 0.5 / nx away, and it is rounded by less than
    # 2^20 * 2^-21.6 / nx.
    inverse = tl.gather(1.0 / nx.to(tl.float32), which, axis=0)
    down = ((offset.to(tl.float32) + 0.5) * inverse).to(tl.int32)
  else:
    down = offset // tl.maximum(across, 1)
  tile_x = tl.gather(fx, which, axis=0) + (offset - down * across)
  tile_y = tl.gather(fy, which, axis=0) + down
  touch = reaches(owner, tile_x, tile_y, CUTOFF, TILE)
  return which, tile_y * COLS + tile_x, touch


@triton.jit
def count_kernel(
  mean,
  conic,
  log_weight,
  counters,
  found,
  before,
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

  Each tile under a splat's box gets a slot, so that one atomic addition gives a
  program all of its slots before it looks at any of them.

  For one warp: then lane l has splat l, and `tl.gather` is a shuffle.

  Arrays and constants:
    mean, conic, log_weight: (B, N, ...).
    counters: (B, M) int32, zero before: tiles under the boxes (int64), nothing
      twice, and pairs of each tile, which so are read by fours.
    found: (B, P, 2) int32, written: splat and tile, to be read as one number;
      anything in slots of no pair.
    before: (B, P) int32, written: how many pairs of the tile were found before;
      -1 in slots of no pair.
    M: An even number.
    S: Splats per program, 32.
    J: Candidates looked at at once, a multiple of 32.
    Z: Programs that share S splats.
  """
  batch = tl.program_id(1).to(tl.int64)
  mean += batch * (2 * N)
  conic += batch * (3 * N)
  log_weight += batch * N
  counters += batch * M
  found = found.to(tl.pointer_type(tl.int64)) + batch * P
  before += batch * P
  lane = tl.arange(0, S)
  n = tl.program_id(0) * S + lane
  splat = load_splat(mean, conic, log_weight, n, n < N)
  fx, fy, nx, ny = tile_box(splat, CUTOFF, H, W, TILE)
  tiles = nx * ny
  ends = tl.cumsum(tiles, axis=0)
  end = tl.sum(tiles, axis=0)
  # Whole blocks, so that only the last one has idle lanes.
  share = tl.cdiv(end, J * Z) * J
  begin = tl.program_id(2) * share
  count = tl.minimum(tl.maximum(end - begin, 0), share)
  # By one lane, then summed: a scalar would go through shared memory.
  boxes = counters.to(tl.pointer_type(tl.int64)) + tl.zeros_like(lane)
  mask = (lane == 0) & (count > 0)
  first = tl.atomic_add(boxes, count.to(tl.int64), mask=mask, sem="relaxed")
  first = tl.minimum(first, P).to(tl.int32)
  first = tl.sum(tl.where(mask, first, 0), axis=0)
  # What finds no room must not be counted: its place would hold anything.
  count = tl.minimum(count, P - first)
  found += first
  before += first
  block = tl.arange(0, J)
  touch, earlier = block < 0, tl.zeros_like(block)
  for k in range(0, count, J):
    which, tile, reached = _candidate(
      splat,
      fx,
      fy,
      nx,
      ends,
      ends - tiles,
      begin + k + block,
      CUTOFF,
      COLS,
      (H + TILE - 1) // TILE,
      TILE,
    )
    # Not before now does anything wait for the additions of the last round. As
    # a mask the condition would let ptxas wait where the round begins.
    if k > 0:
      tl.store(before + (k - J) + block, tl.where(touch, earlier, -1))
    touch = reached & (k + block < count)
    earlier = tl.atomic_add(
      counters + 4 + tile, touch.to(tl.int32), mask=touch, sem="relaxed"
    )
    owner = tl.program_id(0) * S + which
    both = (tile.to(tl.int64) << 32) | owner.to(tl.int64)
    tl.store(found + k + block, both, mask=touch)
  slot = tl.maximum(count - 1, 0) // J * J + block
  tl.store(before + slot, tl.where(touch, earlier, -1), mask=slot < count)


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
  # At most P pairs were counted.
  before = tl.zeros([WIDE], tl.int32)
  for base in range(0, begin, WIDE):
    earlier = base + tl.arange(0, WIDE)
    before += tl.load(counts + earlier, mask=earlier < begin, other=0)
  count = tl.load(counts + tile, mask=tile < T, other=0)
  ends = tl.sum(before, axis=0) + tl.cumsum(count, axis=0)
  tl.store(starts + 1 + tile, ends, mask=tile < T)
  if tl.program_id(0) == 0:
    tl.store(starts, 0)
    boxes = tl.load(counters.to(tl.pointer_type(tl.int64)))
    lost = tl.minimum(tl.maximum(boxes - P, 0), 2147483520)
    tl.store(dropped + batch, lost.to(tl.int32))


@triton.jit
def fill_kernel(
  counters,
  found,
  before,
  starts,
  unordered,
  T: tl.constexpr,
  P: tl.constexpr,
  M: tl.constexpr,
  BLOCK: tl.constexpr,
  UNROLL: tl.constexpr,
):
  """Puts each pair into its tile's part of the list, in any order.

  Arrays and constants:
    counters, found, before: From `count_kernel`.
    starts: From `starts_kernel`.
    unordered: (B, P, 2) int32, written: splat and tile, to be read as one
      number.
    BLOCK: Slots at once, one per lane: with more the compiler would load some
      of them in pairs and move them between lanes.
    UNROLL: Blocks at once, so that their loads wait together.
  """
  batch = tl.program_id(1).to(tl.int64)
  boxes = tl.load((counters + batch * M).to(tl.pointer_type(tl.int64)))
  count = tl.minimum(boxes, P).to(tl.int32)
  found = found.to(tl.pointer_type(tl.int64)) + batch * P
  before += batch * P
  starts += batch * (T + 1)
  out = unordered.to(tl.pointer_type(tl.int64)) + batch * P
  # There is room for several times the pairs.
  for base in range(
    tl.program_id(0) * (BLOCK * UNROLL),
    count,
    tl.num_programs(0) * (BLOCK * UNROLL),
  ):
    earlier, both, first = (), (), ()
    for u in tl.static_range(UNROLL):
      slot = base + u * BLOCK + tl.arange(0, BLOCK)
      mask = slot < count
      earlier = earlier + (tl.load(before + slot, mask=mask, other=-1),)
      both = both + (tl.load(found + slot, mask=mask, other=0),)
    for u in tl.static_range(UNROLL):
      tile = (both[u] >> 32).to(tl.int32)
      first = first + (tl.load(starts + tile, mask=earlier[u] >= 0, other=0),)
    for u in tl.static_range(UNROLL):
      mask = earlier[u] >= 0
      tl.store(out + first[u] + earlier[u], both[u], mask=mask)


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
