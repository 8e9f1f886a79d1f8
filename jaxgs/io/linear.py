"""Linear light: floats of any range, of which some may be no light at all."""

import os

import numpy as np

from jaxgs.io.files import ImageError

# Rounding and resampling leave values a little below zero; what is larger than
# this share of the brightest value says something that would be lost.
_NEGLIGIBLE = 1e-3


def clean_linear(
  path: str | os.PathLike, pixels: np.ndarray, *, has_alpha: bool, nan: str
) -> None:
  """Makes every colour finite and not negative, and alpha 0 to 1, in place.

  Args:
    path: for messages.
    pixels: (H, W, C) float32, upright.
    has_alpha: the last channel is alpha.
    nan: "error" refuses NaN and infinite values, and those out of range by
      more than 1/1000 of the largest colour (of 1 for alpha); smaller ones
      are clipped with a notice. "zero" puts 0 for NaN and infinite values and
      clips the others, with a notice.

  Raises:
    ImageError: how many pixels are so, and where the first is.
  """
  if not np.isfinite(pixels).all():
    bad = ~np.isfinite(pixels)
    if nan == "error":
      reason = "are NaN or infinite; with nan=zero they are 0"
      raise ImageError(path, f"{_count(bad)} {reason}")
    _notice(path, f"{_count(bad)} are NaN or infinite: read as 0")
    pixels[bad] = 0
  colours = pixels[..., :-1] if has_alpha else pixels
  _clip(path, colours, "colours", np.inf, colours.max(), nan)
  if has_alpha:
    _clip(path, pixels[..., -1:], "alpha", 1, 1, nan)


def _clip(
  path: str | os.PathLike,
  values: np.ndarray,
  name: str,
  high: float,
  unit: float,
  nan: str,
) -> None:
  low, top = values.min(), values.max()
  excess = max(-low, top - high)
  if excess <= 0:
    return
  found = _count((values < 0) | (values > high))
  span = f"{found} have {name} of {low:.4g} to {top:.4g}"
  limits = "0 to 1" if np.isfinite(high) else "no negative ones"
  if nan == "error" and excess > _NEGLIGIBLE * unit:
    raise ImageError(
      path, f"{span}, expected {limits}; with nan=zero they are clipped"
    )
  _notice(path, f"{span}: clipped to {limits}")
  np.clip(values, 0, high, out=values)


def _notice(path: str | os.PathLike, text: str) -> None:
  from absl import logging

  logging.warning("%s: %s", os.fspath(path), text)


def _count(bad: np.ndarray) -> str:
  """How many pixels, and the first; `bad` is (H, W, C)."""
  bad = bad.any(axis=-1)
  y, x = np.unravel_index(bad.argmax(), bad.shape)
  num_bad = int(bad.sum())
  return f"{num_bad} of {bad.size} pixels (first at x={x}, y={y})"


def divide_by_alpha(samples: np.ndarray) -> np.ndarray:
  """Undoes a multiplied alpha; colours without any alpha become 0.

  Args:
    samples: (H, W, C) floats, the last channel is alpha.

  Returns:
    (H, W, C) float32; infinite where the quotient is too large.
  """
  samples = samples.astype(np.float32)
  alpha = samples[..., -1:]
  with np.errstate(all="ignore"):
    np.divide(samples[..., :-1], alpha, out=samples[..., :-1], where=alpha != 0)
  samples[..., :-1] *= alpha != 0
  return samples


def multiply_by_alpha(samples: np.ndarray) -> np.ndarray:
  """The inverse of `divide_by_alpha`, in the type of `samples`."""
  alpha = samples[..., -1:].astype(np.float32)
  colours = samples[..., :-1] * alpha
  return np.concatenate([colours.astype(samples.dtype), samples[..., -1:]], -1)
