"""Where a fit put its splats, round by round."""

from __future__ import annotations

import json
import os
import pathlib
import typing
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxgs.plots.layout import Panel, PlotError
from jaxgs.plots.panels import marker_area, without_color

if typing.TYPE_CHECKING:
  from jaxgs.state import FitState


class Placed(NamedTuple):
  """Splats that came between two reports of a fit.

  Attributes:
    step: Of the second report.
    slots: (M,) int, their places in the pool.
    mean: (M, 2) float, centres, px, at that report.
    moved: (M,) bool: relocated, not added.
  """

  step: int
  slots: np.ndarray
  mean: np.ndarray
  moved: np.ndarray

  def to_json(self) -> str:
    """A line for `read_placed`; hundredths of a pixel are kept."""
    return json.dumps(
      {
        "step": self.step,
        "slots": self.slots.tolist(),
        "x": [round(float(x), 2) for x in self.mean[:, 0]],
        "y": [round(float(y), 2) for y in self.mean[:, 1]],
        "moved": self.moved.astype(int).tolist(),
      }
    )


def placed_since(before: FitState | None, after: FitState) -> Placed:
  """What growth and relocation did between two reports of a fit.

  Growth fills slots that were idle. Relocation is the last act of a chunk of
  steps and forgets what Adam knew of the slot, so that first moments of zero at
  a new place tell of it. (`jaxgs.growth`.)

  Args:
    before: The state of the last report; None at the start.
    after: The state of this one, as `report` gets it.

  Returns:
    Placed.
  """
  active = np.asarray(after.active)
  mean = np.asarray(after.gaussians.mean)
  if before is None:
    moved = np.zeros_like(active)
    added = active
  else:
    added = active & ~np.asarray(before.active)
    untouched = np.ones_like(active)
    for leaf in after.moments.mu:
      untouched &= (np.asarray(leaf).reshape(len(active), -1) == 0).all(axis=1)
    elsewhere = (mean != np.asarray(before.gaussians.mean)).any(axis=1)
    moved = active & ~added & untouched & elsewhere
  (slots,) = np.nonzero(added | moved)
  return Placed(int(after.step), slots, mean[slots], moved[slots])


def read_placed(path: str | os.PathLike) -> list[Placed]:
  """Reads lines of `Placed.to_json`.

  Args:
    path: Of the file; a last line that a kill has torn is left out.

  Returns:
    In the order of the file.

  Raises:
    PlotError: Another line is not one of these.
    OSError: The file cannot be read.
  """
  lines = pathlib.Path(path).read_text().splitlines()
  found = []
  for number, line in enumerate(lines, 1):
    try:
      row = json.loads(line)
      mean = np.stack([row["x"], row["y"]], axis=-1).astype(np.float64)
      found.append(
        Placed(
          int(row["step"]),
          np.asarray(row["slots"], np.int64),
          mean.reshape(-1, 2),
          np.asarray(row["moved"], bool),
        )
      )
    except (ValueError, KeyError, TypeError):
      if number < len(lines):
        raise PlotError(f"{path}, line {number}: not of a fit") from None
  return found


def rounds_panel(
  title: str,
  placed: Sequence[Placed],
  rgb: np.ndarray,
) -> Panel:
  """Where splats were put, coloured by the step.

  Args:
    title: Above it.
    placed: Of a fit. A splat that moved is shown where it was put last.
    rgb: (H, W, 3) float in [0, 1]; it is faded, and grey.

  Returns:
    A Panel.

  Raises:
    PlotError: There is nothing to show.
  """
  if not sum(len(p.slots) for p in placed):
    raise PlotError("there are no splats in the record of this fit")
  slots = np.concatenate([p.slots for p in placed])
  step = np.concatenate([np.full(len(p.slots), p.step) for p in placed])
  mean = np.concatenate([p.mean for p in placed])
  moved = np.concatenate([p.moved for p in placed])
  # The last of each slot: the first of the reversed list.
  _, last = np.unique(slots[::-1], return_index=True)
  last = len(slots) - 1 - last
  step, mean, moved = step[last], mean[last], moved[last]

  def draw(axes, points):
    height, width, _ = rgb.shape
    grey = without_color(rgb)
    axes.imshow(grey + 0.5 * (1 - grey), extent=(0, width, height, 0))
    area = 2.0 * marker_area(axes, len(step), points)
    # Those that moved last, so on top.
    for chosen, marker in ((~moved, "o"), (moved, "D")):
      shown = axes.scatter(
        *mean[chosen].T,
        c=step[chosen],
        s=area,
        marker=marker,
        cmap="viridis_r",
        vmin=0,
        vmax=max(int(step.max()), 1),
        linewidths=0.05 * points,
        edgecolors="black",
      )
    return shown

  text = f"{int((~moved).sum())} added (dots)"
  if moved.any():
    text += f", {int(moved.sum())} moved there (diamonds)"
  return Panel(
    f"{title}: {text}", draw, "step at which the splat was put there"
  )
