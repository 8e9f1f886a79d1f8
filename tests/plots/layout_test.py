import subprocess
import sys

import numpy as np
import pytest

from jaxgs import plots
from jaxgs.io import ImageError, read_image
from jaxgs.plots import layout


def _noise(height=18, width=25):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (height, width, 3)).astype(np.float32) / 255


def _page(rgb, scale=1, **options):
  height, width, _ = rgb.shape
  panel = plots.picture_panel("a title", rgb)
  return plots.make_figure(
    [[panel]], (0, 0, width, height), width_px=width * scale, **options
  )


def test_a_bare_picture_is_itself():
  rgb = _noise()
  for scale in (1, 3):
    drawn = plots.figure_pixels(_page(rgb, scale, bare=True)) / 255
    wanted = rgb.repeat(scale, axis=0).repeat(scale, axis=1)
    np.testing.assert_allclose(drawn, wanted, atol=1.01 / 255)


def test_a_window_is_a_part():
  rgb = _noise()
  panel = plots.picture_panel("", rgb)
  figure = plots.make_figure([[panel]], (3, 5, 8, 4), width_px=8, bare=True)
  drawn = plots.figure_pixels(figure) / 255
  np.testing.assert_allclose(drawn, rgb[5:9, 3:11], atol=1.01 / 255)


def test_pixels_stay_whole_on_a_page_with_text():
  rgb = _noise()
  drawn = plots.figure_pixels(_page(rgb, 4)) / 255
  wanted = rgb.repeat(4, axis=0).repeat(4, axis=1)
  height, width, _ = wanted.shape
  rows, columns = (
    len(drawn) - height + 1,
    drawn.shape[1] - width + 1,
  )
  found = [
    (y, x)
    for y in range(rows)
    for x in range(columns)
    # But for the ends of tick marks.
    if np.abs(drawn[y : y + height, x : x + width] - wanted).mean() < 1e-3
  ]
  assert len(found) == 1
  # There is text above and at the left.
  ((y, x),) = found
  assert (drawn[:y] < 0.5).any()
  assert (drawn[y:, :x] < 0.5).any()


def test_rows_are_as_wide_as_the_page():
  rgb = _noise(30, 40)
  panel = plots.picture_panel("", rgb)
  figure = plots.make_figure(
    [[panel, panel], [panel] * 3], (0, 0, 40, 30), width_px=400, title="t"
  )
  page, _ = figure.get_size_inches()
  boxes = [axes.get_position() for axes in figure.axes]
  ends = [box.x1 * page * figure.dpi for box in boxes]
  assert len(boxes) == 5
  assert abs(ends[1] - ends[4]) < 3
  for box in boxes:
    width, height = box.width * page, box.height * figure.get_size_inches()[1]
    np.testing.assert_allclose(height / width, 0.75, rtol=0.01)


def test_files(tmp_path):
  figure = _page(_noise(), 2)
  for suffix, start in (
    (".png", b"\x89PNG"),
    (".svg", b"<?xml"),
    (".pdf", b"%P"),
  ):
    path = tmp_path / f"a{suffix}"
    plots.write_figure(path, figure)
    assert path.read_bytes().startswith(start)
  drawn = read_image(tmp_path / "a.png").pixels[..., :3]
  np.testing.assert_allclose(
    drawn, plots.figure_pixels(figure) / 255, atol=1e-6
  )
  first = (tmp_path / "a.pdf").read_bytes()
  plots.write_figure(tmp_path / "a.pdf", figure)
  assert (tmp_path / "a.pdf").read_bytes() == first
  with pytest.raises(ImageError, match="unknown suffix"):
    plots.write_figure(tmp_path / "a.gif", figure)
  with pytest.raises(ImageError, match="no such folder"):
    plots.write_figure(tmp_path / "no/a.png", figure)


def test_text_is_not_mathematics():
  rgb = _noise()
  panel = plots.picture_panel("$1_000 \\frac{ and $", rgb)
  figure = plots.make_figure(
    [[panel]], (0, 0, 25, 18), width_px=100, title="a_$x^ $"
  )
  assert plots.figure_pixels(figure).shape[2] == 3


def test_pages_have_a_limit():
  with pytest.raises(plots.PlotError, match="50000x36000 px is over the limit"):
    _page(_noise(), 2000, bare=True)
  with pytest.raises(plots.PlotError, match="65535 px a side"):
    layout._page(70000, 1)


def test_without_matplotlib(monkeypatch):
  monkeypatch.setitem(sys.modules, "matplotlib", None)
  with pytest.raises(plots.PlotError, match=r"pip install 'jaxgs\[plots\]'"):
    _page(_noise())


def test_imports_are_late_and_pyplot_is_left_alone(tmp_path):
  code = f"""
import sys
import numpy as np
from jaxgs import plots
print("matplotlib" in sys.modules, "jax" in sys.modules)
panel = plots.error_panel("", np.zeros((4, 5, 3)), np.ones((4, 5, 3)))
figure = plots.make_figure([[panel]], (0, 0, 5, 4), width_px=50)
plots.write_figure({str(tmp_path / "a.png")!r}, figure)
print("matplotlib.pyplot" in sys.modules, "jax" in sys.modules)
"""
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert done.stdout.split() == ["False"] * 4
