"""Pictures to the values in [0, 1] that a file stores, and back.

Values of high dynamic range go through a curve, colours may be multiplied by
alpha, and normal maps get their length back. numpy; what the metrics share
takes arrays of jax too.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from jaxgs.codec.maps import LEVEL_MAX, OCTAVE, Map
from jaxgs.math import array_module

# PU21 "banding_glare", p1 to p7: Mantiuk and Azimi, "PU21: A novel perceptually
# uniform encoding for adapting existing quality metrics for HDR", PCS 2021,
# table 1. For luminances of 0.005 to 10000 cd/m^2.
_PU21 = (
  0.353487901,
  0.3734658629,
  8.277049286e-05,
  0.9062562627,
  0.09150303166,
  0.9099517204,
  596.3148142,
)

# The curve "log" bends at the typical value over this: below, its steps are
# even; above, relative. A scene's shadows are a few octaves below its middle.
_SHADOWS = 8.0

# The largest luminance of a picture under "pu", cd/m^2, where nobody says.
PEAK_LUMINANCE = 1000.0

# What colours of alpha are stored as where nobody says.
DEFAULT_ALPHA = "premultiplied"

_HALF_MAX = 65504.0


def pu21_encode(luminance):
  """The PU21 encoding, "banding_glare".

  Args:
    luminance: Float array of numpy or jax, cd/m^2, >= 0. Meant for 0.005 to
      10000; below, values go on down to -0.43.

  Returns:
    Perceptually uniform values: 0 at 0.005 cd/m^2, about 256 at 100, 595 at
    10000.
  """
  p1, p2, p3, p4, p5, p6, p7 = _PU21
  power = luminance**p4
  return p7 * (((p1 + p2 * power) / (1.0 + p3 * power)) ** p5 - p6)


def pu21_decode(value):
  """Inverse of `pu21_encode`: cd/m^2."""
  xp = array_module(value)
  p1, p2, p3, p4, p5, p6, p7 = _PU21
  ratio = xp.maximum(value / p7 + p6, 0.0) ** (1.0 / p5)
  return (xp.maximum(ratio - p1, 0.0) / (p2 - p3 * ratio)) ** (1.0 / p4)


def typical_value(pixels: np.ndarray) -> float:
  """The geometric mean of the positive values; 1 if there are none."""
  positive = pixels[pixels > 0]
  if not positive.size:
    return 1.0
  return float(np.exp(np.mean(np.log(positive, dtype=np.float64))))


def curve_of(
  colors: np.ndarray, curve: str, peak_luminance: float = PEAK_LUMINANCE
) -> dict:
  """The parameters of a curve that suits a picture.

  Args:
    colors: (H, W, C) float, >= 0, premultiplied if they will be.
    curve: "none", "log" or "pu".
    peak_luminance: Of the largest value, cd/m^2, for "pu".

  Returns:
    `curve`, `curve_scale` and `curve_peak` of a codec.Map.
  """
  if curve == "none":
    return {"curve": "none"}
  largest = float(colors.max()) or 1.0
  # Rounded up: no value is beyond the peak.
  peak = min(math.ceil(math.log2(largest) * OCTAVE), LEVEL_MAX)
  if curve == "log":
    scale = _level(typical_value(colors) / _SHADOWS)
    scale = min(max(scale, peak - 120 * OCTAVE), peak + 24 * OCTAVE)
  else:
    scale = _level(peak_luminance) - peak
  peak, scale = (max(min(x, LEVEL_MAX), -LEVEL_MAX) for x in (peak, scale))
  return {"curve": curve, "curve_scale": scale, "curve_peak": peak}


def _level(value: float) -> int:
  return round(math.log2(value) * OCTAVE)


def _numbers(one: Map) -> tuple[float, float]:
  """Scale and peak of a map's curve."""
  return 2.0 ** (one.curve_scale / OCTAVE), 2.0 ** (one.curve_peak / OCTAVE)


def _pu_ends(one: Map) -> tuple[float, float]:
  scale, peak = _numbers(one)
  return pu21_encode(0.0), pu21_encode(scale * peak)


def _through_curve(values: np.ndarray, one: Map) -> np.ndarray:
  """float64 in [0, 1] of values >= 0."""
  scale, peak = _numbers(one)
  values = np.minimum(values.astype(np.float64), peak)
  if one.curve == "log":
    return np.log1p(values / scale) / np.log1p(peak / scale)
  low, high = _pu_ends(one)
  return (pu21_encode(scale * values) - low) / (high - low)


def _back_through_curve(coded: np.ndarray, one: Map) -> np.ndarray:
  """float32 >= 0 of values in [0, 1]."""
  scale, peak = _numbers(one)
  if one.curve == "log":
    return np.float32(scale) * np.expm1(
      coded * np.float32(np.log1p(peak / scale))
    )
  low, high = _pu_ends(one)
  values = pu21_decode(low + coded.astype(np.float64) * (high - low)) / scale
  return values.astype(np.float32)


def dtype_of(one: Map) -> type:
  """Of the decoded samples of a map."""
  if one.sample != "integer":
    return np.float32
  return np.uint8 if one.bit_depth == 8 else np.uint16


def levels_to_float(samples: np.ndarray) -> np.ndarray:
  """Samples as float32: integers in [0, 1], floats as they are."""
  if samples.dtype.kind == "f":
    return samples.astype(np.float32)
  return samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)


def premultiply(pixels: np.ndarray) -> np.ndarray:
  """Colours times alpha, the last channel, which stays.

  Args:
    pixels: (..., C) float, C >= 2.

  Returns:
    (..., C).
  """
  alpha = pixels[..., -1:]
  return np.concatenate([pixels[..., :-1] * alpha, alpha], axis=-1)


def unpremultiply(pixels: np.ndarray) -> np.ndarray:
  """Inverse of `premultiply`; 0 where alpha is."""
  colors, alpha = pixels[..., :-1], pixels[..., -1:]
  straight = colors / np.where(alpha > 0, alpha, np.float32(1))
  straight = np.where(alpha > 0, straight, np.float32(0))
  return np.concatenate([straight, alpha], axis=-1)


def to_coded(pixels: np.ndarray, one: Map) -> np.ndarray:
  """A picture as the values that a file stores.

  Args:
    pixels: (H, W, C) float32, >= 0, alpha straight and in [0, 1]; all in
      [0, 1] where the map has no curve.
    one: What the file says about it.

  Returns:
    (H, W, C) float32 in [0, 1].
  """
  if one.alpha == "premultiplied":
    pixels = premultiply(pixels)
  if one.curve != "none":
    colors = _through_curve(pixels[..., : one.num_colors], one)
    pixels = np.concatenate(
      [colors.astype(np.float32), pixels[..., one.num_colors :]], axis=-1
    )
  return np.clip(pixels, 0.0, 1.0)


def to_shown(samples: np.ndarray, one: Map) -> np.ndarray:
  """What a screen can show of decoded samples: linear light under its curve.

  Args:
    samples: (H, W, C), as from `from_coded`.
    one: What the file says about them.

  Returns:
    (H, W, C) float32 in [0, 1], alpha straight.
  """
  alpha = "straight" if one.has_alpha else "none"
  straight = dataclasses.replace(one, alpha=alpha)
  return to_coded(levels_to_float(samples), straight)


def from_coded(coded: np.ndarray, one: Map) -> np.ndarray:
  """The samples that stored values stand for.

  Args:
    coded: (H, W, C) float32, as drawn.
    one: What the file says about them.

  Returns:
    (H, W, C), alpha straight: uint8, uint16, or float32 >= 0, which is rounded
    to half precision and at most 65504 if the map has halves.
  """
  # Not clip: weights that overflow give NaN, which has no level.
  pixels = np.fmin(np.fmax(coded, np.float32(0)), np.float32(1))
  colors, alpha = np.split(pixels, [one.num_colors], axis=-1)
  if one.is_normal:
    colors = _of_length_one(colors)
  if one.curve != "none":
    colors = _back_through_curve(colors, one)
  pixels = np.concatenate([colors, alpha], axis=-1)
  if one.alpha == "premultiplied":
    pixels = _straight(pixels, one)
  if one.sample == "half":
    half = np.minimum(pixels, np.float32(_HALF_MAX)).astype(np.float16)
    return half.astype(np.float32)
  if one.sample == "float":
    return pixels
  peak = np.float32(2**one.bit_depth - 1)
  return np.rint(pixels * peak).astype(dtype_of(one))


def _straight(pixels: np.ndarray, one: Map) -> np.ndarray:
  """Divides colours by the alpha that is written: a viewer multiplies by it."""
  peak = np.float32(255 if one.bit_depth == 8 else 65535)
  alpha = np.rint(pixels[..., -1:] * peak) / peak
  pixels = unpremultiply(np.concatenate([pixels[..., :-1], alpha], axis=-1))
  # Noise over little alpha would be brighter than all that there is.
  most = 1.0 if one.curve == "none" else _numbers(one)[1]
  return np.minimum(pixels, np.float32(most))


def _of_length_one(colors: np.ndarray) -> np.ndarray:
  """Normals 2 v - 1 of length 1; straight up where there is no direction."""
  normal = 2.0 * colors[..., :3] - 1.0
  length = np.sqrt(np.sum(normal * normal, axis=-1, keepdims=True))
  up = np.array([0.0, 0.0, 1.0], np.float32)
  normal = np.where(length > 1e-3, normal / np.maximum(length, 1e-3), up)
  return np.concatenate([0.5 * normal + 0.5, colors[..., 3:]], axis=-1)
