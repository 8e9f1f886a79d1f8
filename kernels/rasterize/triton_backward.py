"""The backward kernel: gradients of the splats of a tile, by tensor cores.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005

import triton
import triton.language as tl
from jaxgs.kernels.rasterize.triton_block import add_block, load_block
from jaxgs.kernels.rasterize.triton_kernels import (
  as_int,
  filled,
  length_class,
  length_count,
  load4,
  load_row,
)
from jaxgs.kernels.triton_warp import split


@triton.jit
def _tile(
  tile,
  first,
  last,
  tied,
  batch,
  table,
  ids,
  image,
  threshold,
  place,
  inverse,
  cotangent,
  boxes,
  written,
  pairs,
  P: tl.constexpr,
  T: tl.constexpr,
  COLS: tl.constexpr,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  R: tl.constexpr,
  TILE: tl.constexpr,
  K: tl.constexpr,
  NORM: tl.constexpr,
  LIMIT: tl.constexpr,
  EDGE: tl.constexpr,
):
  """The splats of a tile's list, 16 at a time; lanes as in `triton_block`."""
  GROUPS: tl.constexpr = C // 4 + 1
  BLOCKS: tl.constexpr = (C + 3) // 4
  lane = tl.arange(0, 32)
  g, t = lane // 4, lane % 4
  tile_x, tile_y = tile % COLS, tile // COLS
  zero = tl.zeros([32], tl.float32)
  if TILE == 8:
    scaled, least, until = load_block(
      cotangent,
      image,
      inverse,
      threshold,
      place,
      tied,
      tile,
      0,
      batch,
      T,
      COLS,
      H,
      W,
      C,
      TILE,
      K,
      NORM,
      LIMIT,
    )
  for base in range(first, last, 16):
    slot = base + lane
    inside = (lane < 16) & (slot < last)
    n = tl.load(ids + tl.minimum(slot, last - 1)).to(tl.int64)
    box = load4(boxes + 4 * n)
    row, corner = as_int(box[0]), as_int(box[1])
    nx, ny = as_int(box[2]), as_int(box[3])
    left, up = tile_x - corner % COLS, tile_y - corner // COLS
    out = row + up * nx + left
    mask = inside & (left >= 0) & (left < nx) & (up >= 0) & (up < ny)
    # Out of room only if the list was as well.
    mask = mask & (out >= 0) & (out < P)
    tl.store(written + out, tl.full([32], 1, tl.int8), mask=mask)
    out = tl.where(mask, out, -1)

    rows, high, low = (), (), ()
    for u in tl.static_range(2):
      slot = base + 8 * u + g
      n = tl.load(ids + tl.minimum(slot, last - 1)).to(tl.int64)
      row = load_row(table + n * R, 6)
      lw = tl.where(slot < last, row[5], float("-inf"))
      rows = rows + ((row[0], row[1], row[2], row[3], row[4], lw),)
      for k in tl.static_range(GROUPS):
        c = 4 * k + t
        f = tl.load(table + n * R + 6 + c, mask=c < C, other=0.0)
        f_high, f_low = split(tl.where(c == C, 1.0, -f))
        high, low = high + (f_high,), low + (f_low,)
    moments, features = filled(zero, 4), filled(zero, 4 * BLOCKS)
    for block in range((TILE // 8) * (TILE // 8)):
      if TILE > 8:
        scaled, least, until = load_block(
          cotangent,
          image,
          inverse,
          threshold,
          place,
          tied,
          tile,
          block,
          batch,
          T,
          COLS,
          H,
          W,
          C,
          TILE,
          K,
          NORM,
          LIMIT,
        )
      moments, features, scaled = add_block(
        moments,
        features,
        rows,
        base - first + g,
        high,
        low,
        scaled,
        least,
        until,
        tied,
        tile,
        block,
        COLS,
        C,
        TILE,
        EDGE,
      )
    for u in tl.static_range(2):
      at = tl.gather(out, 8 * u + g, axis=0)
      mask = at >= 0
      at = pairs + at.to(tl.int64) * (6 + C)
      tl.store(at + 2 * t, moments[2 * u], mask=mask & (t < 3))
      tl.store(at + 2 * t + 1, moments[2 * u + 1], mask=mask & (t < 3))
      for k in tl.static_range(BLOCKS):
        total = features[4 * k + 2 * u] + features[4 * k + 2 * u + 1]
        tl.store(at + 6 + 4 * k + t, total, mask=mask & (4 * k + t < C))


@triton.jit
def backward_kernel(
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
  num_drawn,
  cotangent,
  boxes,
  written,
  pairs,
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
  NORM: tl.constexpr,
  LIMIT: tl.constexpr,
  EDGE: tl.constexpr,
  LONG: tl.constexpr,
  FOUND: tl.constexpr,
):
  """Moments of d loss / d exponent over a tile, one row per listed splat.

  A program is a warp. The first programs take the tiles with long lists.

  Arrays and constants:
    table, starts, cursor, order: As in `forward_kernel`.
    ids: (B, P), of its `drawn` if FOUND, else as there.
    image, threshold, place, ties, inverse, num_drawn: What it wrote.
    cotangent: (B, C, H, W).
    boxes: From `table_kernel`.
    written: (B, P) int8, zero before: 1 where a row is written.
    pairs: (B, P, 6 + C), rows: sums over the tile's pixels of
      d {1, x, y, x^2, x y, y^2}, with d = d loss / d e of the splat and
      (x, y) from the tile's centre, and d loss / d feature.
    K, NORM, LIMIT, EDGE: As in `forward_kernel`.
    LONG: Programs for tiles with long lists.
    FOUND: Only `num_drawn` of each tile are looked at.
  """
  program = tl.program_id(0)
  batch = tl.program_id(1).to(tl.int64)
  table += batch * ((N + 1) * R)
  ids += batch * P
  boxes += batch * (4 * N)
  written += batch * P
  pairs += batch * P * (6 + C)
  starts += batch * (T + 1)
  begin, count = 0, 1
  if program < LONG:
    counts = tl.load((cursor + 4 * batch + 2).to(tl.pointer_type(tl.int64)))
    begin, count = program, length_count(counts, 2, T)
  for k in range(begin, count, LONG):
    tile = program - LONG
    if program < LONG:
      tile = tl.load(order + (2 * batch + 1) * T + k)
    first = tl.load(starts + tile)
    last = tl.load(starts + tile + 1)
    # Others have such a tile. Loads of pixels need not wait for the answer.
    kind = length_class(starts, tile, True, T)
    if FOUND:
      last = first + tl.load(num_drawn + batch * T + tile)
    last = tl.where((kind == 2) & (program >= LONG), first, last)
    tied = 0
    if K > 0:
      tied = tl.load(ties + batch * T + tile)
    _tile(
      tile,
      first,
      last,
      tied,
      batch,
      table,
      ids,
      image,
      threshold,
      place,
      inverse,
      cotangent,
      boxes,
      written,
      pairs,
      P,
      T,
      COLS,
      H,
      W,
      C,
      R,
      TILE,
      K,
      NORM,
      LIMIT,
      EDGE,
    )
