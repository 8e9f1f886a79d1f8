"""How a fit went: PSNR and error over its steps."""

from __future__ import annotations

import json
import os
import pathlib
import typing
from collections.abc import Sequence

from jaxgs.plots.layout import PlotError, check_matplotlib

if typing.TYPE_CHECKING:
  from matplotlib.figure import Figure

# Okabe and Ito: told apart by every kind of colour vision.
_BLUE, _GREEN, _ORANGE, _GREY = "#0072B2", "#009E73", "#D55E00", "#666666"


def read_metrics(path: str | os.PathLike) -> list[dict]:
  """Reads the JSON lines of a run.

  Args:
    path: Of `metrics.jsonl`; a last line that a kill has torn is left out.

  Returns:
    The lines that have "step" and "psnr_db".

  Raises:
    PlotError: Another line is no JSON object, or there is none to draw.
    OSError: The file cannot be read.
  """
  lines = pathlib.Path(path).read_text().splitlines()
  rows = []
  for number, line in enumerate(lines, 1):
    try:
      row = json.loads(line)
      if row["psnr_db"] is not None:
        rows.append(row | {"step": int(row["step"])})
    except (ValueError, KeyError, TypeError):
      if number < len(lines):
        raise PlotError(f"{path}, line {number}: no line of a run") from None
  if not rows:
    raise PlotError(f"{path}: no steps to draw")
  return rows


def curves_figure(rows: Sequence[dict], *, title: str = "") -> Figure:
  """Draws PSNR, mean squared error and number of splats over the steps.

  Args:
    rows: From `read_metrics`; the one with "bytes" is of the finished file.
    title: Of the page.

  Returns:
    A matplotlib Figure.

  Raises:
    PlotError: matplotlib is missing.
  """
  check_matplotlib()
  from matplotlib.figure import Figure
  from matplotlib.ticker import MaxNLocator

  steps = [row for row in rows if "bytes" not in row]
  files = [row for row in rows if "bytes" in row]
  x = [row["step"] for row in steps]
  figure = Figure(figsize=(11, 4.4), dpi=128, layout="constrained")
  if title:
    figure.suptitle(title, fontsize=12, parse_math=False)
  left, right = figure.subplots(1, 2)
  marker = "." if len(x) < 60 else ""
  left.plot(x, [r["psnr_db"] for r in steps], color=_BLUE, marker=marker)
  for row in files:
    text = f"the file: {row['psnr_db']:.2f} dB"
    if "bpp" in row:
      text += f", {row['bpp']:.3f} bpp"
    left.axhline(
      row["psnr_db"], color=_ORANGE, linestyle="--", linewidth=1.2, label=text
    )
    left.legend(loc="lower right", fontsize=10)
  left.set(xlabel="step", ylabel="PSNR, dB", title="Quality")
  loss = [10 ** (-row["psnr_db"] / 10) for row in steps]
  right.semilogy(x, loss, color=_BLUE, marker=marker)
  right.set(xlabel="step", title="Error, and how many splats there are")
  right.set_ylabel("mean squared error", color=_BLUE)
  counts = [row.get("num_gaussians") for row in steps]
  if None not in counts:
    other = right.twinx()
    # A count holds until the next report.
    other.step(x, counts, where="post", color=_GREEN, linestyle="-.")
    other.set_ylabel("splats", color=_GREEN)
    other.set_ylim(0, 1.08 * max(counts))
    other.yaxis.set_major_locator(MaxNLocator(integer=True))
  for axes in (left, right):
    axes.grid(True, which="both", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
  return figure
