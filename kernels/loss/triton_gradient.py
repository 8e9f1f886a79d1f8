"""The kernel of the loss's gradient, from the slopes of SSIM.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005
import triton
import triton.language as tl
from jaxgs.kernels.loss.triton_strips import (
  RADIUS,
  blur,
  load,
  place,
  slide,
  touches_edge,
  window,
  zeros,
)


@triton.jit
def _slopes(
  slopes,
  row,
  x,
  channel,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  EDGE: tl.constexpr,
  PX: tl.constexpr,
):
  """The windows of the three slopes, one after the other."""
  windows = ()
  for m in tl.static_range(3):
    start = slopes + m * (H * W * C)
    windows = windows + window(
      start, slopes, row, x, channel, W, C, False, EDGE, PX
    )
  return windows


@triton.jit
def _pixels(
  rendered,
  target,
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
  """Both pictures, times the mask, and the mask, for each of PX pixels."""
  values = ()
  for i in tl.static_range(PX):
    a, weight = load(rendered, mask, row, x, i, channel, W, C, MASKED, EDGE)
    b, _ = load(target, mask, row, x, i, channel, W, C, MASKED, EDGE)
    if not MASKED:
      weight = tl.full(a.shape, 1.0, tl.float32)
    values = values + (a, b, weight)
  return values


@triton.jit
def _gradients(
  rendered,
  target,
  mask,
  slopes,
  scale,
  gradient,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  L1: tl.constexpr,
  L2: tl.constexpr,
  SSIM: tl.constexpr,
  MASKED: tl.constexpr,
  EDGE: tl.constexpr,
  ROWS: tl.constexpr,
  PX: tl.constexpr,
  BLOCK: tl.constexpr,
):
  """`gradient_kernel` with or without an edge."""
  x, channel = place(C, PX, BLOCK)
  first = tl.program_id(1) * ROWS - RADIUS
  count = tl.minimum(ROWS + 2 * RADIUS, H + RADIUS - first)
  running = zeros(6 * RADIUS * PX, BLOCK)
  row = tl.maximum(first, 0)
  next_slopes = _slopes(slopes, row, x, channel, H, W, C, EDGE, PX)
  next_pixels = _pixels(
    rendered, target, mask, 0, x, channel, W, C, MASKED, EDGE, PX
  )
  for k in range(0, count):
    row = tl.minimum(tl.maximum(first + k, 0), H - 1)
    there = (row == first + k).to(tl.float32)
    # The row that will be finished.
    out = tl.maximum(first + k - RADIUS, 0)
    rows = next_slopes
    pixels = next_pixels
    then = tl.minimum(tl.maximum(first + k + 1, 0), H - 1)
    next_slopes = _slopes(slopes, then, x, channel, H, W, C, EDGE, PX)
    then = tl.minimum(tl.maximum(first + k + 1 - RADIUS, 0), H - 1)
    next_pixels = _pixels(
      rendered, target, mask, then, x, channel, W, C, MASKED, EDGE, PX
    )
    width: tl.constexpr = 2 * RADIUS + PX
    blurred = blur(rows[:width], PX) + blur(rows[width : 2 * width], PX)
    blurred = blurred + blur(rows[2 * width :], PX)
    running, done = slide(running, blurred, there, 3 * PX)
    if k >= 2 * RADIUS:
      for i in tl.static_range(PX):
        a, b, weight = pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]
        slope = done[i] + 2.0 * a * done[PX + i] + b * done[2 * PX + i]
        sign = (a > b).to(tl.float32) - (a < b).to(tl.float32)
        slope = weight * (L1 * sign - SSIM * slope) + 2.0 * L2 * (a - b)
        to = gradient + (out * W + x + i) * C + channel
        tl.store(to, slope * scale, mask=x + i < W)


@triton.jit
def gradient_kernel(
  rendered,
  target,
  mask,
  slopes,
  scale,
  gradient,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  L1: tl.constexpr,
  L2: tl.constexpr,
  SSIM: tl.constexpr,
  MASKED: tl.constexpr,
  ROWS: tl.constexpr,
  PX: tl.constexpr,
  BLOCK: tl.constexpr,
):
  """The gradient, d loss / d rendered, over a part of a strip.

  Arrays and constants:
    rendered, target, mask, slopes: See `triton_value`.
    scale: (B,), 1 / (sum of the mask over pixels and channels).
    gradient: (B, H, W, C), written.
    L1, L2, SSIM: Weights of the terms.
    ROWS, PX, BLOCK: As in `triton_value`.
  """
  batch = tl.program_id(2).to(tl.int64)
  rendered += batch * (H * W * C)
  target += batch * (H * W * C)
  mask += batch * (H * W if MASKED else 0)
  slopes += batch * (3 * H * W * C)
  gradient += batch * (H * W * C)
  factor = tl.load(scale + batch)
  if touches_edge(W, C, PX, BLOCK):
    _gradients(
      rendered,
      target,
      mask,
      slopes,
      factor,
      gradient,
      H,
      W,
      C,
      L1,
      L2,
      SSIM,
      MASKED,
      True,
      ROWS,
      PX,
      BLOCK,
    )
  else:
    _gradients(
      rendered,
      target,
      mask,
      slopes,
      factor,
      gradient,
      H,
      W,
      C,
      L1,
      L2,
      SSIM,
      MASKED,
      False,
      ROWS,
      PX,
      BLOCK,
    )
