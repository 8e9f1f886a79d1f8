"""The kernels of the projection: a splat per lane.

Only imported once a kernel is needed: this needs the package triton.
"""

import triton
import triton.language as tl
from jaxgs.kernels import triton_call
from triton.language.extra.cuda import libdevice

from jaxgs import math

_LEAST = tl.constexpr(math.LOG_SCALE_MIN)
_MOST = tl.constexpr(math.LOG_SCALE_MAX)
_FARTHEST = tl.constexpr(math.FARTHEST_PX)


if triton_call.interpreted():

  @triton.jit
  def _exp(x):
    return tl.exp(x)

else:

  @triton.jit
  def _exp(x):
    """To two units in the last place: tl.exp is off by 2^-24 |x| and more."""
    return libdevice.exp(x)


@triton.jit
def clip(x, low, high):
  """Between the bounds; NaN stays NaN."""
  x = tl.where(x < low, low, x)
  return tl.where(x > high, high, x)


@triton.jit
def _load_pair(array, n, mask):
  """Both entries of row n of (N, 2)."""
  x = tl.load(array + 2 * n, mask=mask, other=0.0)
  y = tl.load(array + 2 * n + 1, mask=mask, other=0.0)
  return x, y


@triton.jit
def _store_pair(array, n, x, y, mask):
  """Writes row n of (N, 2)."""
  tl.store(array + 2 * n, x, mask=mask)
  tl.store(array + 2 * n + 1, y, mask=mask)


@triton.jit
def _shift(offset, MOVED: tl.constexpr):
  """The corner of the window, px; 0 where there is none."""
  x, y = 0.0, 0.0
  if MOVED:
    x, y = tl.load(offset), tl.load(offset + 1)
  return x, y


@triton.jit
def _variance(log_scale, SCALE: tl.constexpr):
  """Square of a standard deviation after magnification, without the blur."""
  return _exp(2.0 * clip(log_scale, _LEAST, _MOST)) * (SCALE * SCALE)


@triton.jit
def project_kernel(
  mean,
  log_scale,
  angle,
  log_weight,
  active,
  offset,
  placed,
  conic,
  placed_weight,
  N: tl.constexpr,
  SCALE: tl.constexpr,
  BLUR: tl.constexpr,
  MASKED: tl.constexpr,
  MOVED: tl.constexpr,
  S: tl.constexpr,
):
  """Splats of Gaussians; the formulas are those of `jaxgs.placement`.

  Arrays and constants:
    mean, log_scale: (B, N, 2).
    angle, log_weight: (B, N).
    active: (B, N) bool, read if MASKED.
    offset: (B, 2), read if MOVED.
    placed: (B, N, 2), written: centres.
    conic: (B, N, 3), written.
    placed_weight: (B, N), written: log-weights.
    SCALE: Magnification.
    BLUR: Variance added after it, px^2.
    S: Splats of a program.
  """
  batch = tl.program_id(1).to(tl.int64)
  n = tl.program_id(0) * S + tl.arange(0, S)
  mask = n < N
  row = batch * N + n
  x, y = _load_pair(mean, row, mask)
  l1, l2 = _load_pair(log_scale, row, mask)
  turn = tl.load(angle + row, mask=mask, other=0.0)
  weight = tl.load(log_weight + row, mask=mask, other=0.0)
  left, top = _shift(offset + 2 * batch, MOVED)
  x = clip(x * SCALE - left, -_FARTHEST, _FARTHEST)
  y = clip(y * SCALE - top, -_FARTHEST, _FARTHEST)
  _store_pair(placed, row, x, y, mask)

  v1, v2 = _variance(l1, SCALE), _variance(l2, SCALE)
  i1, i2 = 1.0 / (v1 + BLUR), 1.0 / (v2 + BLUR)
  # Triton takes libdevice's, which are exact for large angles too: a needle
  # would turn with an error. A test looks at the PTX.
  cos, sin = tl.cos(turn), tl.sin(turn)
  tl.store(conic + 3 * row, cos * cos * i1 + sin * sin * i2, mask=mask)
  tl.store(conic + 3 * row + 1, cos * sin * (i1 - i2), mask=mask)
  tl.store(conic + 3 * row + 2, sin * sin * i1 + cos * cos * i2, mask=mask)

  if BLUR > 0.0:
    weight += 0.5 * (tl.log(v1 * i1) + tl.log(v2 * i2))
  if MASKED:
    drawn = tl.load(active + row, mask=mask, other=0)
    weight = tl.where(drawn, weight, float("-inf"))
  tl.store(placed_weight + row, weight, mask=mask)


@triton.jit
def _scale_slope(
  log_scale, by_inverse, by_weight, SCALE: tl.constexpr, BLUR: tl.constexpr
):
  """Slope by log_scale from those by 1 / variance and by the log-weight."""
  variance = _variance(log_scale, SCALE)
  inverse = 1.0 / (variance + BLUR)
  # Of 1 / (v + BLUR) and of log(v / (v + BLUR)) / 2, with dv = 2 v.
  slope = -2.0 * (variance * inverse) * inverse * by_inverse
  slope += BLUR * inverse * by_weight
  inside = (log_scale >= _LEAST) & (log_scale <= _MOST)
  return tl.where(inside, slope, 0.0)


@triton.jit
def gradient_kernel(
  mean,
  log_scale,
  angle,
  active,
  offset,
  by_placed,
  by_conic,
  by_placed_weight,
  by_mean,
  by_log_scale,
  by_angle,
  by_log_weight,
  N: tl.constexpr,
  SCALE: tl.constexpr,
  BLUR: tl.constexpr,
  MASKED: tl.constexpr,
  MOVED: tl.constexpr,
  S: tl.constexpr,
):
  """Gradient of the Gaussians from that of the splats.

  Arrays and constants, and those of `project_kernel`:
    by_placed: (B, N, 2), d loss / d placed.
    by_conic: (B, N, 3).
    by_placed_weight: (B, N).
    by_mean, by_log_scale: (B, N, 2), written.
    by_angle, by_log_weight: (B, N), written.
  """
  batch = tl.program_id(1).to(tl.int64)
  n = tl.program_id(0) * S + tl.arange(0, S)
  mask = n < N
  row = batch * N + n
  x, y = _load_pair(mean, row, mask)
  l1, l2 = _load_pair(log_scale, row, mask)
  turn = tl.load(angle + row, mask=mask, other=0.0)
  by_x, by_y = _load_pair(by_placed, row, mask)
  by_a = tl.load(by_conic + 3 * row, mask=mask, other=0.0)
  by_b = tl.load(by_conic + 3 * row + 1, mask=mask, other=0.0)
  by_c = tl.load(by_conic + 3 * row + 2, mask=mask, other=0.0)
  by_weight = tl.load(by_placed_weight + row, mask=mask, other=0.0)
  left, top = _shift(offset + 2 * batch, MOVED)
  if MASKED:
    drawn = tl.load(active + row, mask=mask, other=0)
    by_weight = tl.where(drawn, by_weight, 0.0)
  tl.store(by_log_weight + row, by_weight, mask=mask)
  by_x = tl.where(tl.abs(x * SCALE - left) <= _FARTHEST, SCALE * by_x, 0.0)
  by_y = tl.where(tl.abs(y * SCALE - top) <= _FARTHEST, SCALE * by_y, 0.0)
  _store_pair(by_mean, row, by_x, by_y, mask)

  cos, sin = tl.cos(turn), tl.sin(turn)
  cos2, sin2, both = cos * cos, sin * sin, cos * sin
  by_i1 = cos2 * by_a + both * by_b + sin2 * by_c
  by_i2 = sin2 * by_a - both * by_b + cos2 * by_c
  slope1 = _scale_slope(l1, by_i1, by_weight, SCALE, BLUR)
  slope2 = _scale_slope(l2, by_i2, by_weight, SCALE, BLUR)
  _store_pair(by_log_scale, row, slope1, slope2, mask)
  i1 = 1.0 / (_variance(l1, SCALE) + BLUR)
  i2 = 1.0 / (_variance(l2, SCALE) + BLUR)
  turned = 2.0 * both * (by_c - by_a) + (cos2 - sin2) * by_b
  tl.store(by_angle + row, (i1 - i2) * turned, mask=mask)
