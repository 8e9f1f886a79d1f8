import json

import numpy as np
import pytest

from jaxgs import plots

ROWS = [
  {"step": 50, "psnr_db": 20.0, "num_gaussians": 10, "seconds": 1.0},
  {"step": 100, "psnr_db": 30.0, "num_gaussians": 25, "seconds": 2.0},
  {"step": 100, "psnr_db": 29.5, "bytes": 99, "bpp": 0.25},
]


def test_lines_and_figure(tmp_path):
  path = tmp_path / "metrics.jsonl"
  lines = [*ROWS, {"step": 3, "psnr_db": None}]
  path.write_text("".join(json.dumps(row) + "\n" for row in lines) + '{"st')
  rows = plots.read_metrics(path)
  assert rows == ROWS
  figure = plots.curves_figure(rows, title="a_$b")
  assert plots.figure_pixels(figure).std() > 10
  left, right, counts = figure.axes
  np.testing.assert_allclose(left.lines[0].get_xydata(), [[50, 20], [100, 30]])
  assert left.lines[1].get_label() == "the file: 29.50 dB, 0.250 bpp"
  np.testing.assert_allclose(right.lines[0].get_ydata(), [1e-2, 1e-3])
  np.testing.assert_allclose(counts.lines[0].get_ydata(), [10, 25])
  assert left.get_ylabel() == "PSNR, dB"


@pytest.mark.parametrize(
  ("text", "reason"),
  (
    ("nothing\n{}\n", "line 1: no line of a run"),
    ("[1]\n[2]\n", "line 1: no line of a run"),
    ("", "no steps to draw"),
  ),
)
def test_other_files(tmp_path, text, reason):
  path = tmp_path / "metrics.jsonl"
  path.write_text(text)
  with pytest.raises(plots.PlotError, match=reason):
    plots.read_metrics(path)
