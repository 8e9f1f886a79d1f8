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

  If EDGE, columns outside show the nearest one inside: no load needs a
  condition.
  """
  start = picture + row * (W * C) + channel
  if EDGE:
    to = tl.minimum(tl.maximum(x + shift, 0), W - 1)
    pointer = start + to * C
  else:
    to = x + shift
    # One address and a constant.
    pointer = start + x * C + shift * C
  if MASKED:
    weight = tl.load(mask + row * W + to)
    # What stands at 0 does not matter, NaN included.
    value = tl.load(pointer, mask=weight > 0.0, other=0.0) * weight
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
def _blur(values, x, W: tl.constexpr, EDGE: tl.constexpr, PX: tl.constexpr):
  """A window's values, blurred across, for each of PX pixels."""
  sums = ()
  for i in tl.static_range(PX):
    total = values[i] * 0.0
    for t in tl.static_range(2 * _RADIUS + 1):
      tap = _TAPS[t]
      if EDGE:
        there = x + (i + t - _RADIUS)
        tap = tl.where((there >= 0) & (there < W), _TAPS[t], 0.0)
      total += tap * values[i + t]
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


@triton.jit
def _similarity(mean_a, mean_b, squares, product):
  """SSIM, and its slopes by the blurred a, a^2 + b^2 and a b."""
  mean_ab = mean_a * mean_b
  mean_squares = mean_a * mean_a + mean_b * mean_b
  luminance_below = 1.0 / (mean_squares + _C1)
  structure_below = 1.0 / (squares - mean_squares + _C2)
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
  for k in range(0, count):
    # Rows beyond the picture count as 0.
    row = tl.minimum(tl.maximum(first + k, 0), H - 1)
    there = (row == first + k).to(tl.float32)
    a = _window(rendered, mask, row, x, channel, W, C, MASKED, EDGE, PX)
    b = _window(target, mask, row, x, channel, W, C, MASKED, EDGE, PX)
    squares = ()
    products = ()
    for t in tl.static_range(2 * _RADIUS + PX):
      squares = squares + (a[t] * a[t] + b[t] * b[t],)
      products = products + (a[t] * b[t],)
    rows = _blur(a, x, W, EDGE, PX) + _blur(b, x, W, EDGE, PX)
    rows = rows + _blur(squares, x, W, EDGE, PX)
    rows = rows + _blur(products, x, W, EDGE, PX)
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
        weight = inside.to(tl.float32)
        if MASKED:
          weight = tl.load(mask + row * W + x + i, mask=inside, other=0.0)
        ssim, by_mean, by_squares, by_product = _similarity(
          done[i], done[PX + i], done[2 * PX + i], done[3 * PX + i]
        )
        totals = (totals[0] + weight * ssim, totals[1], totals[2])
        out = slopes + (row * W + x + i) * C + channel
        tl.store(out, weight * by_mean, mask=inside)
        tl.store(out + H * W * C, weight * by_squares, mask=inside)
        tl.store(out + 2 * H * W * C, weight * by_product, mask=inside)
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
  for k in range(0, count):
    row = tl.minimum(tl.maximum(first + k, 0), H - 1)
    there = (row == first + k).to(tl.float32)
    # The row that will be finished.
    out = tl.maximum(first + k - _RADIUS, 0)
    a = ()
    b = ()
    weights = ()
    for i in tl.static_range(PX):
      value, weight = _load(
        rendered, mask, out, x, i, channel, W, C, MASKED, EDGE
      )
      a = a + (value,)
      value, _ = _load(target, mask, out, x, i, channel, W, C, MASKED, EDGE)
      b = b + (value,)
      weights = weights + (weight,)
    size: tl.constexpr = H * W * C
    by_mean = _window(slopes, mask, row, x, channel, W, C, False, EDGE, PX)
    by_squares = _window(
      slopes + size, mask, row, x, channel, W, C, False, EDGE, PX
    )
    by_product = _window(
      slopes + 2 * size, mask, row, x, channel, W, C, False, EDGE, PX
    )
    rows = _blur(by_mean, x, W, EDGE, PX) + _blur(by_squares, x, W, EDGE, PX)
    rows = rows + _blur(by_product, x, W, EDGE, PX)
    running, done = _slide(running, rows, there, 3 * PX)
    if k >= 2 * _RADIUS:
      for i in tl.static_range(PX):
        slope = done[i] + 2.0 * a[i] * done[PX + i] + b[i] * done[2 * PX + i]
        sign = (a[i] > b[i]).to(tl.float32) - (a[i] < b[i]).to(tl.float32)
        slope = weights[i] * (L1 * sign - SSIM * slope)
        slope += 2.0 * L2 * (a[i] - b[i])
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
