"""Panels on a page, placed by whole pixels so that a picture stays sharp."""

from __future__ import annotations

import io
import os
import pathlib
import typing
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxgs.io import check_writable, write_atomic

if typing.TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.cm import ScalarMappable
  from matplotlib.figure import Figure

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")

# A power of two: sizes in inches times it are whole pixels again.
_DPI = 64

# Agg has 16 bits for a side; the pixels are those of a decoder's limit.
_MAX_SIDE_PX = (1 << 16) - 1
_MAX_PIXELS = 1 << 26

# Of text, px: a share of the page's width, and never too small to be read.
_FONT_SHARE = 1 / 72
_FONT_LEAST_PX = 12

_INK = "#222222"


class PlotError(ValueError):
  """One line: a package is missing, or what was asked for cannot be drawn."""


def check_matplotlib() -> None:
  """Checks, before the long work, that figures can be made.

  Raises:
    PlotError: matplotlib is not installed.
  """
  try:
    import matplotlib  # noqa: F401
  except ImportError:
    raise PlotError(
      "plots need matplotlib: pip install 'jaxgs[plots]'"
    ) from None


class Panel(NamedTuple):
  """One picture of a page.

  Attributes:
    title: A line above it.
    draw: Draws into axes that have the picture's pixels as their data, y down.
      Returns what a colour bar is to explain, or None. Takes the axes and the
      size of text in points.
    label: Quantity and unit, under the colour bar; "" without one.
  """

  title: str
  draw: Callable[[Axes, float], ScalarMappable | None]
  label: str = ""


class _Box(NamedTuple):
  """Px from the upper left corner of the page."""

  left: float
  top: float
  width: int
  height: int


def make_figure(
  rows: Sequence[Sequence[Panel]],
  window: tuple[float, float, float, float],
  *,
  width_px: int,
  title: str = "",
  bare: bool = False,
) -> Figure:
  """Sets panels on a page.

  Args:
    rows: Of panels; all show the same window, each row is as wide as the page.
    window: (x, y, width, height) in pixels of the image.
    width_px: Of a row, px of the page. A row of one panel shows an image pixel
      as `width_px / width` pixels.
    title: Of the page.
    bare: The one panel alone, without titles, ticks and colour bar: the page
      has `width_px` columns.

  Returns:
    A matplotlib Figure.

  Raises:
    PlotError: matplotlib is missing, or the page is too large.
  """
  check_matplotlib()
  if bare:
    height = max(1, round(width_px * window[3] / window[2]))
    figure = _page(width_px, height)
    axes = figure.add_axes((0, 0, 1, 1))
    _fill(axes, rows[0][0], window, _points(_font_px(width_px)))
    # Not set_axis_off, which takes the background, too.
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return figure
  ticks = sum(len(row) for row in rows) == 1
  font = _font_px(width_px)
  boxes, width, height = _place(rows, window, width_px, font, ticks, title)
  figure = _page(width, height)
  points = _points(font)
  if title:
    figure.text(
      boxes[0][0].left / width,
      1 - 1.3 * font / height,
      title,
      fontsize=1.2 * points,
      color=_INK,
      va="center",
      parse_math=False,
    )
  for row, line in zip(rows, boxes, strict=True):
    for panel, box in zip(row, line, strict=True):
      _add(figure, panel, box, window, font, ticks)
  return figure


def _place(rows, window, width_px: int, font: float, ticks: bool, title: str):
  """A box per panel, and the size of the page."""
  gap, margin = round(1.2 * font), round(1.4 * font)
  left = round(4.6 * font) if ticks else margin
  top = round((2.6 if title else 0.4) * font)
  boxes = []
  for row in rows:
    top += round(2.0 * font)  # The panels' titles.
    width = max(1, (width_px - gap * (len(row) - 1)) // len(row))
    height = max(1, round(width * window[3] / window[2]))
    boxes.append(
      [
        _Box(left + i * (width + gap), top, width, height)
        for i in range(len(row))
      ]
    )
    top += height + round(3.4 * font if ticks else 0.4 * font)
    if any(panel.label for panel in row):
      top += round(4.0 * font)
  # Room for the longest title, whatever the picture's width.
  letters = [1.2 * len(title)]
  letters += [len(panel.title) for row in rows[:1] for panel in row[:1]]
  wide = max(width_px, round(0.56 * font * max(letters)))
  return boxes, left + wide + margin, top + round(0.8 * font)


def _add(
  figure: Figure, panel: Panel, box: _Box, window, font: float, ticks: bool
) -> None:
  """One panel with its title, ticks and colour bar."""
  points = _points(font)
  axes = _axes(figure, box)
  shown = _fill(axes, panel, window, points)
  axes.set_title(
    panel.title,
    loc="left",
    fontsize=points,
    color=_INK,
    pad=0.5 * points,
    parse_math=False,
  )
  axes.spines[:].set_visible(False)
  if ticks:
    axes.tick_params(labelsize=0.85 * points, color=_INK, labelcolor=_INK)
    axes.set_xlabel("x, pixels", fontsize=0.9 * points, color=_INK)
    axes.set_ylabel("y, pixels", fontsize=0.9 * points, color=_INK)
  else:
    axes.set(xticks=[], yticks=[])
  if shown is None or not panel.label:
    return
  below = box.top + box.height + (3.6 * font if ticks else 0.6 * font)
  strip = _axes(figure, _Box(box.left, below, box.width, round(0.7 * font)))
  bar = figure.colorbar(shown, cax=strip, orientation="horizontal")
  bar.outline.set_visible(False)
  bar.ax.tick_params(labelsize=0.8 * points, color=_INK, labelcolor=_INK)
  bar.set_label(panel.label, fontsize=0.85 * points, color=_INK)


def _fill(axes: Axes, panel: Panel, window, points: float):
  x, y, width, height = window
  shown = panel.draw(axes, points)
  axes.set(xlim=(x, x + width), ylim=(y + height, y), aspect="auto")
  for image in axes.images:
    left, right, *_ = image.get_extent()
    columns = image.get_array().shape[1]
    zoom = axes.get_window_extent().width / width * (right - left) / columns
    if abs(zoom - round(zoom)) < 1e-6:
      # Else every pixel is blurred a little, also where it need not be.
      image.set_interpolation("nearest")
  return shown


def _axes(figure: Figure, box: _Box) -> Axes:
  width, height = (side * _DPI for side in figure.get_size_inches())
  return figure.add_axes(
    (
      box.left / width,
      1 - (box.top + box.height) / height,
      box.width / width,
      box.height / height,
    )
  )


def _page(width: int, height: int) -> Figure:
  from matplotlib.figure import Figure

  if max(width, height) > _MAX_SIDE_PX or width * height > _MAX_PIXELS:
    raise PlotError(
      f"a page of {width}x{height} px is over the limit of {_MAX_PIXELS} px"
      f" and {_MAX_SIDE_PX} px a side: choose a smaller scale or window"
    )
  return Figure((width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")


def _font_px(width_px: int) -> float:
  return max(_FONT_LEAST_PX, width_px * _FONT_SHARE)


def _points(px: float) -> float:
  return px * 72 / _DPI


def figure_pixels(figure: Figure) -> np.ndarray:
  """The page as Agg draws it.

  Args:
    figure: From `make_figure`.

  Returns:
    (H, W, 3) uint8.
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg

  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def write_figure(path: str | os.PathLike, figure: Figure) -> None:
  """Writes a page, whole or not at all.

  Args:
    path: Ends in .png, .svg or .pdf: vector formats stay sharp at any size.
    figure: From `make_figure` or `curves_figure`.

  Raises:
    ImageError: Another suffix, or the file cannot be written.
  """
  check_writable(path, suffixes=FIGURE_SUFFIXES)
  suffix = pathlib.PurePath(path).suffix.lower()
  buffer = io.BytesIO()
  # Without a date the same picture gives the same bytes.
  metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
  figure.savefig(
    buffer, format=suffix[1:], dpi=figure.dpi, metadata=metadata.get(suffix)
  )
  write_atomic(path, buffer.getvalue())
