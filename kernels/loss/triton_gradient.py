"""The kernel of the loss's gradient, from the slopes of SSIM.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005
import triton
import triton.language as tl
from jaxgs.kernels.loss.triton_bands import (
  HEIGHT,
  RADIUS,
  blur,
  load,
  place,
  store_pair,
  taps,
)


@triton.jit
def _plane(
  plane, top, x, t, H: tl.constexpr, W: tl.constexpr, PADDED: tl.constexpr
):
  """Column x of a plane of slopes."""
  values = ()
  for k in tl.static_range(HEIGHT):
    row = top - RADIUS + 4 * k + t
    inside = (row >= 0) & (row < H) & (x >= 0) & (x < W)
    value = tl.load(plane + row * PADDED + x, mask=inside, other=0.0)
    values = values + (value,)
  return values


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
  PADDED: tl.constexpr,
  C: tl.constexpr,
  L1: tl.constexpr,
  L2: tl.constexpr,
  SSIM: tl.constexpr,
  MASKED: tl.constexpr,
  TILES: tl.constexpr,
  WARPS: tl.constexpr,
):
  """The gradient, d loss / d rendered, over a part of a band.

  Arrays and constants:
    rendered, target, mask, slopes: See `triton_value`.
    scale: (B,), 1 / (sum of the mask over pixels and channels).
    gradient: (B, C, H, W), written.
    L1, L2, SSIM: Weights of the terms.
    PADDED, TILES, WARPS: As in `triton_value`.
  """
  batch = tl.program_id(2).to(tl.int64)
  rendered += batch * (H * W * C)
  target += batch * (H * W * C)
  mask += batch * (H * W if MASKED else 0)
  slopes += batch * (3 * C * H * PADDED)
  gradient += batch * (H * W * C)
  factor = tl.load(scale + batch)
  g, t, left, top, channel = place(C, TILES, WARPS)
  down, across = taps(g, t)
  zero = tl.zeros_like(down[0][0])
  four = (zero, zero, zero, zero)
  by_mean, by_squares = four + four + four, four + four + four
  by_product = four + four + four
  by_mean_of = slopes + channel * (H * PADDED)
  by_squares_of = by_mean_of + C * H * PADDED
  by_product_of = by_squares_of + C * H * PADDED
  x = left - 8 + g
  next_mean = _plane(by_mean_of, top, x, t, H, W, PADDED)
  next_squares = _plane(by_squares_of, top, x, t, H, W, PADDED)
  next_product = _plane(by_product_of, top, x, t, H, W, PADDED)
  for j in range(-1, TILES + 1):
    mean, square, product = next_mean, next_squares, next_product
    # The next columns are on their way while these are added.
    x = left + 8 * (j + 1) + g
    next_mean = _plane(by_mean_of, top, x, t, H, W, PADDED)
    next_squares = _plane(by_squares_of, top, x, t, H, W, PADDED)
    next_product = _plane(by_product_of, top, x, t, H, W, PADDED)
    # Of the columns that will be finished.
    x = left + 8 * (j - 1) + 2 * t
    pixels = ()
    for i in tl.static_range(4):
      row, to = top + g + i // 2 * 8, x + i % 2
      a, weight = load(rendered, mask, row, to, channel, H, W, C, MASKED)
      b, _ = load(target, mask, row, to, channel, H, W, C, MASKED)
      pixels = pixels + ((a, b, weight),)
    by_mean = blur(by_mean, mean, down, across)
    by_squares = blur(by_squares, square, down, across)
    by_product = blur(by_product, product, down, across)
    if j >= 1:
      for i in tl.static_range(2):
        pair = ()
        for k in tl.static_range(2):
          a, b, weight = pixels[2 * i + k]
          slope = by_mean[2 * i + k] + 2.0 * a * by_squares[2 * i + k]
          slope += b * by_product[2 * i + k]
          sign = (a > b).to(tl.float32) - (a < b).to(tl.float32)
          slope = weight * (L1 * sign - SSIM * slope) + 2.0 * L2 * (a - b)
          pair = pair + (slope * factor,)
        row = top + g + 8 * i
        store_pair(
          gradient + (channel * H + row) * W, x, pair[0], pair[1], row < H, W
        )
    by_mean, by_squares = by_mean[4:] + four, by_squares[4:] + four
    by_product = by_product[4:] + four
