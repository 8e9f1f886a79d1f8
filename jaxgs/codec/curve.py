"""Order along a space-filling curve, and what the order gives for free.

The image is covered by square cells of `2**cell_bits` pixels. A Hilbert curve
runs through squares of `2**k` cells, the smallest that span the shorter image
axis; the squares follow each other along the longer one.
"""

import numpy as np

from jaxgs.codec.lattice import POSITION_BITS_MAX

# Cells from 1/16 to 256 pixels: small enough that dense splats rarely share a
# cell, and large enough that a few splats in a large image cost few bits.
CELL_BITS_MIN = -4
CELL_BITS_MAX = 8

# The neighbours of a splat are sought among so many splats before it on the
# curve. More finds closer ones, at proportional cost.
NUM_LAGS = 32

# So many of them predict a value.
NUM_NEIGHBOURS = 4


def num_cells(size: int, cell_bits: int) -> int:
  """Returns the number of cells along an axis of `size` pixels."""
  unit = cell_bits - CELL_BITS_MIN
  return -((-size << -CELL_BITS_MIN) >> unit)


def cell_of(
  position: np.ndarray, bits: np.ndarray, cell_bits: int
) -> np.ndarray:
  """Returns the cells that hold the low corners of lattice positions.

  Args:
    position: int64 `(N, 2)`.
    bits: int64 `(N, 2)`, the position bits.
    cell_bits: log2 of the cell size in pixels.

  Returns:
    int64 `(N, 2)`, columns x and y.
  """
  corner = position << (POSITION_BITS_MAX - bits)
  return corner >> np.int64(POSITION_BITS_MAX + cell_bits)


def _square_bits(shape: tuple[int, int]) -> int:
  return (min(shape) - 1).bit_length()


def encode_curve(cell: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """Returns the places of cells on the curve.

  Args:
    cell: int64 `(N, 2)`, columns x and y, inside `shape`.
    shape: number of cells along x and y.

  Returns:
    int64 `(N,)`, non-negative.
  """
  order = (0, 1) if shape[0] >= shape[1] else (1, 0)
  along, across = cell[:, order[0]], cell[:, order[1]]
  k = _square_bits(shape)
  place = along >> np.int64(k)
  for bit in range(k - 1, -1, -1):
    mask = np.int64((1 << bit) - 1)
    rx, ry = (along >> np.int64(bit)) & 1, (across >> np.int64(bit)) & 1
    place = (place << np.int64(2)) | ((3 * rx) ^ ry)
    along, across = _turn(along & mask, across & mask, rx, ry, mask)
  return place


def decode_curve(place: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """Inverts `encode_curve`.

  Args:
    place: int64 `(N,)`, non-negative.
    shape: number of cells along x and y.

  Returns:
    int64 `(N, 2)`, columns x and y; may lie outside `shape`.
  """
  k = _square_bits(shape)
  along, across = np.zeros_like(place), np.zeros_like(place)
  for bit in range(k):
    digit = (place >> np.int64(2 * bit)) & 3
    rx = digit >> np.int64(1)
    ry = (digit ^ rx) & 1
    along, across = _turn(along, across, rx, ry, np.int64((1 << bit) - 1))
    along, across = (
      along | (rx << np.int64(bit)),
      across | (ry << np.int64(bit)),
    )
  along = along | ((place >> np.int64(2 * k)) << np.int64(k))
  cell = (along, across) if shape[0] >= shape[1] else (across, along)
  return np.stack(cell, axis=1)


def _turn(
  x: np.ndarray, y: np.ndarray, rx: np.ndarray, ry: np.ndarray, mask: np.int64
) -> tuple[np.ndarray, np.ndarray]:
  """Turns the curve inside a quadrant (its own inverse)."""
  flip = np.where((ry == 0) & (rx == 1), mask, 0)
  x, y = x ^ flip, y ^ flip
  return np.where(ry == 0, y, x), np.where(ry == 0, x, y)


def neighbours(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the nearest among the NUM_LAGS splats before each.

  Splats before the first count as the first. Ties go to the later splat.

  Args:
    cell: int64 `(N, 2)` in the order of the curve.

  Returns:
    Indices int64 `(N, NUM_NEIGHBOURS)`, nearest first, all smaller than the
    row but for row 0; and the squared distance in cells to the last of them,
    int64 `(N,)`.
  """
  n = len(cell)
  near = np.empty((n, NUM_NEIGHBOURS), np.int64)
  spread = np.empty(n, np.int64)
  before = np.repeat(cell[:1], NUM_LAGS, axis=0)
  x, y = np.ascontiguousarray(np.concatenate([before, cell]).T)
  # In blocks, so that the table of all distances stays in a core's cache.
  for begin in range(0, n, 2048):
    end = min(begin + 2048, n)
    key = np.empty((end - begin, NUM_LAGS), np.int64)
    here = slice(begin + NUM_LAGS, end + NUM_LAGS)
    for lag in range(NUM_LAGS):
      there = slice(here.start - lag - 1, here.stop - lag - 1)
      dx, dy = x[here] - x[there], y[here] - y[there]
      # Distances are below 2**43. The lag behind them decides a tie, and tells
      # afterwards whose distance it was.
      key[:, lag] = (dx * dx + dy * dy) * NUM_LAGS + lag
    key.partition(NUM_NEIGHBOURS - 1, axis=1)
    best = np.sort(key[:, :NUM_NEIGHBOURS], axis=1)
    source = np.arange(begin - 1, end - 1)[:, None] - best % NUM_LAGS
    near[begin:end] = np.maximum(source, 0)
    spread[begin:end] = best[:, -1] // NUM_LAGS
  return near, spread
