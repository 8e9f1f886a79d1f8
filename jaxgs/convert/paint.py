"""Ellipses laid over each other from the back to the front, and their colours.

A picture of Gaussians is a mean or a sum over all that cover a pixel. Where a
program can only lay one shape over the other, as browsers do, the same colours
would give another picture: these are found anew.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxgs.types import Gaussians2D

# Passes over the ellipses. A fit of a photograph, painted with the colours at
# the centres: 21.2 dB; after 1, 2, 3, 11 passes 23.8, 24.2, 24.4, 24.5 dB.
_SWEEPS = 2
# Over-relaxed: neighbours share what is left to correct.
_RELAXATION = 1.5


class Ink(NamedTuple):
  """How N ellipses cover what is below them.

  Attributes:
    reach: (N,), the exponent e of the Gaussian at which an ellipse ends; 0 for
      those that are not painted.
    log_weight: (N,), the opacity is exp(log_weight - e), at most 1.
  """

  reach: np.ndarray
  log_weight: np.ndarray


def opacity_at(exponent: np.ndarray, log_weight: float) -> np.ndarray:
  """The opacity of an Ink."""
  return np.exp(np.minimum(log_weight - exponent, 0.0))


class Stamp(NamedTuple):
  """What an ellipse covers of a picture.

  Attributes:
    index: Which one.
    window: Rows and columns.
    opacity: (h, w, 1) float32.
  """

  index: int
  window: tuple[slice, slice]
  opacity: np.ndarray


def back_to_front(gaussians: Gaussians2D) -> np.ndarray:
  """Indices in the order of painting: the smaller, the later."""
  return np.argsort(-gaussians.log_scale.sum(1), kind="stable")


def colors_at(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
  """Of the pixels in which points (N, 2) lie, or the nearest ones: (N, C)."""
  height, width, _ = picture.shape
  x, y = points.clip(0, [width - 1, height - 1]).astype(np.int64).T
  return picture[y, x]


def paint_colors(
  picture: np.ndarray,
  gaussians: Gaussians2D,
  ink: Ink,
  *,
  background: np.ndarray,
) -> tuple[np.ndarray, float]:
  """Colours with which painted ellipses come near a picture.

  The picture is linear in them: this is simultaneous iterative reconstruction
  (Gilbert 1972) from the colours at the centres, each ellipse corrected by the
  mean error of what is seen of it.

  Args:
    picture: (H, W, C) float32 in [0, 1].
    gaussians: N of numpy arrays, in pixels of the picture.
    ink: How they cover it.
    background: (C,), what is painted on.

  Returns:
    (N, C) float32 in [0, 1]; the mean squared error before the last pass.
  """
  height, width, _ = picture.shape
  colors = colors_at(picture, gaussians.mean)
  order = back_to_front(gaussians)
  for _ in range(_SWEEPS):
    error = np.broadcast_to(background, picture.shape).astype(np.float32)
    for n, window, opacity in _stamps(gaussians, order, ink, error):
      error[window] += opacity * (colors[n] - error[window])
    error = picture - error
    mse = float(np.mean(error * error))
    change = np.zeros_like(colors)
    seen = np.ones((height, width, 1), np.float32)
    front = order[::-1]
    for n, window, opacity in _stamps(gaussians, front, ink, error):
      weight = seen[window] * opacity
      total = max(float(weight.sum()), 1e-3)
      change[n] = (weight * error[window]).sum((0, 1)) / total
      seen[window] -= weight
    colors = (colors + np.float32(_RELAXATION) * change).clip(0, 1)
  return colors, mse


def _stamps(
  gaussians: Gaussians2D,
  order: np.ndarray,
  ink: Ink,
  picture: np.ndarray,
) -> Iterator[Stamp]:
  """The ellipses that touch a picture; all at once would fill the memory."""
  height, width = picture.shape[:2]
  scale = np.exp(gaussians.log_scale)
  cos, sin = np.cos(gaussians.angle), np.sin(gaussians.angle)
  radius = np.sqrt(2 * ink.reach)
  extent_x = radius * np.hypot(scale[:, 0] * cos, scale[:, 1] * sin)
  extent_y = radius * np.hypot(scale[:, 0] * sin, scale[:, 1] * cos)
  extent = np.stack([extent_x, extent_y], -1)
  size = [width, height]
  begin = (gaussians.mean - extent).clip(0, size).astype(np.int64)
  end = np.ceil(gaussians.mean + extent).clip(0, size).astype(np.int64)
  for n in order[((begin < end).all(1) & (ink.reach > 0))[order]]:
    columns, rows = (slice(begin[n, i], end[n, i]) for i in (0, 1))
    x = np.arange(columns.start, columns.stop) + 0.5 - gaussians.mean[n, 0]
    y = np.arange(rows.start, rows.stop) + 0.5 - gaussians.mean[n, 1]
    u = (cos[n] * x + sin[n] * y[:, None]) / scale[n, 0]
    v = (cos[n] * y[:, None] - sin[n] * x) / scale[n, 1]
    e = 0.5 * (u * u + v * v)
    opacity = opacity_at(e, ink.log_weight[n]) * (e < ink.reach[n])
    yield Stamp(n, (rows, columns), opacity[..., None].astype(np.float32))
