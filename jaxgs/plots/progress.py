"""A fit on its way: what a report shows of it."""

from __future__ import annotations

import dataclasses
import os
import typing

import numpy as np

from jaxgs import codec
from jaxgs.plots.film import write_film
from jaxgs.plots.layout import figure_pixels, make_figure
from jaxgs.plots.panels import Panel, ellipses_panel, picture_panel, to_rgb
from jaxgs.transfer import unpremultiply
from jaxgs.types import Gaussians2D

if typing.TYPE_CHECKING:
  from jaxgs.job import Job
  from jaxgs.state import FitState

# Of one of the two pictures of a frame.
_SIDE_PX = 480

# Of a film that `Film` keeps in memory: 10 seconds, about 100 MB.
_MOST_FRAMES = 100


def draw_state(state: FitState, job: Job) -> np.ndarray:
  """The Gaussians of a fit as a picture, without rounding them.

  Args:
    state: Of the fit.
    job: What is fitted.

  Returns:
    (H, W, C) float32 in [0, 1], as the file will store it: under its curve,
    colours multiplied by alpha if they will be.
  """
  from jaxgs.rasterize import render

  height, width, _ = job.image.shape
  config = job.config
  image = render(
    state.gaussians,
    height=height,
    width=width,
    active=state.active,
    # 0: as much room as this one picture needs.
    spec=dataclasses.replace(config.fit.raster, max_pairs=0),
  ).image
  return np.clip(np.asarray(image), 0.0, 1.0) ** (1.0 / config.gamma)


def stored_rgb(pixels: np.ndarray, job: Job) -> np.ndarray:
  """What is fitted, to be looked at.

  Args:
    pixels: (H, W, C) as from `draw_state`.
    job: What is fitted.

  Returns:
    (H, W, 3) float32 in [0, 1], of the first map; linear light is shown under
    its curve.
  """
  return _to_rgb(pixels, job.maps[0])


def _to_rgb(stored: np.ndarray, one: codec.Map) -> np.ndarray:
  """RGB of values (..., C) as a file stores them, of which a map is first."""
  stored = stored[..., : one.channels]
  if one.alpha == "premultiplied":
    stored = unpremultiply(stored)
  return to_rgb(stored, has_alpha=one.has_alpha)


def state_panel(title: str, state: FitState, job: Job) -> Panel:
  """The splats of a fit as ellipses of one sigma.

  Args:
    title: Above it.
    state: Of the fit.
    job: What is fitted.

  Returns:
    A Panel.
  """
  active = np.asarray(state.active)
  gaussians = Gaussians2D(
    *(np.asarray(leaf)[active] for leaf in state.gaussians)
  )
  blend, gamma = job.config.fit.raster.blend, job.config.gamma
  return ellipses_panel(
    title,
    gaussians,
    splat_colors(gaussians, blend, gamma, job.maps[0]),
  )


def splat_colors(
  gaussians: Gaussians2D, blend: str, gamma: float, one: codec.Map
) -> np.ndarray:
  """The colours that splats show.

  Args:
    gaussians: N of them, numpy arrays.
    blend: "norm", where a splat shows its own colour, or "sum", where that is
      times its amplitude.
    gamma: Exponent of the features.
    one: What their first channels are.

  Returns:
    (N, 3) float32 in [0, 1].
  """
  shown = gaussians.feature
  if blend == "sum":
    shown = shown * np.exp(gaussians.log_weight)[:, None]
  return _to_rgb(np.clip(shown, 0.0, 1.0) ** np.float32(1.0 / gamma), one)


def draw_frame(state: FitState, job: Job) -> np.ndarray:
  """A frame of a film: the picture, the ellipses, and how good it is.

  Args:
    state: Of the fit.
    job: What is fitted.

  Returns:
    (h, w, 3) uint8; the size is that of all frames of the fit.
  """
  size, config = job.image.shape[:2], job.config
  rgb = stored_rgb(draw_state(state, job), job)
  text = f"step {int(state.step)} of {config.fit.num_steps}"
  if np.isfinite(mse := float(state.mse)):
    text += f"    {-10 * np.log10(max(mse, 1e-12)):.2f} dB"
  text += f"    {int(state.active.sum())} splats"
  width = round(_SIDE_PX * size[1] / max(size))
  panels = [
    picture_panel("picture", rgb),
    state_panel("splats, 1 sigma", state, job),
  ]
  window = (0, 0, size[1], size[0])
  width = 2 * max(width, 1)
  return figure_pixels(
    make_figure([panels], window, width_px=width, title=text)
  )


class Film:
  """Frames of a fit while it runs."""

  def __init__(self, job: Job):
    """Begins without frames.

    Args:
      job: What is fitted.
    """
    self._job = job
    self._every = -(-job.config.fit.num_steps // _MOST_FRAMES)
    self._last_step = 0
    self._frames = []

  def report(self, state: FitState) -> None:
    """Takes a frame if it is time to; see `jaxgs.compress.Report`."""
    step = int(state.step)
    if step < self._last_step:
      # A search for a target begins another fit: the film is of the last one.
      self._frames, self._last_step = [], 0
    last = step >= self._job.config.fit.num_steps
    if not self._frames or step - self._last_step >= self._every or last:
      self._last_step = step
      self._frames.append(draw_frame(state, self._job))

  def write(self, path: str | os.PathLike) -> None:
    """Writes the film; see `write_film`."""
    write_film(path, self._frames)
