import numpy as np
import pytest

from jaxgs.codec import curve


@pytest.mark.parametrize(
  "shape", [(1, 1), (8, 8), (16, 5), (5, 16), (1, 30), (30, 1), (9, 8)]
)
def test_curve_is_a_bijection_of_steps_of_one(shape):
  x, y = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]))
  cell = np.stack([x.ravel(), y.ravel()], 1)
  place = curve.encode_curve(cell, shape)
  assert len(np.unique(place)) == len(place)
  np.testing.assert_array_equal(curve.decode_curve(place, shape), cell)
  ordered = cell[np.argsort(place)]
  if shape in ((8, 8), (1, 30), (30, 1)):
    assert np.abs(np.diff(ordered, axis=0)).sum(1).max() == 1


def test_curve_of_the_largest_grid():
  shape = tuple(curve.num_cells(s, curve.CELL_BITS_MIN) for s in (65536, 4096))
  assert shape == (1 << 20, 1 << 16)
  cell = np.array([[0, 0], [shape[0] - 1, shape[1] - 1], [12345, 54321]])
  place = curve.encode_curve(cell, shape)
  assert place.max() < 1 << 38
  np.testing.assert_array_equal(curve.decode_curve(place, shape), cell)


def test_num_cells_is_the_ceiling():
  assert [curve.num_cells(513, b) for b in (-4, 0, 8)] == [513 * 16, 513, 3]


def test_neighbours_are_the_nearest_before():
  rng = np.random.default_rng(0)
  cell = rng.integers(0, 12, (100, 2))
  near, spread = curve.neighbours(cell)
  for i in range(curve.NUM_LAGS, 100):
    lags = np.arange(1, curve.NUM_LAGS + 1)
    distance = ((cell[i] - cell[i - lags]) ** 2).sum(1)
    best = np.argsort(distance, kind="stable")[: curve.NUM_NEIGHBOURS]
    np.testing.assert_array_equal(near[i], i - lags[best])
    assert spread[i] == distance[best[-1]]
  assert (near[1:] < np.arange(1, 100)[:, None]).all()
  np.testing.assert_array_equal(near[:2], 0)
  assert (curve.neighbours(cell[:1])[0] == 0).all()


def test_neighbours_do_not_depend_on_blocks():
  cell = np.random.default_rng(0).integers(0, 99, (5000, 2))
  near, spread = curve.neighbours(cell)
  again, spread_again = curve.neighbours(cell[3000:])
  np.testing.assert_array_equal(near[3100:], again[100:] + 3000)
  np.testing.assert_array_equal(spread[3100:], spread_again[100:])
