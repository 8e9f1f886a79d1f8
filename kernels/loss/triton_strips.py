"""Separable windows over strips of a picture, for the Triton kernels.

A program walks down a strip: it blurs each row across, from loads that the
cache serves, and each lane adds the result to the running sums of the rows
whose windows it is in. So a picture is read once.

Only imported once a kernel is needed: this needs the package triton.
"""

import math

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005
import triton
import triton.language as tl

# The window of jaxgs.metrics.ssim: 11 taps of sigma 1.5, of sum 1.
RADIUS = tl.constexpr(5)
_RAW = [math.exp(-0.5 * (i / 1.5) ** 2) for i in range(-5, 6)]
TAPS = tl.constexpr(tuple(tap / sum(_RAW) for tap in _RAW))


@triton.jit
def zeros(COUNT: tl.constexpr, BLOCK: tl.constexpr):
  """A tuple of COUNT times BLOCK zeros."""
  zero = tl.zeros([BLOCK], tl.float32)
  values = (zero,)
  for _ in tl.static_range(1, COUNT):
    values = values + (zero,)
  return values


@triton.jit
def place(C: tl.constexpr, PX: tl.constexpr, BLOCK: tl.constexpr):
  """Column of a lane's first pixel and its channel; PX pixels per lane."""
  lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
  return lane // C * PX, lane % C


@triton.jit
def touches_edge(
  W: tl.constexpr, C: tl.constexpr, PX: tl.constexpr, BLOCK: tl.constexpr
):
  """Whether windows of the program reach beyond the left or right edge."""
  first = tl.program_id(0) * BLOCK // C * PX
  last = (tl.program_id(0) * BLOCK + BLOCK - 1) // C * PX + PX - 1
  return (first < RADIUS) | (last + RADIUS >= W)


@triton.jit
def load(
  picture,
  mask,
  row,
  x,
  shift: tl.constexpr,
  channel,
  W: tl.constexpr,
  C: tl.constexpr,
  MASKED: tl.constexpr,
  EDGE: tl.constexpr,
):
  """Column x + shift of a row, times the mask, and the mask.

  If EDGE, 0 for what is not in the row.
  """
  to = x + shift
  # One address for all shifts, and a constant.
  pointer = picture + (row * (W * C) + x * C + channel) + shift * C
  inside = (to >= 0) & (to < W)
  if MASKED:
    weight = tl.load(mask + row * W + to, mask=inside, other=0.0)
    # What stands at 0 does not matter, NaN included.
    value = tl.load(pointer, mask=weight > 0.0, other=0.0) * weight
  elif EDGE:
    weight = 1.0
    value = tl.load(pointer, mask=inside, other=0.0)
  else:
    weight = 1.0
    value = tl.load(pointer)
  return value, weight


@triton.jit
def window(
  picture,
  mask,
  row,
  x,
  channel,
  W: tl.constexpr,
  C: tl.constexpr,
  MASKED: tl.constexpr,
  EDGE: tl.constexpr,
  PX: tl.constexpr,
):
  """What the windows of PX pixels cover of a row.

  Nothing is made of it here: all loads are on their way before the first one
  is waited for.
  """
  values = ()
  for t in tl.static_range(2 * RADIUS + PX):
    value, _ = load(
      picture, mask, row, x, t - RADIUS, channel, W, C, MASKED, EDGE
    )
    values = values + (value,)
  return values


@triton.jit
def blur(values, PX: tl.constexpr):
  """A window's values, blurred across, for each of PX pixels."""
  sums = ()
  for i in tl.static_range(PX):
    total = TAPS[0] * values[i]
    for t in tl.static_range(1, 2 * RADIUS + 1):
      total += TAPS[t] * values[i + t]
    sums = sums + (total,)
  return sums


@triton.jit
def slide(sums, rows, there, COUNT: tl.constexpr):
  """Adds a row to the running sums of 10 rows and finishes the first.

  Arrays and constants:
    sums: 10 times COUNT: the windows that are not finished, by row.
    rows: COUNT: a row, blurred across.
    there: 0 where the row is not in the picture.

  Returns:
    The sums, moved on by a row; COUNT finished ones.
  """
  done = ()
  for i in tl.static_range(COUNT):
    done = done + (sums[i] + TAPS[0] * (there * rows[i]),)
  new = ()
  for i in tl.static_range(2 * RADIUS * COUNT):
    value = TAPS[i // COUNT + 1] * (there * rows[i % COUNT])
    if i + COUNT < 2 * RADIUS * COUNT:
      value = sums[i + COUNT] + value
    new = new + (value,)
  return new, done
