import types

import numpy as np
import pytest

from jaxgs import plots
from jaxgs.types import Gaussians2D


def _state(step, active, mean, momentum):
  count = len(active)
  momentum = np.asarray(momentum, np.float32)
  zeros = np.zeros(count, np.float32)
  return types.SimpleNamespace(
    step=np.int32(step),
    active=np.asarray(active, bool),
    gaussians=types.SimpleNamespace(mean=np.asarray(mean, np.float32)),
    moments=types.SimpleNamespace(
      mu=Gaussians2D(
        mean=np.stack([zeros, momentum], -1),
        log_scale=np.zeros((count, 2)),
        angle=zeros,
        log_weight=zeros,
        feature=np.zeros((count, 3)),
      )
    ),
  )


START = _state(
  0, [1, 1, 1, 0, 0], [[1, 1], [2, 2], [3, 3], [0, 0], [0, 0]], [0] * 5
)


def test_added_and_moved():
  first = plots.placed_since(None, START)
  assert first.slots.tolist() == [0, 1, 2]
  assert not first.moved.any()
  # 0 drifts, 1 was moved, 2 is hidden and never had a gradient, 3 is new.
  mean = [[1.1, 1], [9, 8], [3, 3], [7, 6], [0, 0]]
  later = _state(50, [1, 1, 1, 1, 0], mean, [0.1, 0, 0, 0, 0])
  found = plots.placed_since(START, later)
  assert found.step == 50
  assert found.slots.tolist() == [1, 3]
  assert found.moved.tolist() == [True, False]
  np.testing.assert_array_equal(found.mean, [[9, 8], [7, 6]])
  assert not len(plots.placed_since(later, later).slots)


def _lines(tmp_path, *placed):
  path = tmp_path / "growth.jsonl"
  path.write_text("".join(p.to_json() + "\n" for p in placed))
  return path


def _placed(step, slots, mean, moved):
  return plots.Placed(
    step, np.array(slots), np.array(mean, float), np.array(moved, bool)
  )


FIRST = _placed(0, [0, 1], [[2.126, 3], [5, 6]], [0, 0])
SECOND = _placed(50, [2, 1], [[7, 8], [9, 9]], [0, 1])


def test_lines_come_back(tmp_path):
  path = _lines(tmp_path, FIRST, SECOND)
  with path.open("a") as file:
    file.write('{"step": 1')  # A kill tore it.
  found = plots.read_placed(path)
  assert [p.step for p in found] == [0, 50]
  np.testing.assert_allclose(found[0].mean, [[2.13, 3], [5, 6]])
  assert found[1].slots.tolist() == [2, 1]
  assert found[1].moved.tolist() == [False, True]
  path.write_text('{"step": 1}\n' + FIRST.to_json())
  with pytest.raises(plots.PlotError, match="line 1: not of a fit"):
    plots.read_placed(path)


def test_a_splat_is_shown_where_it_was_put_last():
  rgb = np.ones((10, 12, 3), np.float32)
  panel = plots.rounds_panel("a", [FIRST, SECOND], rgb)
  assert panel.title == "a: 2 added (dots), 1 moved there (diamonds)"
  figure = plots.make_figure([[panel]], (0, 0, 12, 10), width_px=120)
  dots, diamonds = figure.axes[0].collections
  np.testing.assert_allclose(dots.get_offsets(), [[2.126, 3], [7, 8]])
  np.testing.assert_allclose(dots.get_array(), [0, 50])
  np.testing.assert_allclose(diamonds.get_offsets(), [[9, 9]])
  np.testing.assert_allclose(diamonds.get_array(), [50])
  assert dots.get_clim() == diamonds.get_clim() == (0, 50)
  with pytest.raises(plots.PlotError, match="no splats"):
    plots.rounds_panel("a", [], rgb)
