"""The kernel of the loss's terms, and of the slopes of SSIM.

Of all that is blurred only the slopes go to memory, for `triton_gradient`.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005
import triton
import triton.language as tl
from jaxgs.kernels import triton_call
from jaxgs.kernels.loss.triton_strips import (
  RADIUS,
  blur,
  place,
  slide,
  touches_edge,
  window,
  zeros,
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
def _values(
  rendered,
  target,
  mask,
  sums,
  slopes,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  MASKED: tl.constexpr,
  EDGE: tl.constexpr,
  ROWS: tl.constexpr,
  PX: tl.constexpr,
  BLOCK: tl.constexpr,
):
  """`value_kernel` with or without an edge."""
  x, channel = place(C, PX, BLOCK)
  first = tl.program_id(1) * ROWS - RADIUS
  count = tl.minimum(ROWS + 2 * RADIUS, H + RADIUS - first)
  running = zeros(8 * RADIUS * PX, BLOCK)
  totals = zeros(3, BLOCK)
  row = tl.maximum(first, 0)
  next_a = window(rendered, mask, row, x, channel, W, C, MASKED, EDGE, PX)
  next_b = window(target, mask, row, x, channel, W, C, MASKED, EDGE, PX)
  for k in range(0, count):
    # Rows beyond the picture count as 0.
    row = tl.minimum(tl.maximum(first + k, 0), H - 1)
    there = (row == first + k).to(tl.float32)
    # The next row is on its way while this one is added.
    a = next_a
    b = next_b
    then = tl.minimum(tl.maximum(first + k + 1, 0), H - 1)
    next_a = window(rendered, mask, then, x, channel, W, C, MASKED, EDGE, PX)
    next_b = window(target, mask, then, x, channel, W, C, MASKED, EDGE, PX)
    squares = ()
    products = ()
    for t in tl.static_range(2 * RADIUS + PX):
      squares = squares + (a[t] * a[t] + b[t] * b[t],)
      products = products + (a[t] * b[t],)
    rows = blur(a, PX) + blur(b, PX)
    rows = rows + blur(squares, PX)
    rows = rows + blur(products, PX)
    running, done = slide(running, rows, there, 4 * PX)
    # Each row is compared by one part.
    compared = (k >= RADIUS) & (k < count - RADIUS)
    for i in tl.static_range(PX):
      inside = (x + i < W) & compared
      error = tl.where(inside, a[RADIUS + i] - b[RADIUS + i], 0.0)
      squared = error * error
      if MASKED:
        # Both came times the mask: it is in there twice.
        weight = tl.load(mask + row * W + x + i, mask=inside, other=0.0)
        squared = tl.where(weight > 0.0, squared / weight, 0.0)
      totals = (totals[0], totals[1] + tl.abs(error), totals[2] + squared)
    if k >= 2 * RADIUS:
      row = first + k - RADIUS
      for i in tl.static_range(PX):
        inside = x + i < W
        ssim, by_mean, by_squares, by_product = _similarity(
          done[i], done[PX + i], done[2 * PX + i], done[3 * PX + i]
        )
        if MASKED:
          weight = tl.load(mask + row * W + x + i, mask=inside, other=0.0)
          ssim *= weight
          by_mean *= weight
          by_squares *= weight
          by_product *= weight
        totals = (totals[0] + tl.where(inside, ssim, 0.0), totals[1], totals[2])
        out = slopes + (row * W + x + i) * C + channel
        tl.store(out, by_mean, mask=inside)
        tl.store(out + H * W * C, by_squares, mask=inside)
        tl.store(out + 2 * H * W * C, by_product, mask=inside)
  part = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
  for i in tl.static_range(3):
    tl.store(sums + 3 * part + i, tl.sum(totals[i], axis=0))


@triton.jit
def value_kernel(
  rendered,
  target,
  mask,
  sums,
  slopes,
  H: tl.constexpr,
  W: tl.constexpr,
  C: tl.constexpr,
  MASKED: tl.constexpr,
  ROWS: tl.constexpr,
  PX: tl.constexpr,
  BLOCK: tl.constexpr,
):
  """Sums over a part of a strip, and the slopes of SSIM.

  Arrays and constants:
    rendered, target: (B, H, W, C), a and b.
    mask: (B, H, W) if MASKED: multiplies both.
    sums: (B, parts, 3), written: sums of SSIM, |error|, error^2, each times
      the mask.
    slopes: (B, 3, H, W, C), written: mask times d SSIM / d blurred (a, a^2 +
      b^2, a b).
    ROWS: Of a part.
    PX: Neighbours in a row that share a lane.
    BLOCK: Lanes.
  """
  batch = tl.program_id(2).to(tl.int64)
  rendered += batch * (H * W * C)
  target += batch * (H * W * C)
  mask += batch * (H * W if MASKED else 0)
  sums += batch * (3 * tl.num_programs(0) * tl.num_programs(1))
  slopes += batch * (3 * H * W * C)
  # Two loops: most windows reach no edge and have nothing to check.
  if touches_edge(W, C, PX, BLOCK):
    _values(
      rendered,
      target,
      mask,
      sums,
      slopes,
      H,
      W,
      C,
      MASKED,
      True,
      ROWS,
      PX,
      BLOCK,
    )
  else:
    _values(
      rendered,
      target,
      mask,
      sums,
      slopes,
      H,
      W,
      C,
      MASKED,
      False,
      ROWS,
      PX,
      BLOCK,
    )
