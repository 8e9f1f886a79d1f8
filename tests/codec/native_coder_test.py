"""The native coder does what the numpy code does, faults included."""

import numpy as np
import pytest

from jaxgs import codec, native
from jaxgs.codec import angles, columns, rans
from jaxgs.codec.bitstream import BitstreamError, ByteReader
from tests.codec.rans_test import draw

pytestmark = pytest.mark.skipif(
  native.library() is None, reason=native.reason() or "library"
)

SHAPES = [(0, 1), (1, 4), (31, 32), (33, 32), (2000, 1), (2000, 7), (500, 999)]


def in_numpy(monkeypatch, function, *args):
  with monkeypatch.context() as patch:
    patch.setenv("JAXGS_NATIVE", "0")
    return function(*args)


def outcome(function, *args):
  """What a call returns, or the fault that it raises."""
  try:
    return function(*args)
  except (BitstreamError, ValueError, IndexError) as error:
    return type(error), str(error)


@pytest.mark.parametrize(("count", "lanes"), SHAPES)
def test_same_bytes_both_ways(monkeypatch, count, lanes):
  symbols, index, tables, _ = draw(np.random.default_rng(count), count)
  args = symbols, index, tables, lanes
  data = rans.encode_native(*args)
  assert data is not None
  assert data == in_numpy(monkeypatch, rans.encode, *args) == rans.encode(*args)
  tail = b"more"
  reader = ByteReader(data + tail, "rans")
  got = rans.decode_native(reader, count, index, tables, lanes)
  np.testing.assert_array_equal(got, symbols)
  assert reader.take(4, "tail") == tail
  stream = data, count, index, tables, lanes
  want = in_numpy(monkeypatch, rans.decode, *stream)
  np.testing.assert_array_equal(got, want)
  assert got.dtype == want.dtype


def test_damaged_streams(monkeypatch):
  rng = np.random.default_rng(0)
  refused = 0
  for _ in range(400):
    count, lanes = int(rng.integers(0, 60)), int(rng.integers(1, 6))
    symbols, index, tables, _ = draw(rng, count)
    data = bytearray(rans.encode(symbols, index, tables, lanes))
    for _ in range(rng.integers(1, 3)):
      kind = rng.integers(0, 3)
      at = int(rng.integers(0, len(data) + 1))
      if kind == 0:
        del data[at:]
      elif kind == 1 and at < len(data):
        data[at] ^= 1 << int(rng.integers(0, 8))
      else:
        data[at:at] = rng.bytes(int(rng.integers(1, 4)))
    stream = bytes(data), count, index, tables, lanes
    got = outcome(rans.decode, *stream)
    want = in_numpy(monkeypatch, outcome, rans.decode, *stream)
    np.testing.assert_array_equal(got, want)
    # Not only by way of the numpy code: a stream that has a fault is one for
    # both, but for what follows it.
    native_result = rans.decode_native(
      ByteReader(bytes(data), "rans"), *stream[1:]
    )
    fault = isinstance(want, tuple) and "too many" not in want[1]
    assert (native_result is None) == fault
    refused += fault
  assert refused > 100


def test_wrong_arguments(monkeypatch):
  total = 1 << rans.PRECISION_BITS
  good = np.array([0, 5000, 5000, total])
  one = np.zeros(1, np.int64)
  calls = [
    (one + 1, one, [good], 1),  # Of frequency 0.
    (one + 3, one, [good], 1),
    (one - 1, one, [good], 1),
    (one, one + 1, [good], 1),
    (one, one, [good[1:]], 1),
    (one, one, [good[::-1]], 1),
    (one, one, [good[:1]], 1),
    (one, one, [], 1),
    (one, one, [good], 0),
    (one, one, [good], rans.LANES_MAX + 1),
  ]
  for call in calls:
    got = outcome(rans.encode, *call)
    assert got == in_numpy(monkeypatch, outcome, rans.encode, *call)
    assert isinstance(got, tuple), call
  for call in calls[3:]:
    stream = (bytes(64), 1, *call[1:])
    got = outcome(rans.decode, *stream)
    assert got == in_numpy(monkeypatch, outcome, rans.decode, *stream)
    assert isinstance(got, tuple), call


def neighbours(rng, n):
  near = rng.integers(0, np.maximum(np.arange(n), 1)[:, None], (n, 4))
  return near.astype(np.int64)


@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize("n", [1, 2, 1000])
def test_predictions(monkeypatch, n, stepped):
  rng = np.random.default_rng(n)
  steps = rng.integers(1, 1000, n) if stepped else None
  near = neighbours(rng, n)
  residual = rng.integers(-(10**6), 10**6, n)
  for taps in columns.PREDICTORS[1:]:
    got = columns._restore_native(residual, near, taps, steps)
    reader = ByteReader(b"", "test")
    want = in_numpy(
      monkeypatch, columns._restore, reader, residual, near, taps, steps
    )
    np.testing.assert_array_equal(got, want)
    again = columns._residual(got, near, taps, steps)
    np.testing.assert_array_equal(again, residual)
  levels = rng.integers(1, 1025, n)
  turned = rng.integers(-1024, 1024, n)
  got = angles._add_guesses(turned, levels, near)
  want = in_numpy(monkeypatch, angles._add_guesses, turned, levels, near)
  np.testing.assert_array_equal(got, want)


def test_predictions_out_of_range(monkeypatch):
  rng = np.random.default_rng(1)
  near = neighbours(rng, 50)
  taps = columns.PREDICTORS[-1]
  call = columns._restore, ByteReader(b"", "test"), np.full(50, 1 << 37)
  for steps in (None, np.arange(1, 51)):
    got = outcome(*call, near, taps, steps)
    assert got == in_numpy(monkeypatch, outcome, *call, near, taps, steps)
    assert "a predicted value is out of range" in got[1]


def test_whole_files(monkeypatch, make_splats):
  for options in ({}, {"channels": 1, "lanes": 5}, {"weighted": False}):
    header, symbols = make_splats(700, **options)
    data = codec.encode(header, symbols)
    assert data == in_numpy(monkeypatch, codec.encode, header, symbols)
    got, want = codec.decode(data), in_numpy(monkeypatch, codec.decode, data)
    assert got[0] == want[0]
    for a, b in zip(got[1], want[1], strict=True):
      np.testing.assert_array_equal(a, b)
