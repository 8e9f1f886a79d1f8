"""8x8 pixels of a tile against 16 splats, for the backward kernel.

Lane 4 g + t has splats g and g + 8 and pixels 2 t, 2 t + 1 of 8 in a row. Three
products of matrices take 8 pixels at a time: d loss / d w from features and
gradients of pixels; moments of d loss / d exponent, from these and powers of
the pixels' places; gradients of features, from weights and gradients of pixels.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005

import triton
import triton.language as tl
from jaxgs.kernels.rasterize.triton_kernels import exp2, filled, log2_weight
from jaxgs.kernels.triton_warp import (
  as_factor,
  greater,
  multiply_add,
  multiply_add_half,
  split,
)


@triton.jit
def load_block(
  cotangent,
  image,
  inverse,
  threshold,
  place,
  tied,
  tile,
  block,
  batch,
  T: tl.constexpr,
  COLS: tl.constexpr,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  TILE: tl.constexpr,
  K: tl.constexpr,
  NORM: tl.constexpr,
  LIMIT: tl.constexpr,
):
  """What is known of 8x8 pixels of a tile, in registers.

  Returns:
    d loss / d (sum of w f), and behind the last channel its product with the
    image, then 0: by row and four channels, of pixel g and channel t in lane
    4 g + t. The threshold of 32 pixels and that of the others; places so, if
    `tied`.
  """
  GROUPS: tl.constexpr = C // 4 + 1
  lane = tl.arange(0, 32)
  g, t = lane // 4, lane % 4
  left = block % (TILE // 8) * 8
  top = block // (TILE // 8) * 8
  x = tile % COLS * TILE + left + g
  y = tile // COLS * TILE + top
  first = ((batch * H + y) * W + x) * C + t
  first_planar = ((batch * C + t) * H + y) * W + x
  pixel = (batch * T + tile) * (TILE * TILE) + top * TILE + left
  scaled = ()
  for r in tl.static_range(8):
    mask = (x < W) & (y + r < H)
    if NORM:
      at = inverse + pixel + r * TILE + g
      scale = tl.load(at, mask=mask, other=0.0)
      # Without an epsilon it is inf where nothing is drawn, and the image NaN.
      drawn = scale < float("inf")
    product = tl.zeros([32], tl.float32)
    for k in tl.static_range(GROUPS):
      at = first + (r * (W * C) + 4 * k)
      here = mask & (4 * k + t < C)
      planar = first_planar + (4 * k * (H * W) + r * W)
      value = tl.load(cotangent + planar, mask=here, other=0.0)
      if NORM:
        value = tl.where(drawn, value * scale, 0.0)
        product += value * tl.load(image + at, mask=here, other=0.0)
      if k == GROUPS - 1:
        if NORM:
          product = tl.where(drawn, product, 0.0)
          product += tl.gather(product, lane ^ 1, axis=0)
          product += tl.gather(product, lane ^ 2, axis=0)
        value = tl.where(t == C % 4, product, value)
      scaled = scaled + (value,)
  least = filled(tl.full([32], LIMIT, tl.float32), 2)
  until = filled(tl.full([32], -1, tl.int32), 2)
  if K > 0:
    pixel += lane // 8 * TILE + lane % 8
    least = tl.load(threshold + pixel), tl.load(threshold + pixel + 4 * TILE)
    if tied > 0:
      until = tl.load(place + pixel), tl.load(place + pixel + 4 * TILE)
  return scaled, least, until


@triton.jit
def _basis(x, n):
  """Of 1, x, y, x^2, x y, y^2 the n-th, as a polynomial in y; 0 from 6 on."""
  constant = tl.where(n == 0, 1.0, tl.where(n == 1, x, 0.0))
  constant = tl.where(n == 3, x * x, constant)
  linear = tl.where(n == 2, 1.0, tl.where(n == 4, x, 0.0))
  return constant, linear, tl.where(n == 5, 1.0, 0.0)


@triton.jit
def _with_ties(kept, v, limits, until, r, at, slot):
  """1 also for what equals the limit, up to a place in the list.

  Arrays and constants:
    kept, v: 4 arrays: of two splats, of two pixels each.
    limits: 2 arrays.
    until: Places, of 32 pixels each; those of row r are at `at` and behind.
    slot: The first splat's place.
  """
  places = tl.where(r < 4, until[0], until[1])
  places = tl.gather(places, at, axis=0), tl.gather(places, at + 1, axis=0)
  new = ()
  for j in tl.static_range(4):
    tied = (v[j] == limits[j % 2]) & (slot + j // 2 * 8 <= places[j % 2])
    new = new + (tl.where(tied, 1.0, kept[j]),)
  return new


@triton.jit
def add_block(
  moments,
  features,
  rows,
  slot,
  high,
  low,
  scaled,
  least,
  until,
  tied,
  tile,
  block,
  COLS: tl.constexpr,
  C: tl.constexpr,
  TILE: tl.constexpr,
  EDGE: tl.constexpr,
):
  """Adds what 16 splats get from 8x8 pixels of a tile.

  Arrays and constants:
    moments, features: Sums, as the products leave them.
    rows: 2 rows of splats.
    slot: The first one's place in the list.
    high, low: Features, as the first factors of products.
    scaled, least, until: From `load_block`.

  Returns:
    The sums, and `scaled` as it was.
  """
  GROUPS: tl.constexpr = C // 4 + 1
  BLOCKS: tl.constexpr = (C + 3) // 4
  lane = tl.arange(0, 32)
  g, t = lane // 4, lane % 4
  left = block % (TILE // 8) * 8 + 2 * t
  top = block // (TILE // 8) * 8
  x0 = (tile % COLS * TILE + left).to(tl.float32) + 0.5
  x1 = (tile % COLS * TILE + left + 1).to(tl.float32) + 0.5
  columns, q_dx = (), ()
  for u in tl.static_range(2):
    row = rows[u]
    dx0, dx1 = x0 - row[0], x1 - row[0]
    columns = columns + (tl.fma(row[2] * dx0, dx0, row[5]),)
    columns = columns + (tl.fma(row[2] * dx1, dx1, row[5]),)
    q_dx = q_dx + (row[3] * dx0, row[3] * dx1)
  from_centre = left.to(tl.float32) + (0.5 - TILE / 2)
  p0, q0, s0 = _basis(from_centre, g)
  p1, q1, s1 = _basis(from_centre + 1.0, g)
  for start in range(0, 8, 2):
    for i in tl.static_range(2):
      r = start + i
      d = filled(tl.zeros([32], tl.float32), 4)
      pixels = ()
      for k in tl.static_range(GROUPS):
        value = scaled[i * GROUPS + k]
        gradient = split(value)
        a = (high[k], high[GROUPS + k])
        d = multiply_add(d, a + a, gradient)
        d = multiply_add_half(d, (low[k], low[GROUPS + k]), gradient[0])
        if k < BLOCKS:
          # Pixels 2 t and 2 t + 1 of channel 4 k + g // 2.
          high0, low0 = split(tl.gather(value, 8 * t + g // 2, axis=0))
          high1, low1 = split(tl.gather(value, 8 * t + 4 + g // 2, axis=0))
          even = g % 2 == 0
          pixels = pixels + (
            (tl.where(even, high0, low0), tl.where(even, high1, low1)),
          )
      at = r % 4 * 8 + 2 * t
      limit = tl.where(r < 4, least[0], least[1])
      limits = tl.gather(limit, at, axis=0), tl.gather(limit, at + 1, axis=0)
      y = (tile // COLS * TILE + top + r).to(tl.float32) + 0.5
      v, kept = (), ()
      for j in tl.static_range(4):
        row = rows[j // 2]
        e = log2_weight(columns[j], q_dx[j], row[4], y - row[1])
        v, kept = v + (e,), kept + (greater(e, limits[j % 2]),)
      if tied > 0:
        kept = _with_ties(kept, v, limits, until, r, at, slot)
      ws, ds = (), ()
      for j in tl.static_range(4):
        raw = kept[j] * exp2(v[j])
        ws = ws + (tl.fma(kept[j], -EDGE, raw),)
        # dw/de = -exp(lw - e); the subtracted constant has no gradient.
        ds = ds + (d[j] * raw,)

      from_middle = (top + r).to(tl.float32) + (0.5 - TILE / 2)
      basis = (
        tl.fma(from_middle, tl.fma(from_middle, s0, q0), p0),
        tl.fma(from_middle, tl.fma(from_middle, s1, q1), p1),
      )
      d_high, d_low = as_factor(ds, False)
      moments = multiply_add(moments, d_high, basis)
      moments = multiply_add(moments, d_low, basis)
      w_high, w_low = as_factor(ws, False)
      new = ()
      for k in tl.static_range(BLOCKS):
        total = multiply_add(features[4 * k : 4 * k + 4], w_high, pixels[k])
        new = new + multiply_add(total, w_low, pixels[k])
      features = new
    # The next row comes first; after 8 all are where they were.
    scaled = scaled[2 * GROUPS :] + scaled[: 2 * GROUPS]
  return moments, features, scaled
