"""The kernel of the loss's terms, and of the slopes of SSIM.

Of all that is blurred only the slopes go to memory, for `triton_gradient`.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005
import triton
import triton.language as tl
from jaxgs.kernels import triton_call
from jaxgs.kernels.loss.triton_bands import (
  HEIGHT,
  RADIUS,
  blur,
  column,
  place,
  store_pair,
  taps,
)

_C1 = tl.constexpr(0.01**2)
_C2 = tl.constexpr(0.03**2)


if triton_call.interpreted():

  @triton.jit
  def _inverse(x):
    """1 / x."""
    return 1.0 / x

else:

  @triton.jit
  def _inverse(x):
    """1 / x to the last bit but one, in one instruction."""
    return tl.inline_asm_elementwise(
      "rcp.approx.ftz.f32 $0, $1;",
      "=f,f",
      [x],
      dtype=tl.float32,
      is_pure=True,
      pack=1,
    )


@triton.jit
def _similarity(mean_a, mean_b, squares, product):
  """SSIM, and its slopes by the blurred a, a^2 + b^2 and a b."""
  mean_ab = mean_a * mean_b
  mean_squares = mean_a * mean_a + mean_b * mean_b
  luminance_below = _inverse(mean_squares + _C1)
  structure_below = _inverse(squares - mean_squares + _C2)
  luminance = (2.0 * mean_ab + _C1) * luminance_below
  structure = (2.0 * (product - mean_ab) + _C2) * structure_below
  by_luminance = 2.0 * (mean_b - luminance * mean_a) * luminance_below
  by_structure = 2.0 * (structure * mean_a - mean_b) * structure_below
  by_mean = structure * by_luminance + luminance * by_structure
  by_squares = -luminance * structure * structure_below
  by_product = 2.0 * luminance * structure_below
  return luminance * structure, by_mean, by_squares, by_product


@triton.jit
def _weigh(values, weight):
  """Each of four values times the weight."""
  a, b, c, d = values
  return a * weight, b * weight, c * weight, d * weight


@triton.jit
def value_kernel(
  rendered,
  target,
  mask,
  sums,
  slopes,
  H: tl.constexpr,
  W: tl.constexpr,
  PADDED: tl.constexpr,
  C: tl.constexpr,
  MASKED: tl.constexpr,
  TILES: tl.constexpr,
  WARPS: tl.constexpr,
):
  """Sums over a part of a band, and the slopes of SSIM.

  Arrays and constants:
    rendered, target: (B, H, W, C), a and b.
    mask: (B, H, W) if MASKED: multiplies both.
    sums: (B, parts, 3), written: sums of SSIM, |error|, error^2, each times
      the mask.
    slopes: (B, 3, C, H, PADDED), written: mask times d SSIM / d blurred (a, a^2
      + b^2, a b).
    PADDED: W, or the next even number.
    TILES: 8 columns each, along which a warp walks.
    WARPS: Of a program.
  """
  batch = tl.program_id(2).to(tl.int64)
  rendered += batch * (H * W * C)
  target += batch * (H * W * C)
  mask += batch * (H * W if MASKED else 0)
  sums += batch * (3 * tl.num_programs(0) * tl.num_programs(1))
  slopes += batch * (3 * C * H * PADDED)
  g, t, left, top, channel = place(C, TILES, WARPS)
  down, across = taps(g, t)
  zero = tl.zeros_like(down[0][0])
  similarity, absolute, squared = zero, zero, zero
  four = (zero, zero, zero, zero)
  means_a, means_b = four + four + four, four + four + four
  squares, products = four + four + four, four + four + four
  x = left - 8 + g
  next_a = column(rendered, mask, top, x, t, channel, H, W, C, MASKED)
  next_b = column(target, mask, top, x, t, channel, H, W, C, MASKED)
  for j in range(-1, TILES + 1):
    x = left + 8 * j + g
    a, b = next_a, next_b
    # The next columns are on their way while these are added.
    next_a = column(rendered, mask, top, x + 8, t, channel, H, W, C, MASKED)
    next_b = column(target, mask, top, x + 8, t, channel, H, W, C, MASKED)
    own = (j >= 0) & (j < TILES)
    square, product = (), ()
    for k in tl.static_range(HEIGHT):
      square = square + (a[k] * a[k] + b[k] * b[k],)
      product = product + (a[k] * b[k],)
      row = 4 * k + t - RADIUS
      error = tl.where(own & (row >= 0) & (row < 16), a[k] - b[k], 0.0)
      absolute += tl.abs(error)
      if MASKED:
        # Both came times the mask: it is in there twice.
        inside = (error != 0.0) & (x < W)
        weight = tl.load(mask + (top + row) * W + x, mask=inside, other=1.0)
        squared += error * error / weight
      else:
        squared += error * error
    means_a = blur(means_a, a, down, across)
    means_b = blur(means_b, b, down, across)
    squares = blur(squares, square, down, across)
    products = blur(products, product, down, across)
    if j >= 1:
      x = left + 8 * (j - 1) + 2 * t
      for i in tl.static_range(2):
        row = top + g + 8 * i
        out = slopes + (channel * H + row) * PADDED
        first = _similarity(
          means_a[2 * i], means_b[2 * i], squares[2 * i], products[2 * i]
        )
        second = _similarity(
          means_a[2 * i + 1],
          means_b[2 * i + 1],
          squares[2 * i + 1],
          products[2 * i + 1],
        )
        if MASKED:
          inside = (row < H) & (x < W)
          at = mask + row * W + x
          first = _weigh(first, tl.load(at, mask=inside, other=0.0))
          inside = inside & (x + 1 < W)
          second = _weigh(second, tl.load(at + 1, mask=inside, other=0.0))
        similarity += tl.where((row < H) & (x < W), first[0], 0.0)
        similarity += tl.where((row < H) & (x + 1 < W), second[0], 0.0)
        for m in tl.static_range(3):
          plane = out + m * (C * H * PADDED)
          store_pair(plane, x, first[m + 1], second[m + 1], row < H, PADDED)
    means_a, means_b = means_a[4:] + four, means_b[4:] + four
    squares, products = squares[4:] + four, products[4:] + four
  part = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
  tl.store(sums + 3 * part, tl.sum(similarity, axis=0))
  tl.store(sums + 3 * part + 1, tl.sum(absolute, axis=0))
  tl.store(sums + 3 * part + 2, tl.sum(squared, axis=0))
