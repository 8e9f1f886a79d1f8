"""HDR-FLIP: FLIP of pictures whose brightness has no upper limit.

P. Andersson et al., "Visualizing Errors in Rendered High Dynamic Range Images",
Eurographics short papers, 2021: both pictures are shown at several exposures,
each tone-mapped, and a pixel's error is the largest of its FLIP errors. As
FLIP, not made for a loss.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgs.metrics.color import to_rgb
from jaxgs.metrics.flip import PIXELS_PER_DEGREE, linear_flip_map
from jaxgs.metrics.psnr import check_pair

# The tone mapper's value that the brightest pixel gets at the first exposure
# and the median at the last (section 3).
_BRIGHT = 0.85
# The smallest luminance that an exposure is computed for: black has none.
_DARKEST = 2.0**-23

# Tone mappers: (k0 x^2 + k1 x) / (k2 x^2 + k3 x + k4).
_CURVES = {
  # K. Narkowicz, "ACES filmic tone mapping curve", 2016, exposed by 0.6.
  "aces": (0.36 * 2.51, 0.6 * 0.03, 0.36 * 2.43, 0.6 * 0.59, 0.14),
  # J. Hable, "Uncharted 2: HDR lighting", GDC 2010, with his exposure of 2 and
  # E / F = 1 / 15 subtracted; 0.7251328 is its value at his white, 11.2.
  "hable": (0.56 / 0.7251328, 0.1 / 3 / 0.7251328, 0.6, 1.0, 0.06),
  # E. Reinhard et al., "Photographic tone reproduction for digital images",
  # 2002, equation 3, of the luminance.
  "reinhard": (0.0, 1.0, 0.0, 1.0, 1.0),
}


class Exposures(NamedTuple):
  """The exposures at which pictures are compared, evenly spaced.

  Attributes:
    start: (...,) float, of the darkest picture shown, as a power of 2.
    stop: (...,) float, of the brightest.
    count: (...,) int32, how many, 2 or more; or one int for all pictures.
  """

  start: jax.Array
  stop: jax.Array
  count: jax.Array | int


def flip_exposures(a: jax.Array, *, tone_mapper: str = "aces") -> Exposures:
  """The exposures of HDR-FLIP, from the reference alone.

  From the one that brings the brightest pixel to 0.85 of the tone mapper's
  range to the one that brings the median there, one per stop (section 3). A
  luminance under 2^-23 counts as that much, so that black has exposures too.

  Args:
    a: (..., H, W, C) float, 0 or more, linear sRGB: the reference.
    tone_mapper: "aces", "hable" or "reinhard".

  Returns:
    Exposures, one per picture.

  Raises:
    ValueError: C is not 1 to 4, or unknown tone_mapper.
  """
  k0, k1, k2, k3, k4 = _curve(tone_mapper)
  # Where the curve has the value t: (k0 - t k2) x^2 + (k1 - t k3) x - t k4 = 0.
  square, linear, constant = (
    k0 - _BRIGHT * k2,
    k1 - _BRIGHT * k3,
    -_BRIGHT * k4,
  )
  if square == 0:
    bright = -constant / linear
  else:
    root = math.sqrt(linear**2 - 4 * square * constant)
    bright = (-linear + root) / (2 * square)
  light = jnp.maximum(_luminance(to_rgb(a)), _DARKEST)
  light = jnp.sort(light.reshape(*light.shape[:-2], -1), -1)
  start = jnp.log2(bright / light[..., -1])
  # Of an even number of pixels the upper of the two in the middle.
  stop = jnp.log2(bright / light[..., light.shape[-1] // 2])
  count = jnp.maximum(jnp.ceil(stop - start), 2.0).astype(jnp.int32)
  return Exposures(start, stop, count)


def hdr_flip(
  a: jax.Array,
  b: jax.Array,
  *,
  pixels_per_degree: float = PIXELS_PER_DEGREE,
  tone_mapper: str = "aces",
  exposures: Exposures | None = None,
) -> jax.Array:
  """Mean HDR-FLIP error of each picture.

  Args:
    a: the reference; see `hdr_flip_map`.
    b: as `a`.
    pixels_per_degree: see `flip`.
    tone_mapper: "aces", "hable" or "reinhard".
    exposures: see `hdr_flip_map`.

  Returns:
    (...,), of the dtype of `a`, in [0, 1]; 0 for identical pictures.

  Raises:
    ValueError: as in `hdr_flip_map`.
  """
  error = hdr_flip_map(
    a,
    b,
    pixels_per_degree=pixels_per_degree,
    tone_mapper=tone_mapper,
    exposures=exposures,
  )
  return jnp.mean(error, axis=(-2, -1))


def hdr_flip_map(
  a: jax.Array,
  b: jax.Array,
  *,
  pixels_per_degree: float = PIXELS_PER_DEGREE,
  tone_mapper: str = "aces",
  exposures: Exposures | None = None,
) -> jax.Array:
  """HDR-FLIP error at each pixel.

  Args:
    a: (..., H, W, C) float, 0 or more, linear sRGB: the reference. One channel
      is grey; a second or fourth is straight alpha, and the picture is laid on
      white, 1.
    b: as `a`: the picture to judge. The two cannot be exchanged: the exposures
      come from `a`.
    pixels_per_degree: see `flip`.
    tone_mapper: "aces", "hable" or "reinhard".
    exposures: those of `flip_exposures(a)` when None; a field may be one number
      for all pictures.

  Returns:
    (..., H, W), of the dtype of `a`, in [0, 1]; 0 where nothing differs.

  Raises:
    ValueError: shapes or dtypes do not match, C is not 1 to 4, unknown
      tone_mapper, or pixels_per_degree is not positive.
  """
  check_pair(a, b)
  if exposures is None:
    exposures = flip_exposures(a, tone_mapper=tone_mapper)
  _curve(tone_mapper)  # Before the work.
  pair = jnp.maximum(to_rgb(jnp.stack([a, b])), 0.0)
  return _map(pair, pixels_per_degree, tone_mapper, exposures)


# Compiled as a whole also for a caller who does not.
@functools.partial(jax.jit, static_argnums=(1, 2))
def _map(pair, pixels_per_degree, tone_mapper, exposures):
  dtype, batch = pair.dtype, pair.shape[1:-3]
  start, stop = (
    jnp.broadcast_to(jnp.asarray(x, dtype), batch) for x in exposures[:2]
  )
  count = jnp.broadcast_to(jnp.asarray(exposures.count, jnp.int32), batch)
  curve = _curve(tone_mapper)

  def step(index, error):
    # Pictures with fewer exposures repeat their last: the largest stays.
    reached = jnp.minimum(index, count - 1) / jnp.maximum(count - 1, 1)
    light = jnp.exp2(start + reached.astype(dtype) * (stop - start))
    shown = _tone_map(pair * light[None, ..., None, None, None], curve)
    return jnp.maximum(error, linear_flip_map(shown, pixels_per_degree))

  nothing = jnp.zeros(pair.shape[1:-1], dtype)
  return jax.lax.fori_loop(0, jnp.max(count), step, nothing)


def _tone_map(image: jax.Array, curve: tuple[float, ...]) -> jax.Array:
  """Linear light, 0 or more, in [0, 1]."""
  k0, k1, k2, k3, k4 = curve
  if k2 == 0:  # Reinhard: the luminance is mapped, the colour stays.
    return jnp.clip(image / (1.0 + _luminance(image)[..., None]), 0.0, 1.0)
  shown = (k0 * image + k1) * image / ((k2 * image + k3) * image + k4)
  return jnp.clip(shown, 0.0, 1.0)


def _luminance(rgb: jax.Array) -> jax.Array:
  return 0.2126 * rgb[..., 0] + 0.7152 * rgb[..., 1] + 0.0722 * rgb[..., 2]


def _curve(tone_mapper: str) -> tuple[float, ...]:
  if tone_mapper not in _CURVES:
    raise ValueError(
      f"tone_mapper must be one of {', '.join(_CURVES)}, got {tone_mapper!r}"
    )
  return _CURVES[tone_mapper]
