"""Separable windows over bands of a picture, for the Triton kernels.

A warp walks along a band of 16 rows of one channel, 8 columns at a time: tensor
cores blur them down, and what comes out goes, blurred across, to the sums of
these 8 columns and of their neighbours. Both are products with band matrices of
the window's taps. See `triton_warp` for which lane holds what.

Only imported once a kernel is needed: this needs the package triton.
"""

import math

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005
import triton
import triton.language as tl
from jaxgs.kernels.triton_warp import (
  as_factor,
  multiply_add,
  multiply_add_half,
  split_evenly,
)

# The window of jaxgs.metrics.ssim: 11 taps of sigma 1.5, of sum 1.
RADIUS = tl.constexpr(5)
_SIGMA = 1.5
_SUM = sum(math.exp(-0.5 * (i / _SIGMA) ** 2) for i in range(-5, 6))
_EXPONENT = tl.constexpr(-0.5 / _SIGMA**2 * math.log2(math.e))
_SCALE = tl.constexpr(1.0 / _SUM)

# Arrays of pixels per lane: of 28 rows of a band and its margins every fourth.
HEIGHT = tl.constexpr(7)


@triton.jit
def place(C: tl.constexpr, TILES: tl.constexpr, WARPS: tl.constexpr):
  """Where a lane works.

  Returns:
    g and t of its number 4 g + t; its warp's first column and row; channel.
  """
  lane = tl.arange(0, 32 * WARPS)
  unit = tl.program_id(0) * WARPS + lane // 32
  left = unit // C * (8 * TILES)
  return lane % 32 // 4, lane % 4, left, tl.program_id(1) * 16, unit % C


@triton.jit
def _tap(i):
  """Tap i of the window, in two parts; 0 where it has none."""
  x = (i - RADIUS).to(tl.float32)
  value = tl.exp2(x * x * _EXPONENT) * _SCALE
  return split_evenly(tl.where((i >= 0) & (i <= 2 * RADIUS), value, 0.0))


@triton.jit
def taps(g, t):
  """The band matrices: first factors down, second factors across.

  Down from row k of 28 to row m of 16 by tap k - m, 8 rows k at a time, then 4;
  across from column k of 8 to column n of those 8 p further, p = -1, 0, 1, by
  tap k - n - 8 p + 5. Each in the two parts of `split_evenly`: a variance is a
  difference, and what is lost to one side would be a thousandth of it where a
  picture is flat.
  """
  zero = tl.zeros_like(g).to(tl.float32)
  down = ()
  for k in tl.static_range(3):
    a, b = _tap(8 * k + t - g), _tap(8 * k + t + 4 - g)
    c, d = _tap(8 * k + t - g - 8), _tap(8 * k + t - g - 4)
    if k == 0:
      # Rows 8 to 15 get nothing from rows 0 to 7.
      c, d = (zero, zero), (zero, zero)
    down = down + ((a[0], c[0], b[0], d[0]), (a[1], c[1], b[1], d[1]))
  a = _tap(16 + t - g)
  down = down + ((zero, a[0]), (zero, a[1]))
  across = ()
  for p in tl.static_range(3):
    a = _tap(2 * t - g - 8 * (p - 1) + RADIUS)
    b = _tap(2 * t + 1 - g - 8 * (p - 1) + RADIUS)
    across = across + ((a[0], b[0]), (a[1], b[1]))
  return down, across


@triton.jit
def load(
  picture,
  mask,
  row,
  x,
  channel,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  MASKED: tl.constexpr,
):
  """Pixels times the mask, and the mask; 0 outside of the picture."""
  inside = (row >= 0) & (row < H) & (x >= 0) & (x < W)
  pixel = row * W + x
  weight = 1.0
  if MASKED:
    weight = tl.load(mask + pixel, mask=inside, other=0.0)
    # What stands at 0 does not matter, NaN included.
    inside = inside & (weight > 0.0)
  value = tl.load(picture + pixel * C + channel, mask=inside, other=0.0)
  return value * weight, weight


@triton.jit
def store_pair(row, x, first, second, mask, W: tl.constexpr):
  """Writes columns x, which is even, and x + 1 of a row.

  Half as many pieces of memory are touched if that is one instruction.
  """
  if W % 2 == 0:
    to = (row + x)[:, None] + tl.arange(0, 2)[None, :]
    tl.store(to, tl.join(first, second), mask=(mask & (x < W))[:, None])
  else:
    tl.store(row + x, first, mask=mask & (x < W))
    tl.store(row + x + 1, second, mask=mask & (x + 1 < W))


@triton.jit
def column(
  picture,
  mask,
  top,
  x,
  t,
  channel,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  MASKED: tl.constexpr,
):
  """What a lane needs of column x: rows t, t + 4, ... from the margin on."""
  values = ()
  for k in tl.static_range(HEIGHT):
    row = top - RADIUS + 4 * k + t
    value, _ = load(picture, mask, row, x, channel, H, W, C, MASKED)
    values = values + (value,)
  return values


@triton.jit
def blur(sums, values, down, across):
  """Adds 8 columns to the sums of 3 times 8.

  Arrays and constants:
    sums: 12 arrays: the 8 columns before, these and those after.
    values: `HEIGHT` arrays.
    down, across: From `taps`.

  Returns:
    The sums.
  """
  total = (tl.zeros_like(values[0]),)
  total = total + total + total + total
  for k in tl.static_range(3):
    a, b = split_evenly(values[2 * k]), split_evenly(values[2 * k + 1])
    high, low = (a[0], b[0]), (a[1], b[1])
    total = multiply_add(total, down[2 * k], high)
    total = multiply_add(total, down[2 * k + 1], high)
    total = multiply_add(total, down[2 * k], low)
  last = split_evenly(values[6])
  total = multiply_add_half(total, down[6], last[0])
  total = multiply_add_half(total, down[7], last[0])
  total = multiply_add_half(total, down[6], last[1])
  high, low = as_factor(total, True)
  new = ()
  for p in tl.static_range(3):
    total = multiply_add(sums[4 * p : 4 * p + 4], high, across[2 * p])
    total = multiply_add(total, low, across[2 * p])
    new = new + multiply_add(total, high, across[2 * p + 1])
  return new
