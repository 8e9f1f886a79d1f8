import numpy as np
import pytest

from jaxgs.codec import tables
from jaxgs.codec.bitstream import BitstreamError, ByteReader, encode_varint
from jaxgs.codec.rans import PRECISION_BITS

TOTAL = 1 << PRECISION_BITS


def test_tokens_round_trip():
  edge = 2 ** np.arange(tables.VALUE_BITS, dtype=np.int64)
  values = np.concatenate(
    [np.arange(3000), edge, 2 * edge - 1, 3 * (edge >> 2)]
  )
  values = np.concatenate([values, -values])
  token, raw, width = tables.tokenise(values)
  base, width_again = tables.token_range(token)
  np.testing.assert_array_equal(width, width_again)
  np.testing.assert_array_equal(
    np.where(values < 0, -1, 1) * (base + raw), values
  )
  assert np.abs(token).max() == tables.TOKEN_MAX
  assert ((raw >= 0) & (raw < 1 << width)).all()
  ordered = np.argsort(values, kind="stable")
  assert (np.diff(token[ordered]) >= 0).all()
  with pytest.raises(ValueError, match="values"):
    tables.tokenise(np.array([1 << tables.VALUE_BITS]))


def test_normalise():
  rng = np.random.default_rng(0)
  for size in (1, 2, 50, 300):
    weights = [int(w) for w in rng.exponential(1, size) ** 8 * 1e9]
    weights[0] = 10**30 if size == 50 else 1
    weights[-1] = 0 if size > 1 else 1
    cumulative = tables.normalise(weights)
    frequency = np.diff(cumulative)
    assert cumulative[0] == 0 and cumulative[-1] == TOTAL
    np.testing.assert_array_equal(frequency > 0, np.array(weights) > 0)
    share = np.array(weights, float) / float(sum(weights))
    assert np.abs(frequency / TOTAL - share).max() <= (size + 1) / TOTAL
  np.testing.assert_array_equal(
    tables.normalise([1, 1, 1]), [0, 5462, 10923, 16384]
  )


def entropy(values):
  counts = np.unique(values, return_counts=True)[1]
  return -(counts * np.log2(counts / counts.sum())).sum()


SOURCES = {
  "gauss": lambda rng, n: rng.normal(30, 25, n),
  "narrow": lambda rng, n: rng.normal(0, 2, n),
  "laplace": lambda rng, n: rng.laplace(-5, 10, n),
  "geometric": lambda rng, n: rng.geometric(0.05, n) - 1,
  "heavy": lambda rng, n: rng.standard_t(2, n) * 6,
  "two": lambda rng, n: rng.choice([0, 7], n),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("count", [1000, 20000])
def test_fit_is_near_the_entropy(source, count):
  values = np.rint(SOURCES[source](np.random.default_rng(1), count))
  values = values.astype(np.int64)
  description, bits = tables.fit_table(values)
  # 0.06 bits per symbol for buckets and family; the samples' own entropy is
  # below the source's by about (alphabet / 2 count) nats.
  alphabet = len(np.unique(values))
  assert bits < entropy(values) + 0.06 * count + alphabet * 1.5 + 60
  reader = ByteReader(description, "t")
  table = tables.read_table(reader)
  reader.finish()
  token, _, width = tables.tokenise(values - table.centre)
  share = np.diff(table.cumulative)[token - table.low] / TOTAL
  true_bits = width.sum() - np.log2(share).sum() + 8 * len(description)
  np.testing.assert_allclose(bits, true_bits, rtol=1e-9)


def test_small_sets_get_small_tables():
  rng = np.random.default_rng(2)
  assert len(tables.fit_table(np.zeros(0, np.int64))[0]) == 2
  assert len(tables.fit_table(np.full(9, -3, np.int64))[0]) == 2
  assert len(tables.fit_table(rng.integers(-50, 50, 30))[0]) <= 7


@pytest.mark.parametrize("kind", range(1, 5))
def test_every_kind_is_read(kind):
  params = {
    tables.HISTOGRAM: tables._encode_levels([5, 0, 9, 64, 1, 1, 0]),
    tables.LAPLACE: b"\x20",
    tables.GAUSS: b"\x30",
    tables.MIXTURE: b"\x08\x30\x80",
  }[kind]
  reader = ByteReader(bytes([kind, 9, 5, 7]) + params, "t")
  table = tables.read_table(reader)
  reader.finish()
  assert (table.centre, table.low) == (-5, -3)
  frequency = np.diff(table.cumulative)
  assert frequency.sum() == TOTAL and frequency.size == 7
  if kind == tables.HISTOGRAM:
    assert list(frequency > 0) == [True, False, True, True, True, True, False]
  else:
    np.testing.assert_array_equal(frequency[:3], frequency[:3:-1])
    assert frequency.argmax() == 3


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b"", "table kind"),
    (b"\x05", "kind 5"),
    (b"\x02\0\0\0\x10", "number of tokens"),
    (b"\x02\0\0" + encode_varint(1000), "number of tokens"),
    (b"\x02\0\0\x03\x78", "decay 120"),
    (b"\x04\0\0\x03\x10\x10", "parameters"),
    (b"\x01\0\0\x03\x07", "Rice parameter is 7"),
    (b"\x01\0\0\x03\x00\x00", "empty"),
    (b"\x01\0\0\x01\x00" + b"\xff" * 20, "too long"),
    (b"\x01\0\0\x01\x00\x01", "want 0..64"),
    (b"\x01\0\0\x01\x00\x0b", "unused"),
  ],
)
def test_bad_tables_are_named(data, message):
  with pytest.raises(BitstreamError, match=message):
    tables.read_table(ByteReader(data, "t"))
