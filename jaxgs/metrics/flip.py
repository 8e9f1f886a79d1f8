"""FLIP: the difference one sees on switching between two pictures.

P. Andersson et al., "FLIP: A Difference Evaluator for Alternating Images",
Proc. ACM Comput. Graph. Interact. Tech. 3(2), 2020. Colours are blurred as the
eye does at the viewing distance (its section 4.1), their distance is taken in
CIELAB with the Hunt effect (4.1), and a distance at edges and points counts for
more (4.2). Not made for a loss: where two pictures agree its gradient is not
finite.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgs.metrics.color import to_rgb
from jaxgs.metrics.psnr import check_pair

# 3840 pixels over 0.7 m, seen from 0.7 m: what the paper assumes.
PIXELS_PER_DEGREE = 0.7 * 3840 / 0.7 * math.pi / 180

# Linear sRGB to XYZ, from the primaries and the D65 white point of IEC
# 61966-2-1 as exact fractions; the rows sum to the white point.
_TO_XYZ = np.array(
  [
    [10135552 / 24577794, 8788810 / 24577794, 4435075 / 24577794],
    [2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897],
    [1425312 / 73733382, 8788810 / 73733382, 70074185 / 73733382],
  ]
)
# Relative to white: grey has three equal values.
_TO_XYZ /= _TO_XYZ.sum(axis=1, keepdims=True)
_FROM_XYZ = np.linalg.inv(_TO_XYZ)

# Section 4.1.1: contrast sensitivity of each opponent channel as a sum of
# Gaussians, (a, b) of a sqrt(pi / b) exp(-pi^2 r^2 / b), r in degrees.
_SENSITIVITY = (
  ((1.0, 0.0047),),
  ((1.0, 0.0053),),
  ((34.1, 0.04), (13.5, 0.025)),
)
_FEATURE_WIDTH_DEGREES = 0.082  # Section 4.2.
_COLOR_POWER, _FEATURE_POWER = 0.7, 0.5
# Section 4.1.3: differences up to 0.4 of the largest take 0.95 of the range.
_KNEE_IN, _KNEE_OUT = 0.4, 0.95
# Between green and blue, the two colours that lie farthest apart (4.1.3).
_LARGEST_DISTANCE = 41.2761


def flip(
  a: jax.Array, b: jax.Array, *, pixels_per_degree: float = PIXELS_PER_DEGREE
) -> jax.Array:
  """Mean FLIP error of each picture (LDR-FLIP).

  Args:
    a: (..., H, W, C) float in [0, 1], sRGB; see `flip_map`.
    b: as `a`.
    pixels_per_degree: of visual angle; the default is a 3840 pixels and 0.7 m
      wide screen, 0.7 m away.

  Returns:
    (...,), of the dtype of `a`, in [0, 1]; 0 for identical pictures.

  Raises:
    ValueError: shapes or dtypes do not match, C is not 1 to 4, or
      pixels_per_degree is not positive.
  """
  error = flip_map(a, b, pixels_per_degree=pixels_per_degree)
  return jnp.mean(error, axis=(-2, -1))


def flip_map(
  a: jax.Array, b: jax.Array, *, pixels_per_degree: float = PIXELS_PER_DEGREE
) -> jax.Array:
  """FLIP error at each pixel (LDR-FLIP).

  Args:
    a: (..., H, W, C) float in [0, 1], sRGB; clipped. One channel is grey; a
      second or fourth is straight alpha, and the picture is laid on white.
    b: as `a`; the two can be exchanged.
    pixels_per_degree: see `flip`.

  Returns:
    (..., H, W), of the dtype of `a`, in [0, 1]; 0 where nothing differs.

  Raises:
    ValueError: as in `flip`.
  """
  check_pair(a, b)
  return linear_flip_map(_linear_pair(a, b), pixels_per_degree)


# Compiled as a whole also for a caller who does not, as in `ssim`.
@jax.jit
def _linear_pair(a, b):
  pair = jnp.clip(to_rgb(jnp.stack([a, b])), 0.0, 1.0)
  low = pair / 12.92
  return jnp.where(pair <= 0.04045, low, ((pair + 0.055) / 1.055) ** 2.4)


@functools.partial(jax.jit, static_argnames="pixels_per_degree")
def linear_flip_map(pair: jax.Array, pixels_per_degree: float) -> jax.Array:
  """FLIP error at each pixel of pictures without the curve of sRGB.

  Args:
    pair: (2, ..., H, W, 3) float in [0, 1], the two pictures in linear sRGB.
    pixels_per_degree: see `flip`.

  Returns:
    (..., H, W), of the dtype of `pair`, in [0, 1].

  Raises:
    ValueError: pixels_per_degree is not positive.
  """
  if not 0 < pixels_per_degree < math.inf:
    raise ValueError(
      f"pixels_per_degree must be positive, got {pixels_per_degree}"
    )
  x, y, z = jnp.moveaxis(_mix(pair, _TO_XYZ), -1, 0)
  # YyCxCz without its factors and its offset: every blur undoes them.
  color = _color_difference(_seen(y, x - y, y - z, pixels_per_degree))
  feature = _feature_difference(y, pixels_per_degree)
  return color ** (1.0 - feature)


def _seen(y, red_green, blue_yellow, pixels_per_degree: float) -> jax.Array:
  """Blurs the opponent channels; returns linear RGB within the gamut."""
  taps, weights = _sensitivity_taps(pixels_per_degree)
  planes = jnp.stack([y, red_green, blue_yellow, blue_yellow], -3)
  planes = _correlate(planes, taps, taps)
  y, red_green, wide, narrow = jnp.moveaxis(planes, -3, 0)
  blue_yellow = weights[0] * wide + weights[1] * narrow
  xyz = jnp.stack([y + red_green, y, y - blue_yellow], -1)
  return jnp.clip(_mix(xyz, _FROM_XYZ), 0.0, 1.0)


def _color_difference(rgb: jax.Array) -> jax.Array:
  """HyAB distance of two pictures, spread over [0, 1]."""
  lab = _hunt_lab(_mix(rgb, _TO_XYZ))
  distance = _hyab(lab[0], lab[1]) ** _COLOR_POWER
  knee = _KNEE_IN * _LARGEST_DISTANCE
  slope = (1 - _KNEE_OUT) / (_LARGEST_DISTANCE - knee)
  below = distance * (_KNEE_OUT / knee)
  above = _KNEE_OUT + (distance - knee) * slope
  return jnp.where(distance < knee, below, above)


def _hunt_lab(xyz):
  """CIELAB of XYZ relative to white; colours fade where it is dark."""
  # CIE 15: a cube root with a straight line below (6/29)^3.
  low = xyz / (3 * (6 / 29) ** 2) + 4 / 29
  f = jnp.where(xyz > (6 / 29) ** 3, jnp.cbrt(xyz), low)
  lightness = 116 * f[..., 1] - 16
  red = 500 * (f[..., 0] - f[..., 1]) * 0.01 * lightness
  blue = 200 * (f[..., 1] - f[..., 2]) * 0.01 * lightness
  return jnp.stack([lightness, red, blue], -1)


def _hyab(a, b):
  """City-block in lightness, Euclidean in colour."""
  d = a - b
  return jnp.abs(d[..., 0]) + jnp.hypot(d[..., 1], d[..., 2])


def _feature_difference(y: jax.Array, pixels_per_degree: float) -> jax.Array:
  """How much edges and points of two luminances differ, in [0, 1]."""
  smooth, edge, point = _feature_taps(pixels_per_degree)
  planes = jnp.stack([y, y, y, y], -3)
  along_x = np.stack([edge, smooth, point, smooth])
  along_y = np.stack([smooth, edge, smooth, point])
  planes = _correlate(planes, along_y, along_x)
  edges = jnp.hypot(planes[..., 0, :, :], planes[..., 1, :, :])
  points = jnp.hypot(planes[..., 2, :, :], planes[..., 3, :, :])
  difference = jnp.maximum(
    jnp.abs(edges[0] - edges[1]), jnp.abs(points[0] - points[1])
  )
  return (difference / math.sqrt(2)) ** _FEATURE_POWER


@functools.cache
def _sensitivity_taps(pixels_per_degree: float):
  """Windows of the four Gaussians, (4, K), and the weights of the last two."""
  widest = max(b for channel in _SENSITIVITY for _, b in channel)
  deviation = math.sqrt(widest / (2 * math.pi**2))
  radius = math.ceil(3 * deviation * pixels_per_degree)
  square = (np.arange(-radius, radius + 1) / pixels_per_degree) ** 2
  taps, sums = [], []
  for a, b in (gaussian for channel in _SENSITIVITY for gaussian in channel):
    window = np.exp(-(math.pi**2) * square / b)
    taps.append(window / window.sum())
    sums.append(a * math.sqrt(math.pi / b) * window.sum() ** 2)
  total = sums[2] + sums[3]
  return np.stack(taps), (sums[2] / total, sums[3] / total)


@functools.cache
def _feature_taps(pixels_per_degree: float):
  """A Gaussian and its first two derivatives; each sign sums to 1."""
  deviation = 0.5 * _FEATURE_WIDTH_DEGREES * pixels_per_degree
  radius = math.ceil(3 * deviation)
  x = np.arange(-radius, radius + 1) / deviation
  smooth = np.exp(-(x**2) / 2)
  taps = [smooth / smooth.sum()]
  for window in (-x * smooth, (x**2 - 1) * smooth):
    positive, negative = np.maximum(window, 0), np.maximum(-window, 0)
    taps.append(positive / positive.sum() - negative / negative.sum())
  return taps


def _mix(x: jax.Array, matrix: np.ndarray) -> jax.Array:
  """Multiplies the last axis by a matrix."""
  # Not a matrix product, which a GPU would do with 10 bits of mantissa.
  return jnp.stack(
    [sum(float(m) * x[..., i] for i, m in enumerate(row)) for row in matrix], -1
  )


def _correlate(planes: jax.Array, taps_y: np.ndarray, taps_x: np.ndarray):
  """Correlates (..., F, H, W) with F separable windows, each (F, K).

  Around the picture its border goes on.
  """
  height, width = planes.shape[-2:]
  num_taps = taps_y.shape[1]
  keep = [(0, 0)] * (planes.ndim - 2)
  margin = (num_taps // 2, num_taps // 2)
  shape = (num_taps, *[1] * (planes.ndim - 3), -1, 1, 1)
  taps_y, taps_x = (
    jnp.asarray(taps.T, planes.dtype).reshape(shape)
    for taps in (taps_y, taps_x)
  )
  rows = jnp.pad(planes, [*keep, margin, (0, 0)], mode="edge")
  planes = sum(
    taps_y[k] * rows[..., k : k + height, :] for k in range(num_taps)
  )
  columns = jnp.pad(planes, [*keep, (0, 0), margin], mode="edge")
  return sum(taps_x[k] * columns[..., k : k + width] for k in range(num_taps))
