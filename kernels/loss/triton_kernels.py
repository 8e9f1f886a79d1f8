"""Value and gradient of the loss with its SSIM term, in four kernels.

The window is separable: down the columns, then across the rows. A lane is a
pixel of a channel, pixels and channels of a row in one; down a column it takes
several rows, so that what it loads serves all of them.

Only imported once a kernel is needed: this needs the package triton.
"""

import math

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005
import triton
import triton.language as tl

# The window of jaxgs.metrics.ssim: 11 taps of sigma 1.5, of sum 1.
_RADIUS = tl.constexpr(5)
_RAW = [math.exp(-0.5 * (i / 1.5) ** 2) for i in range(-5, 6)]
_TAPS = tl.constexpr(tuple(tap / sum(_RAW) for tap in _RAW))
_C1 = tl.constexpr(0.01**2)
_C2 = tl.constexpr(0.03**2)


@triton.jit
def _pixel(
  picture, mask, row, at, inside, W: tl.constexpr, C: tl.constexpr, MASKED
):
  """Pixels of a row times the mask, 0 where that is, and the mask."""
  weight = inside.to(tl.float32)
  if MASKED:
    weight = tl.load(mask + row * W + at // C, mask=inside, other=0.0)
    # What stands at 0 does not matter, NaN included.
    inside = inside & (weight > 0.0)
  return tl.load(picture + row * (W * C) + at, mask=inside, other=0.0), weight


@triton.jit
def moments_kernel(
  rendered,
  target,
  mask,
  moments,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  MASKED: tl.constexpr,
  ROWS: tl.constexpr,
  BLOCK: tl.constexpr,
):
  """Blurs a, b, a^2 + b^2 and a b down the columns.

  Arrays and constants:
    rendered, target: (B, H, W, C), a and b.
    mask: (B, H, W) if MASKED: multiplies both.
    moments: (B, 4, H, W, C), written.
    ROWS: Rows per lane.
    BLOCK: Lanes.
  """
  batch = tl.program_id(2).to(tl.int64)
  first = tl.program_id(1) * ROWS
  at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
  rendered += batch * (H * W * C)
  target += batch * (H * W * C)
  mask += batch * (H * W if MASKED else 0)
  moments += batch * (4 * H * W * C) + at
  zero = tl.zeros([BLOCK], tl.float32)
  sums = (zero,)
  for _ in tl.static_range(1, 4 * ROWS):
    sums = sums + (zero,)
  for k in tl.static_range(ROWS + 2 * _RADIUS):
    row = first + k - _RADIUS
    inside = (row >= 0) & (row < H) & (at < W * C)
    a, weight = _pixel(rendered, mask, row, at, inside, W, C, MASKED)
    b, _ = _pixel(target, mask, row, at, inside, W, C, MASKED)
    a *= weight
    b *= weight
    values = (a, b, a * a + b * b, a * b)
    new = ()
    for i in tl.static_range(4 * ROWS):
      # Tap k - i // 4 of the window of row i // 4.
      if (k - i // 4 >= 0) and (k - i // 4 <= 2 * _RADIUS):
        new = new + (sums[i] + _TAPS[k - i // 4] * values[i % 4],)
      else:
        new = new + (sums[i],)
    sums = new
  for i in tl.static_range(4 * ROWS):
    row = first + i // 4
    out = moments + (i % 4) * (H * W * C) + row * (W * C)
    tl.store(out, sums[i], mask=(row < H) & (at < W * C))


@triton.jit
def _blur_row(pointer, at, inside, W: tl.constexpr, C: tl.constexpr):
  """Blurs a row at positions `at` of it."""
  total = tl.zeros(at.shape, tl.float32)
  for k in tl.static_range(2 * _RADIUS + 1):
    there = at + (k - _RADIUS) * C
    mask = inside & (there >= 0) & (there < W * C)
    total += _TAPS[k] * tl.load(pointer + there, mask=mask, other=0.0)
  return total


@triton.jit
def value_kernel(
  rendered,
  target,
  mask,
  moments,
  sums,
  slopes,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  MASKED: tl.constexpr,
  BLOCK: tl.constexpr,
):
  """Sums over a part of a row, and the slopes of SSIM.

  Arrays and constants:
    rendered, target, mask: See `moments_kernel`, which wrote
    moments: (B, 4, H, W, C).
    sums: (B, H, parts, 4), written: sums of SSIM, |error|, error^2, each times
      the mask.
    slopes: (B, 3, H, W, C), written: mask times d SSIM / d blurred (a, a^2 +
      b^2, a b).
    BLOCK: Lanes.
  """
  batch = tl.program_id(2).to(tl.int64)
  row = tl.program_id(1)
  at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
  inside = at < W * C
  size: tl.constexpr = H * W * C
  moments += batch * (4 * size) + row * (W * C)
  mean_a = _blur_row(moments, at, inside, W, C)
  mean_b = _blur_row(moments + size, at, inside, W, C)
  squares = _blur_row(moments + 2 * size, at, inside, W, C)
  product = _blur_row(moments + 3 * size, at, inside, W, C)
  mean_ab = mean_a * mean_b
  mean_squares = mean_a * mean_a + mean_b * mean_b
  luminance_below = 1.0 / (mean_squares + _C1)
  structure_below = 1.0 / (squares - mean_squares + _C2)
  luminance = (2.0 * mean_ab + _C1) * luminance_below
  structure = (2.0 * (product - mean_ab) + _C2) * structure_below

  rendered += batch * size
  target += batch * size
  mask += batch * (H * W if MASKED else 0)
  a, weight = _pixel(rendered, mask, row, at, inside, W, C, MASKED)
  b, _ = _pixel(target, mask, row, at, inside, W, C, MASKED)
  error = a - b
  part = (batch * H + row) * tl.num_programs(0) + tl.program_id(0)
  tl.store(sums + 4 * part, tl.sum(weight * luminance * structure, axis=0))
  tl.store(sums + 4 * part + 1, tl.sum(weight * tl.abs(error), axis=0))
  tl.store(sums + 4 * part + 2, tl.sum(weight * error * error, axis=0))

  slopes += batch * (3 * size) + row * (W * C) + at
  by_luminance = 2.0 * (mean_b - luminance * mean_a) * luminance_below
  by_structure = 2.0 * (structure * mean_a - mean_b) * structure_below
  slope = structure * by_luminance + luminance * by_structure
  tl.store(slopes, weight * slope, mask=inside)
  slope = -luminance * structure * structure_below
  tl.store(slopes + size, weight * slope, mask=inside)
  slope = 2.0 * luminance * structure_below
  tl.store(slopes + 2 * size, weight * slope, mask=inside)


@triton.jit
def columns_kernel(
  slopes,
  blurred,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  ROWS: tl.constexpr,
  BLOCK: tl.constexpr,
):
  """Blurs pictures down the columns.

  Arrays and constants:
    slopes: (B, H, W, C).
    blurred: The same, written.
    ROWS, BLOCK: As in `moments_kernel`.
  """
  batch = tl.program_id(2).to(tl.int64)
  first = tl.program_id(1) * ROWS
  at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
  slopes += batch * (H * W * C) + at
  blurred += batch * (H * W * C) + at
  zero = tl.zeros([BLOCK], tl.float32)
  sums = (zero,)
  for _ in tl.static_range(1, ROWS):
    sums = sums + (zero,)
  for k in tl.static_range(ROWS + 2 * _RADIUS):
    row = first + k - _RADIUS
    inside = (row >= 0) & (row < H) & (at < W * C)
    value = tl.load(slopes + row * (W * C), mask=inside, other=0.0)
    new = ()
    for i in tl.static_range(ROWS):
      if (k - i >= 0) and (k - i <= 2 * _RADIUS):
        new = new + (sums[i] + _TAPS[k - i] * value,)
      else:
        new = new + (sums[i],)
    sums = new
  for i in tl.static_range(ROWS):
    mask = (first + i < H) & (at < W * C)
    tl.store(blurred + (first + i) * (W * C), sums[i], mask=mask)


@triton.jit
def gradient_kernel(
  rendered,
  target,
  mask,
  blurred,
  scale,
  gradient,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  L1: tl.constexpr,
  L2: tl.constexpr,
  SSIM: tl.constexpr,
  MASKED: tl.constexpr,
  BLOCK: tl.constexpr,
):
  """The gradient, d loss / d rendered, over a part of a row.

  Arrays and constants:
    rendered, target, mask: See `moments_kernel`.
    blurred: (B, 3, H, W, C), the slopes blurred down the columns.
    scale: (B,), 1 / (sum of the mask over pixels and channels).
    gradient: (B, H, W, C), written.
    L1, L2, SSIM: Weights of the terms.
    BLOCK: Lanes.
  """
  batch = tl.program_id(2).to(tl.int64)
  row = tl.program_id(1)
  at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
  inside = at < W * C
  size: tl.constexpr = H * W * C
  blurred += batch * (3 * size) + row * (W * C)
  by_mean = _blur_row(blurred, at, inside, W, C)
  by_squares = _blur_row(blurred + size, at, inside, W, C)
  by_product = _blur_row(blurred + 2 * size, at, inside, W, C)
  rendered += batch * size
  target += batch * size
  mask += batch * (H * W if MASKED else 0)
  a, weight = _pixel(rendered, mask, row, at, inside, W, C, MASKED)
  b, _ = _pixel(target, mask, row, at, inside, W, C, MASKED)
  error = a - b
  sign = (error > 0.0).to(tl.float32) - (error < 0.0).to(tl.float32)
  slope = by_mean + weight * (2.0 * a * by_squares + b * by_product)
  slope = L1 * sign + 2.0 * L2 * error - SSIM * slope
  slope *= weight * tl.load(scale + batch)
  tl.store(gradient + batch * size + row * (W * C) + at, slope, mask=inside)
