"""The backward kernels: a splat per lane, then a sum over each splat's tiles.

Sums are taken in an order that does not change from run to run: nothing is
added up atomically but counters.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005

import triton
import triton.language as tl
from jaxgs.kernels.binning.triton_boxes import tile_box
from jaxgs.kernels.rasterize.triton_kernels import (
  exp2,
  filled,
  length_class,
  length_count,
  load_row,
  log2_weight,
)


@triton.jit
def _prepare(
  cotangent,
  image,
  inverse,
  scaled,
  tile,
  batch,
  T: tl.constexpr,
  COLS: tl.constexpr,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  TILE: tl.constexpr,
  NORM: tl.constexpr,
):
  """Writes d loss / d (sum of w f), and its product with the image, by rows.

  The loops over splats read them once per splat, a row of a channel at a time.
  """
  q = tl.arange(0, TILE * TILE)
  column = tile % COLS * TILE + q % TILE
  row = tile // COLS * TILE + q // TILE
  mask = (column < W) & (row < H)
  offset = ((batch * H + row) * W + column) * C
  scaled += q // TILE * (TILE * (C + 1)) + q % TILE
  product = tl.zeros(q.shape, tl.float32)
  if NORM:
    pixel = (batch * T + tile) * (TILE * TILE) + q
    scale = tl.load(inverse + pixel, mask=mask, other=0.0)
    for k in tl.static_range(C):
      g = scale * tl.load(cotangent + offset + k, mask=mask, other=0.0)
      product += g * tl.load(image + offset + k, mask=mask, other=0.0)
      tl.store(scaled + TILE * k, g)
  else:
    for k in tl.static_range(C):
      g = tl.load(cotangent + offset + k, mask=mask, other=0.0)
      tl.store(scaled + TILE * k, g)
  tl.store(scaled + TILE * C, product)
  # Other lanes read what these have written.
  tl.debug_barrier()


@triton.jit
def _moments(
  table,
  n,
  inside,
  place_in_list,
  scaled,
  threshold,
  place,
  tile_x,
  tile_y,
  R: tl.constexpr,
  C: tl.constexpr,
  TILE: tl.constexpr,
  K: tl.constexpr,
  LIMIT: tl.constexpr,
  EDGE: tl.constexpr,
  TIED: tl.constexpr,
):
  """What splats n, one per lane, get from the rows of a tile: 6 + C sums."""
  row = load_row(table + n * R, 6 + C)
  lw = tl.where(inside, row[5], float("-inf"))[None, :]
  across = tl.arange(0, TILE)
  x = (tile_x * TILE + across).to(tl.float32) + 0.5
  dx = x[:, None] - row[0][None, :]
  a_dx2 = tl.fma(row[2][None, :] * dx, dx, lw)
  b_dx = row[3][None, :] * dx
  sums = filled(tl.zeros_like(row[0]), 6 + C)
  for r in range(0, TILE):
    dy = (tile_y * TILE + r).to(tl.float32) + 0.5 - row[1]
    v = log2_weight(a_dx2, b_dx, row[4][None, :], dy[None, :], lw)
    raw = exp2(v)
    if K > 0:
      least = tl.load(threshold + r * TILE + across)[:, None]
      kept = v > least
      if TIED:
        until = tl.load(place + r * TILE + across)[:, None]
        kept = kept | ((v == least) & (place_in_list[None, :] <= until))
    else:
      kept = v > LIMIT
    w = tl.where(kept, raw - EDGE, 0.0)
    g_row = scaled + r * (TILE * (C + 1)) + across
    # dw/de = -exp(lw - e); the subtracted constant has no gradient.
    d = tl.load(g_row + TILE * C)[:, None]
    g = tl.load(g_row)[:, None]
    d -= row[6][None, :] * g
    d_feature = (sums[6] + tl.sum(w * g, axis=0),)
    for k in tl.static_range(1, C):
      g = tl.load(g_row + TILE * k)[:, None]
      d -= row[6 + k][None, :] * g
      d_feature = d_feature + (sums[6 + k] + tl.sum(w * g, axis=0),)
    d = tl.where(kept, d * raw, 0.0)
    d_dx = d * dx
    s = tl.sum(d, axis=0)
    sx = tl.sum(d_dx, axis=0)
    sxx = tl.sum(d_dx * dx, axis=0)
    sums = (
      sums[0] + s,
      sums[1] + sx,
      sums[2] + s * dy,
      sums[3] + sxx,
      sums[4] + sx * dy,
      sums[5] + s * dy * dy,
    ) + d_feature
  return sums


@triton.jit
def _compare(
  tile,
  share,
  batch,
  table,
  mean,
  conic,
  log_weight,
  ids,
  starts,
  image,
  threshold,
  place,
  ties,
  inverse,
  cotangent,
  rows,
  written,
  pairs,
  scaled,
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
  CUTOFF: tl.constexpr,
  PARTS: tl.constexpr,
  S: tl.constexpr,
  STEP: tl.constexpr,
):
  """Every STEP-th S splats of a tile's list, from `share` on."""
  first = tl.load(starts + tile)
  last = tl.load(starts + tile + 1)
  if first + share * S < last:
    _prepare(
      cotangent,
      image,
      inverse,
      scaled,
      tile,
      batch,
      T,
      COLS,
      H,
      W,
      C,
      TILE,
      NORM,
    )
  tied = 0
  if K > 0:
    for i in tl.static_range(PARTS):
      tied |= tl.load(ties + (batch * T + tile) * PARTS + i)
  threshold += (batch * T + tile) * (TILE * TILE)
  place += (batch * T + tile) * (TILE * TILE)
  tile_x, tile_y = tile % COLS, tile // COLS

  for base in range(first + share * S, last, STEP * S):
    slot = base + tl.arange(0, S)
    inside = slot < last
    n = tl.load(ids + tl.minimum(slot, last - 1))
    if tied > 0:
      sums = _moments(
        table,
        n,
        inside,
        slot - first,
        scaled,
        threshold,
        place,
        tile_x,
        tile_y,
        R,
        C,
        TILE,
        K,
        LIMIT,
        EDGE,
        True,
      )
    else:
      sums = _moments(
        table,
        n,
        inside,
        slot - first,
        scaled,
        threshold,
        place,
        tile_x,
        tile_y,
        R,
        C,
        TILE,
        K,
        LIMIT,
        EDGE,
        False,
      )
    fx, fy, nx, ny = tile_box(
      mean, conic, log_weight, batch * N + n, inside, CUTOFF, H, W, TILE
    )
    left, up = tile_x - fx, tile_y - fy
    out = tl.load(rows + n) + up * nx + left
    mask = (left >= 0) & (left < nx) & (up >= 0) & (up < ny)
    # Out of room only if the list was as well.
    mask = mask & (out >= 0) & (out < P)
    tl.store(written + out, tl.full([S], 1, tl.int8), mask=mask)
    out = pairs + out.to(tl.int64) * (6 + C)
    for k in tl.static_range(6 + C):
      tl.store(out + k, sums[k], mask=mask)


@triton.jit
def backward_kernel(
  table,
  mean,
  conic,
  log_weight,
  ids,
  starts,
  cursor,
  order,
  image,
  threshold,
  place,
  ties,
  inverse,
  cotangent,
  rows,
  written,
  pairs,
  scaled,
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
  CUTOFF: tl.constexpr,
  PARTS: tl.constexpr,
  LONG: tl.constexpr,
  S: tl.constexpr,
  SPLIT: tl.constexpr,
):
  """Moments of d loss / d exponent over a tile, one row per listed splat.

  S splats at a time are the lanes; rows of pixels pass by, and each lane sums
  what its splat gets from them. Nothing is exchanged between lanes. The first
  programs share the tiles with long lists.

  Arrays and constants:
    table, ids, starts, cursor, order: As in `forward_kernel`.
    mean, conic, log_weight: (B, N, ...).
    image, threshold, place, ties, inverse: What it wrote.
    cotangent: (B, H, W, C).
    rows: From `table_kernel`.
    written: (B, P) int8, zero before: 1 where a row is written.
    pairs: (B, P, 6 + C), rows: sums over the tile's pixels of
      d {1, dx, dy, dx^2, dx dy, dy^2}, with d = d loss / d e of the splat, and
      d loss / d feature.
    scaled: (B, programs, TILE, C + 1, TILE), scratch.
    K, NORM, LIMIT, EDGE, PARTS: As in `forward_kernel`.
    CUTOFF: Of the splats.
    LONG: Programs for each share of a long list.
    S: Splats handled at once.
    SPLIT: Shares of a long list.
  """
  program = tl.program_id(0)
  batch = tl.program_id(1).to(tl.int64)
  table += batch * (N * R)
  ids += batch * P
  rows += batch * N
  written += batch * P
  pairs += batch * P * (6 + C)
  starts += batch * (T + 1)
  scratch = batch * tl.num_programs(0) + program
  scaled += scratch * (TILE * TILE * (C + 1))
  if program < SPLIT * LONG:
    counts = tl.load((cursor + 4 * batch + 2).to(tl.pointer_type(tl.int64)))
    count = length_count(counts, 2, T)
    for k in range(program // SPLIT, count, LONG):
      # Lanes may still read the scratch of the tile before.
      tl.debug_barrier()
      _compare(
        tl.load(order + (2 * batch + 1) * T + k),
        program % SPLIT,
        batch,
        table,
        mean,
        conic,
        log_weight,
        ids,
        starts,
        image,
        threshold,
        place,
        ties,
        inverse,
        cotangent,
        rows,
        written,
        pairs,
        scaled,
        N,
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
        CUTOFF,
        PARTS,
        S,
        SPLIT,
      )
  else:
    tile = program - SPLIT * LONG
    if length_class(starts, tile, True, T) < 2:
      _compare(
        tile,
        0,
        batch,
        table,
        mean,
        conic,
        log_weight,
        ids,
        starts,
        image,
        threshold,
        place,
        ties,
        inverse,
        cotangent,
        rows,
        written,
        pairs,
        scaled,
        N,
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
        CUTOFF,
        PARTS,
        S,
        1,
      )


@triton.jit
def gather_kernel(
  mean,
  conic,
  log_weight,
  rows,
  written,
  pairs,
  d_mean,
  d_conic,
  d_log_weight,
  d_feature,
  N: tl.constexpr,
  P: tl.constexpr,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  TILE: tl.constexpr,
  CUTOFF: tl.constexpr,
  J: tl.constexpr,
):
  """Sums the rows of one splat over its tiles.

  Arrays and constants:
    mean, conic, log_weight: (B, N, ...).
    rows: From `table_kernel`.
    written, pairs: From `backward_kernel`.
    d_mean, d_conic, d_log_weight, d_feature: (B, N, ...), written.
    CUTOFF: Of the splats.
    J: Rows read at once.
  """
  batch = tl.program_id(1).to(tl.int64)
  n = batch * N + tl.program_id(0)
  written += batch * P
  pairs += batch * P * (6 + C)
  _, _, nx, ny = tile_box(mean, conic, log_weight, n, True, CUTOFF, H, W, TILE)
  count = nx * ny
  row = tl.load(rows + n)
  parts = filled(tl.zeros([J], tl.float32), 6 + C)
  for k in range(0, count, J):
    j = k + tl.arange(0, J)
    at = row + j
    mask = (j < count) & (at >= 0) & (at < P)
    valid = tl.load(written + at, mask=mask, other=0) != 0
    at = pairs + at.to(tl.int64) * (6 + C)
    # Loaded before it is known whether it is valid: one wait instead of two.
    value = tl.load(at, mask=mask, other=0.0)
    new = (parts[0] + tl.where(valid, value, 0.0),)
    for i in tl.static_range(1, 6 + C):
      value = tl.load(at + i, mask=mask, other=0.0)
      new = new + (parts[i] + tl.where(valid, value, 0.0),)
    parts = new
  sums = (tl.sum(parts[0], axis=0),)
  for i in tl.static_range(1, 6 + C):
    sums = sums + (tl.sum(parts[i], axis=0),)
  a = tl.load(conic + 3 * n)
  b = tl.load(conic + 3 * n + 1)
  c = tl.load(conic + 3 * n + 2)
  tl.store(d_mean + 2 * n, -(a * sums[1] + b * sums[2]))
  tl.store(d_mean + 2 * n + 1, -(b * sums[1] + c * sums[2]))
  tl.store(d_conic + 3 * n, 0.5 * sums[3])
  tl.store(d_conic + 3 * n + 1, sums[4])
  tl.store(d_conic + 3 * n + 2, 0.5 * sums[5])
  tl.store(d_log_weight + n, -sums[0])
  for k in tl.static_range(C):
    tl.store(d_feature + n * C + k, sums[6 + k])
