"""Structural similarity, on one scale and on several.

SSIM is Wang et al. 2004 ("Image quality assessment: from error visibility to
structural similarity", section III-B), MS-SSIM Wang et al. 2003 ("Multiscale
structural similarity for image quality assessment"). Pictures are in [0, 1].
Differentiable in reverse mode only.
"""

import functools
import math

import jax
import jax.numpy as jnp

from jaxgs.metrics.psnr import check_pair

WINDOW_PX = 11
_SIGMA_PX = 1.5
_C1 = 0.01**2
_C2 = 0.03**2
# Wang et al. 2003, section 4.2: finest scale first; they sum to 1.0001.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim(a: jax.Array, b: jax.Array) -> jax.Array:
  """Structural similarity of each picture.

  An 11x11 Gaussian window of sigma 1.5, averaged over the places where it
  fits and over the channels. This is scikit-image's structural_similarity with
  gaussian_weights=True, sigma=1.5, use_sample_covariance=False, which crops 5
  pixels at each border. Along a side shorter than 11 pixels the window is cut
  to the largest odd length that fits.

  Args:
    a: (..., H, W, C) float in [0, 1].
    b: as `a`.

  Returns:
    (...,), of the dtype of `a`, in [-1, 1]; 1 for identical pictures, up to
    float32 rounding (1e-5).

  Raises:
    ValueError: shapes or dtypes do not match.
  """
  return jnp.mean(ssim_map(a, b), axis=(-3, -2, -1))


def ssim_map(
  a: jax.Array, b: jax.Array, *, padding: str = "valid"
) -> jax.Array:
  """SSIM at each pixel and channel.

  Args:
    a: (..., H, W, C) float in [0, 1].
    b: as `a`.
    padding: "valid" has a value where the whole window fits (the window shrinks
      as for `ssim`); "same" has one for every pixel, with zeros around the
      picture.

  Returns:
    (..., H', W', C), of the dtype of `a`: H' = H for "same", H - 10 for
    "valid" when H is 11 or more, else 1 or 2.

  Raises:
    ValueError: shapes or dtypes do not match, or unknown padding.
  """
  luminance, structure = _ssim_terms(a, b, padding)
  return luminance * structure


def ms_ssim(a: jax.Array, b: jax.Array) -> jax.Array:
  """Multi-scale structural similarity of each picture.

  Up to five scales with the published weights, as pytorch-msssim computes it:
  windows where they fit, negative means set to 0, 2x2 averages between the
  scales with a row or column of zeros in front of an odd side. The window must
  fit on every scale: when the smaller side is 160 pixels or less there are
  fewer scales (four above 80, three above 40, two above 20, else one, with a
  window that shrinks as for `ssim`) and their weights are divided by their sum.
  Such values compare only with others of that size.

  Args:
    a: (..., H, W, C) float in [0, 1].
    b: as `a`.

  Returns:
    (...,), of the dtype of `a`, in [0, 1].

  Raises:
    ValueError: shapes or dtypes do not match.
  """
  check_pair(a, b)
  weights = _scale_weights(min(a.shape[-3:-1]))
  result = None
  for scale, weight in enumerate(weights):
    luminance, structure = _ssim_terms(a, b, "valid")
    is_last = scale == len(weights) - 1
    term = luminance * structure if is_last else structure
    factor = _safe_power(jnp.mean(term, axis=(-3, -2)), weight)
    result = factor if result is None else result * factor
    if not is_last:
      a, b = _halve(a), _halve(b)
  return jnp.mean(result, axis=-1)


# Compiled as a whole also for a caller who does not: one by one, these some
# hundred operations are slow to compile and to run.
@functools.partial(jax.jit, static_argnames="padding")
def _ssim_terms(
  a: jax.Array, b: jax.Array, padding: str
) -> tuple[jax.Array, jax.Array]:
  """Luminance and contrast-structure terms, each (..., H', W', C)."""
  check_pair(a, b)
  if padding not in ("valid", "same"):
    raise ValueError(f"padding must be 'valid' or 'same', got {padding!r}")
  # Both variances are only needed as their sum: four windows, not five. One
  # stacked array keeps XLA from fusing the products into every tap.
  moments = jnp.stack([a, b, a * a + b * b, a * b])
  if padding == "same":
    taps_y = taps_x = _window(WINDOW_PX)
    margin = (WINDOW_PX // 2, WINDOW_PX // 2)
    keep = [(0, 0)] * (moments.ndim - 3)
    moments = jnp.pad(moments, [*keep, margin, margin, (0, 0)])
  else:
    taps_y, taps_x = (_window(side) for side in a.shape[-3:-1])
  mean_a, mean_b, squares, product = _blur(moments, taps_y, taps_x)
  mean_ab = mean_a * mean_b
  mean_squares = mean_a * mean_a + mean_b * mean_b
  variances = squares - mean_squares
  covariance = product - mean_ab
  luminance = (2 * mean_ab + _C1) / (mean_squares + _C1)
  structure = (2 * covariance + _C2) / (variances + _C2)
  return luminance, structure


@functools.cache
def _window(side: int) -> tuple[float, ...]:
  """Gaussian taps of sum 1: 11, or the largest odd number within `side`."""
  radius = (min(WINDOW_PX, side) - 1) // 2
  taps = [
    math.exp(-0.5 * (i / _SIGMA_PX) ** 2) for i in range(-radius, radius + 1)
  ]
  return tuple(tap / sum(taps) for tap in taps)


# Value and gradient of SSIM, 512x768x3, two CPU cores, in ms: this 38; without
# the custom gradient 190 (autodiff pads once per tap); each moment by itself
# 270; the window on (H, W, C) instead of (H, W C) 44; lax.conv 310 to 480.
@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _blur(
  x: jax.Array, taps_y: tuple[float, ...], taps_x: tuple[float, ...]
) -> jax.Array:
  """Correlates (..., H, W, C) with a separable window, where it fits."""
  height, width, num_channels = x.shape[-3:]
  new_height = height - len(taps_y) + 1
  new_width = width - len(taps_x) + 1
  # W and C as one axis: long contiguous rows, also when C is 3.
  x = x.reshape(*x.shape[:-2], width * num_channels)
  x = functools.reduce(
    jnp.add,
    (tap * x[..., k : k + new_height, :] for k, tap in enumerate(taps_y)),
  )
  length = new_width * num_channels
  x = functools.reduce(
    jnp.add,
    (
      tap * x[..., k * num_channels : k * num_channels + length]
      for k, tap in enumerate(taps_x)
    ),
  )
  return x.reshape(*x.shape[:-1], new_width, num_channels)


def _blur_forward(x, taps_y, taps_x):
  return _blur(x, taps_y, taps_x), None


def _blur_backward(taps_y, taps_x, _, cotangent):
  # The transpose of a symmetric window is the same window on every overlap.
  margins = [(len(taps) - 1, len(taps) - 1) for taps in (taps_y, taps_x)]
  keep = [(0, 0)] * (cotangent.ndim - 3)
  padded = jnp.pad(cotangent, [*keep, *margins, (0, 0)])
  return (_blur(padded, taps_y, taps_x),)


_blur.defvjp(_blur_forward, _blur_backward)


def _scale_weights(side: int) -> tuple[float, ...]:
  """The weights for a picture whose smaller side is `side`."""
  num_scales = len(_SCALE_WEIGHTS)
  while num_scales > 1 and side <= (WINDOW_PX - 1) * 2 ** (num_scales - 1):
    num_scales -= 1
  if num_scales == len(_SCALE_WEIGHTS):
    return _SCALE_WEIGHTS
  weights = _SCALE_WEIGHTS[:num_scales]
  return tuple(weight / sum(weights) for weight in weights)


def _safe_power(x: jax.Array, exponent: float) -> jax.Array:
  """max(x, 0) ** exponent, with gradient 0 where x is not positive."""
  positive = x > 0
  # The inner choice too: the gradient of 0 ** 0.3 is infinite, and 0 times
  # that is NaN.
  return jnp.where(positive, jnp.where(positive, x, 1.0) ** exponent, 0.0)


def _halve(x: jax.Array) -> jax.Array:
  """2x2 averages of (..., H, W, C); zeros in front of an odd side."""
  odd = [(side % 2, 0) for side in x.shape[-3:-1]]
  x = jnp.pad(x, [*[(0, 0)] * (x.ndim - 3), *odd, (0, 0)])
  x = x[..., 0::2, :, :] + x[..., 1::2, :, :]
  return (x[..., 0::2, :] + x[..., 1::2, :]) * 0.25
