"""Value and gradient of the loss with its SSIM term, in two kernels.

The window is separable. A program walks down a strip of the picture: it blurs
each row across, from loads that the cache serves, and each lane adds the result
to the running sums of the rows whose windows it is in. So pictures are read
once, and of what is blurred only the slopes of SSIM go to memory.

Only imported once a kernel is needed: this needs the package triton.
"""

import math

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005
import triton
import triton.language as tl
from jaxgs.kernels import triton_call

# The window of jaxgs.metrics.ssim: 11 taps of sigma 1.5, of sum 1.
_RADIUS = tl.constexpr(5)
_RAW = [math.exp(-0.5 * (i / 1.5) ** 2) for i in range(-5, 6)]
_TAPS = tl.constexpr(tuple(tap / sum(_RAW) for tap in _RAW))
_C1 = tl.constexpr(0.01**2)
_C2 = tl.constexpr(0.03**2)


@triton.jit
def _zeros(COUNT: tl.constexpr, BLOCK: tl.constexpr):
  """A tuple of COUNT times BLOCK zeros."""
  zero = tl.zeros([BLOCK], tl.float32)
  zeros = (zero,)
  for _ in tl.static_range(1, COUNT):
    zeros = zeros + (zero,)
  return zeros


@triton.jit
def _place(C: tl.constexpr, PX: tl.constexpr, BLOCK: tl.constexpr):
  """Column of a lane's first pixel and its channel; PX pixels per lane."""
  lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
  return lane // C * PX, lane % C


@triton.jit
def _touches_edge(
  W: tl.constexpr, C: tl.constexpr, PX: tl.constexpr, BLOCK: tl.constexpr
):
  """Whether windows of the program reach beyond the left or right edge."""
  first = tl.program_id(0) * BLOCK // C * PX
  last = (tl.program_id(0) * BLOCK + BLOCK - 1) // C * PX + PX - 1
  return (first < _RADIUS) | (last + _RADIUS >= W)


@triton.jit
def _load(
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
def _window(
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
  for t in tl.static_range(2 * _RADIUS + PX):
    value, _ = _load(
      picture, mask, row, x, t - _RADIUS, channel, W, C, MASKED, EDGE
    )
    values = values + (value,)
  return values


@triton.jit
def _blur(values, PX: tl.constexpr):
  """A window's values, blurred across, for each of PX pixels."""
  sums = ()
  for i in tl.static_range(PX):
    total = _TAPS[0] * values[i]
    for t in tl.static_range(1, 2 * _RADIUS + 1):
      total += _TAPS[t] * values[i + t]
    sums = sums + (total,)
  return sums


@triton.jit
def _slide(sums, rows, there, COUNT: tl.constexpr):
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
    done = done + (sums[i] + _TAPS[0] * (there * rows[i]),)
  new = ()
  for i in tl.static_range(2 * _RADIUS * COUNT):
    value = _TAPS[i // COUNT + 1] * (there * rows[i % COUNT])
    if i + COUNT < 2 * _RADIUS * COUNT:
      value = sums[i + COUNT] + value
    new = new + (value,)
  return new, done


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
  x, channel = _place(C, PX, BLOCK)
  first = tl.program_id(1) * ROWS - _RADIUS
  count = tl.minimum(ROWS + 2 * _RADIUS, H + _RADIUS - first)
  running = _zeros(8 * _RADIUS * PX, BLOCK)
  totals = _zeros(3, BLOCK)
  row = tl.maximum(first, 0)
  next_a = _window(rendered, mask, row, x, channel, W, C, MASKED, EDGE, PX)
  next_b = _window(target, mask, row, x, channel, W, C, MASKED, EDGE, PX)
  for k in range(0, count):
    # Rows beyond the picture count as 0.
    row = tl.minimum(tl.maximum(first + k, 0), H - 1)
    there = (row == first + k).to(tl.float32)
    # The next row is on its way while this one is added.
    a = next_a
    b = next_b
    then = tl.minimum(tl.maximum(first + k + 1, 0), H - 1)
    next_a = _window(rendered, mask, then, x, channel, W, C, MASKED, EDGE, PX)
    next_b = _window(target, mask, then, x, channel, W, C, MASKED, EDGE, PX)
    squares = ()
    products = ()
    for t in tl.static_range(2 * _RADIUS + PX):
      squares = squares + (a[t] * a[t] + b[t] * b[t],)
      products = products + (a[t] * b[t],)
    rows = _blur(a, PX) + _blur(b, PX)
    rows = rows + _blur(squares, PX)
    rows = rows + _blur(products, PX)
    running, done = _slide(running, rows, there, 4 * PX)
    # Each row is compared by one part.
    compared = (k >= _RADIUS) & (k < count - _RADIUS)
    for i in tl.static_range(PX):
      inside = (x + i < W) & compared
      error = tl.where(inside, a[_RADIUS + i] - b[_RADIUS + i], 0.0)
      squared = error * error
      if MASKED:
        # Both came times the mask: it is in there twice.
        weight = tl.load(mask + row * W + x + i, mask=inside, other=0.0)
        squared = tl.where(weight > 0.0, squared / weight, 0.0)
      totals = (totals[0], totals[1] + tl.abs(error), totals[2] + squared)
    if k >= 2 * _RADIUS:
      row = first + k - _RADIUS
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
  if _touches_edge(W, C, PX, BLOCK):
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
    window = _window(start, slopes, row, x, channel, W, C, False, EDGE, PX)
    windows = windows + window
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
    a, weight = _load(rendered, mask, row, x, i, channel, W, C, MASKED, EDGE)
    b, _ = _load(target, mask, row, x, i, channel, W, C, MASKED, EDGE)
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
  x, channel = _place(C, PX, BLOCK)
  first = tl.program_id(1) * ROWS - _RADIUS
  count = tl.minimum(ROWS + 2 * _RADIUS, H + _RADIUS - first)
  running = _zeros(6 * _RADIUS * PX, BLOCK)
  row = tl.maximum(first, 0)
  next_slopes = _slopes(slopes, row, x, channel, H, W, C, EDGE, PX)
  next_pixels = _pixels(
    rendered, target, mask, 0, x, channel, W, C, MASKED, EDGE, PX
  )
  for k in range(0, count):
    row = tl.minimum(tl.maximum(first + k, 0), H - 1)
    there = (row == first + k).to(tl.float32)
    # The row that will be finished.
    out = tl.maximum(first + k - _RADIUS, 0)
    rows = next_slopes
    pixels = next_pixels
    then = tl.minimum(tl.maximum(first + k + 1, 0), H - 1)
    next_slopes = _slopes(slopes, then, x, channel, H, W, C, EDGE, PX)
    then = tl.minimum(tl.maximum(first + k + 1 - _RADIUS, 0), H - 1)
    next_pixels = _pixels(
      rendered, target, mask, then, x, channel, W, C, MASKED, EDGE, PX
    )
    width: tl.constexpr = 2 * _RADIUS + PX
    blurred = _blur(rows[:width], PX) + _blur(rows[width : 2 * width], PX)
    blurred = blurred + _blur(rows[2 * width :], PX)
    running, done = _slide(running, blurred, there, 3 * PX)
    if k >= 2 * _RADIUS:
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
    rendered, target, mask, slopes: See `value_kernel`.
    scale: (B,), 1 / (sum of the mask over pixels and channels).
    gradient: (B, H, W, C), written.
    L1, L2, SSIM: Weights of the terms.
    ROWS, PX, BLOCK: As in `value_kernel`.
  """
  batch = tl.program_id(2).to(tl.int64)
  rendered += batch * (H * W * C)
  target += batch * (H * W * C)
  mask += batch * (H * W if MASKED else 0)
  slopes += batch * (3 * H * W * C)
  gradient += batch * (H * W * C)
  factor = tl.load(scale + batch)
  if _touches_edge(W, C, PX, BLOCK):
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
