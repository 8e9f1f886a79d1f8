"""What a panel shows: pictures, splats, and maps of numbers."""

from __future__ import annotations

import typing

import numpy as np

from jaxgs.math import variances
from jaxgs.plots.layout import Panel, PlotError
from jaxgs.types import Gaussians2D

if typing.TYPE_CHECKING:
  from matplotlib.axes import Axes

# More numbers cannot be read.
MAX_IDS = 500

# Of centres, on a picture that is faded towards white. Okabe and Ito's
# vermillion: apart from grey for every kind of colour vision.
_MARK = "#D55E00"

# Neutral, so that white splats are seen as well as black ones.
GREY = "#8C8C8C"


def to_rgb(pixels: np.ndarray, *, has_alpha: bool = False) -> np.ndarray:
  """Colours that a screen can show.

  Args:
    pixels: (..., C) float: grey, RGB, either with alpha, or other channels, of
      which the first three stand for RGB.
    has_alpha: The last channel is alpha; white shines through.

  Returns:
    (..., 3) float32 in [0, 1].
  """
  pixels = np.clip(np.nan_to_num(np.asarray(pixels, np.float32)), 0.0, 1.0)
  color, alpha = pixels, np.float32(1.0)
  if has_alpha:
    color, alpha = pixels[..., :-1], pixels[..., -1:]
  color = color[..., :3] if color.shape[-1] >= 3 else color[..., :1]
  shown = color * alpha + (1.0 - alpha)
  return np.broadcast_to(shown, (*pixels.shape[:-1], 3))


Window = tuple[float, float, float, float]


def _show(axes: Axes, rgb: np.ndarray, covers: Window | None, fade=0.0) -> None:
  """A picture, faded towards white, where it belongs."""
  x, y, width, height = covers or (0, 0, rgb.shape[1], rgb.shape[0])
  axes.imshow(rgb + fade * (1.0 - rgb), extent=(x, x + width, y + height, y))


def picture_panel(
  title: str, rgb: np.ndarray, *, covers: Window | None = None
) -> Panel:
  """A picture.

  Args:
    title: Above it.
    rgb: (H, W, 3) float in [0, 1].
    covers: (x, y, width, height) of what it shows in pixels of the image, if
      it has another resolution or is a part; all of it when None.

  Returns:
    A Panel.
  """
  return Panel(title, lambda axes, _: _show(axes, rgb, covers))


def ellipses_panel(
  title: str,
  gaussians: Gaussians2D,
  colors: np.ndarray,
  *,
  sigmas: float = 1.0,
  alpha: float = 1.0,
  outline: bool = False,
  background: str | np.ndarray = GREY,
  covers: Window | None = None,
) -> Panel:
  """Every splat at its true shape, small ones over large ones.

  Args:
    title: Above it.
    gaussians: N of them, numpy arrays, px.
    colors: (N, 3) float in [0, 1], see `to_rgb`.
    sigmas: Half axes in standard deviations.
    alpha: Opacity, 0 to 1.
    outline: Lines instead of filled ellipses.
    background: A colour, or a picture (H, W, 3).
    covers: See `picture_panel`.

  Returns:
    A Panel.
  """

  def draw(axes, points):
    if isinstance(background, str):
      axes.set_facecolor(background)
    else:
      _show(axes, background, covers)
    _add_ellipses(
      axes, gaussians, colors, sigmas, alpha, 0.1 * points if outline else 0.0
    )

  return Panel(title, draw)


def _add_ellipses(axes, gaussians, colors, sigmas, alpha, linewidth) -> None:
  """Filled ellipses, or lines of a width in points where it is not 0."""
  from matplotlib.collections import EllipseCollection

  # Bounded as the renderer bounds them.
  axis = sigmas * np.sqrt(variances(np.asarray(gaussians.log_scale)))
  order = np.argsort(-axis.prod(axis=1), kind="stable")
  colors = np.concatenate(
    [colors, np.full((len(colors), 1), alpha, np.float32)], axis=1
  )
  style = (
    {"facecolors": "none", "edgecolors": colors[order], "linewidths": linewidth}
    if linewidth
    else {"facecolors": colors[order], "linewidths": 0.0}
  )
  axes.add_collection(
    EllipseCollection(
      2 * axis[order, 0],
      2 * axis[order, 1],
      np.degrees(np.asarray(gaussians.angle)[order]),
      units="xy",  # Of the data: y down, as the angle turns.
      offsets=np.asarray(gaussians.mean)[order],
      offset_transform=axes.transData,
      **style,
    ),
    autolim=False,
  )


def centers_panel(
  title: str,
  gaussians: Gaussians2D,
  rgb: np.ndarray,
  *,
  covers: Window | None = None,
) -> Panel:
  """The centres of splats on a picture.

  Args:
    title: Above it.
    gaussians: N of them, numpy arrays, px.
    rgb: (H, W, 3) float in [0, 1]; it is faded, and grey.
    covers: See `picture_panel`.

  Returns:
    A Panel.
  """

  def draw(axes, points):
    _show(axes, without_color(rgb), covers, fade=0.45)
    x, y = np.asarray(gaussians.mean).T
    axes.scatter(
      x, y, s=marker_area(axes, len(x), points), c=_MARK, linewidths=0
    )

  return Panel(title, draw)


def without_color(rgb: np.ndarray) -> np.ndarray:
  """A picture in grey, on which coloured marks are seen everywhere.

  Args:
    rgb: (H, W, 3).

  Returns:
    As `rgb`, with the luma of ITU-R BT.601 in all channels.
  """
  luma = rgb @ np.array([0.299, 0.587, 0.114], rgb.dtype)
  return np.broadcast_to(luma[..., None], rgb.shape)


def marker_area(axes: Axes, count: int, points: float) -> float:
  """Of a mark, in square points: dots of many splats do not run together.

  Args:
    axes: Where they go.
    count: How many.
    points: Size of text.

  Returns:
    The `s` of matplotlib's scatter.
  """
  side = np.clip(0.32 * _spacing(axes, count), 1.2, 0.45 * points)
  return float(side * side)


def _spacing(axes: Axes, count: int) -> float:
  """Mean distance of so many neighbours on a page, points."""
  box = axes.get_window_extent()
  area = box.width * box.height / max(count, 1)
  return float(np.sqrt(area)) * 72 / axes.figure.dpi


def ids_panel(
  title: str,
  gaussians: Gaussians2D,
  rgb: np.ndarray,
  *,
  window: Window,
  covers: Window | None = None,
) -> Panel:
  """The numbers of splats at their centres, with outlines of one sigma.

  Args:
    title: Above it.
    gaussians: N of them, numpy arrays, px; their order gives the numbers.
    rgb: (H, W, 3) float in [0, 1]; it is faded.
    window: (x, y, width, height), px: splats centred outside get no number.
    covers: See `picture_panel`.

  Returns:
    A Panel.

  Raises:
    PlotError: There are more than MAX_IDS in the window.
  """
  mean = np.asarray(gaussians.mean)
  x, y, width, height = window
  corner = np.array([x, y])
  inside = (mean >= corner) & (mean <= corner + np.array([width, height]))
  (ids,) = np.nonzero(inside.all(axis=1))
  if len(ids) > MAX_IDS:
    raise PlotError(
      f"{len(ids)} splats are in the window, of which at most {MAX_IDS} numbers"
      " can be read: choose a smaller one with --crop"
    )

  def draw(axes, points):
    from matplotlib import patheffects

    _show(axes, rgb, covers, fade=0.45)
    shown = Gaussians2D(*(np.asarray(leaf)[ids] for leaf in gaussians))
    dark = np.tile(np.float32([0.0, 0.27, 0.45]), (len(ids), 1))
    _add_ellipses(axes, shown, dark, 1.0, 0.6, 0.07 * points)
    halo = patheffects.withStroke(linewidth=0.2 * points, foreground="white")
    # A number has up to four digits.
    side = np.clip(0.3 * _spacing(axes, len(ids)), 0.5 * points, points)
    for n in ids:
      axes.text(
        *mean[n],
        str(n),
        fontsize=side,
        ha="center",
        va="center",
        color="black",
        path_effects=[halo],
        clip_on=True,
      )

  return Panel(title, draw)


def map_panel(
  title: str,
  values: np.ndarray,
  *,
  label: str,
  colors: str = "magma",
  low: float = 0.0,
  high: float | None = None,
  power: float = 1.0,
) -> Panel:
  """A map of numbers with a colour bar.

  Args:
    title: Above it.
    values: (H, W).
    label: Quantity and unit.
    colors: A colour map of matplotlib, safe for the colour-blind.
    low: Value of its lower end.
    high: Of its upper end; None: what one pixel of 500 exceeds.
    power: Of the scale: 0.5 shows more of what is small.

  Returns:
    A Panel.
  """
  values = np.asarray(values, np.float32)
  if high is None:
    high = float(np.percentile(values, 99.8))
  # A picture without error has a bar, too.
  high = max(high, low + 1e-6)

  def draw(axes, _):
    from matplotlib.colors import PowerNorm

    height, width = values.shape
    shown = axes.imshow(
      values,
      cmap=colors,
      norm=PowerNorm(power, low, high),
      extent=(0, width, height, 0),
    )
    ends = (float(values.min()) < low, float(values.max()) > high)
    shown.cmap.colorbar_extend = _EXTEND[ends]
    return shown

  return Panel(title, draw, label)


_EXTEND = {
  (False, False): "neither",
  (True, False): "min",
  (False, True): "max",
  (True, True): "both",
}


def error_panel(
  title: str, reference: np.ndarray, image: np.ndarray, *, signed: bool = False
) -> Panel:
  """How far a picture is from another, over the mean of the channels.

  Args:
    title: Above it.
    reference: (H, W, C) float in [0, 1].
    image: As `reference`.
    signed: `image - reference`, not its absolute value.

  Returns:
    A Panel in levels of 8 bits.

  Raises:
    ValueError: The shapes differ.
  """
  if reference.shape != image.shape:
    raise ValueError(
      "reference and image must have one shape, got"
      f" {reference.shape}, {image.shape}"
    )
  error = 255.0 * (np.asarray(image) - np.asarray(reference))
  if not signed:
    return map_panel(
      title,
      np.abs(error).mean(axis=-1),
      label="mean absolute error, levels of 255",
    )
  error = error.mean(axis=-1)
  most = max(float(np.percentile(np.abs(error), 99.8)), 1e-3)
  return map_panel(
    title,
    error,
    label="picture less original, levels of 255",
    colors="RdBu_r",
    low=-most,
    high=most,
  )
