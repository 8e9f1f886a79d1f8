import numpy as np
import pytest

from jaxgs.codec import columns
from jaxgs.codec.bitstream import (
  BitstreamError,
  ByteReader,
  encode_signed_varint,
)


def chain(n):
  return np.maximum(np.arange(n)[:, None] - [1, 2, 3, 4], 0)


def walk(rng, n):
  """Values with a correlation of 0.9 to the one before."""
  x = np.zeros(n)
  for i in range(1, n):
    x[i] = 0.9 * x[i - 1] + rng.normal(0, 20)
  return np.rint(x).astype(np.int64)


def round_trip(values, near, contexts, lanes=0):
  data = columns.encode_column(values, near, contexts, lanes)
  reader = ByteReader(data, "x")
  got = columns.decode_column(reader, near, contexts, values.shape[1], lanes)
  reader.finish()
  np.testing.assert_array_equal(got, values)
  return len(data)


@pytest.mark.parametrize("lanes", [0, 1, 7])
@pytest.mark.parametrize("n", [1, 2, 3, 500])
def test_round_trip(n, lanes):
  rng = np.random.default_rng(n)
  values = np.stack([walk(rng, n), rng.integers(-9, 9, n), np.full(n, 4)], 1)
  values[-1] = [-(1 << 37), 1 << 37, 0]
  contexts = [
    columns.no_context(n),
    columns.rank_context(rng.integers(0, 5, n), 3),
  ]
  round_trip(values, chain(n), contexts, lanes)


def test_prediction_pays():
  rng = np.random.default_rng(0)
  values, contexts = walk(rng, 3000)[:, None], [columns.no_context(3000)]
  with_it = round_trip(values, chain(3000), contexts)
  without = round_trip(values, np.zeros((3000, 4), int), contexts)
  # The innovation has 0.44 of the spread: 1.2 bits less.
  assert 1.0 < (without - with_it) * 8 / 3000 < 1.3


def test_contexts_pay():
  rng = np.random.default_rng(0)
  known = rng.integers(0, 2, 3000)
  values = np.where(known, rng.integers(-2, 3, 3000), rng.normal(0, 40, 3000))
  values = np.rint(values).astype(np.int64)[:, None]
  near = np.zeros((3000, 4), int)
  plain = [columns.no_context(3000)]
  both = [*plain, columns.rank_context(known, 2)]
  assert round_trip(values, near, both) < 0.9 * round_trip(values, near, plain)


def test_constant_columns_are_almost_free():
  values = np.full((5000, 3), -7)
  size = round_trip(values, chain(5000), [columns.no_context(5000)])
  assert size == 1 + 3 + 3 * 2


def test_rank_context_has_equal_classes():
  context = columns.rank_context(np.arange(1000)[::-1], 4)
  np.testing.assert_array_equal(np.bincount(context.index), [250] * 4)
  assert columns.rank_context(np.array([5]), 4).index.max() < 4


def test_growing_predictions_are_stopped():
  # A delta per splat of 2**39 - 1 leaves the range at the second one.
  n = 50
  values = np.arange(n)[:, None] * ((1 << 37) // n)
  data = bytearray(
    columns.encode_column(values, chain(n), [columns.no_context(n)], 0)
  )
  assert columns.PREDICTORS[data[1]] == (16, 0, 0, 0)
  data = bytes([0, data[1], 0]) + encode_signed_varint((1 << 39) - 1)
  with pytest.raises(BitstreamError, match="out of range"):
    columns.decode_column(
      ByteReader(data, "x"), chain(n), [columns.no_context(n)], 1, 0
    )


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b"", "context"),
    (b"\x01", "context 1"),
    (b"\x00\xff", "predictor 255"),
    (b"\x00\x00", "table kind"),
  ],
)
def test_bad_columns_are_named(data, message):
  with pytest.raises(BitstreamError, match=message):
    columns.decode_column(
      ByteReader(data, "x"), chain(5), [columns.no_context(5)], 1, 0
    )
