import numpy as np
import pytest

from jaxgs.codec import rans
from jaxgs.codec.bitstream import BitstreamError

TOTAL = 1 << rans.PRECISION_BITS


@pytest.fixture(autouse=True, params=["1", "0"], ids=["library", "numpy"])
def _library(request, monkeypatch):
  monkeypatch.setenv("JAXGS_NATIVE", request.param)


def make_tables(rng):
  tables = [np.array([0, TOTAL]), np.array([0, 0, TOTAL, TOTAL])]
  for size in (2, 60, 1000):
    weight = rng.exponential(1, size) ** 3
    frequency = np.floor(weight / weight.sum() * (TOTAL - size)).astype(int) + 1
    frequency[0] += TOTAL - frequency.sum()
    tables.append(np.concatenate([[0], np.cumsum(frequency)]))
  return tables


def draw(rng, count):
  """Returns symbols from their tables, and their information in bits."""
  tables = make_tables(rng)
  index = rng.integers(0, len(tables), count)
  slot = rng.integers(0, TOTAL, count)
  symbols = np.array(
    [
      np.searchsorted(tables[t], s, side="right") - 1
      for t, s in zip(index, slot, strict=True)
    ],
    dtype=np.int64,
  )
  frequency = [
    tables[t][s + 1] - tables[t][s] for t, s in zip(index, symbols, strict=True)
  ]
  bits = -np.log2(np.array(frequency) / TOTAL).sum()
  return symbols, index, tables, bits


@pytest.mark.parametrize("lanes", [1, 4, 32, 300])
@pytest.mark.parametrize("count", [0, 1, 2, 31, 33, 2000])
def test_round_trip_and_size(lanes, count):
  rng = np.random.default_rng(count)
  symbols, index, tables, bits = draw(rng, count)
  data = rans.encode(symbols, index, tables, lanes)
  got = rans.decode(data, count, index, tables, lanes)
  np.testing.assert_array_equal(got, symbols)
  # 16 of a lane's 32 bits of state carry nothing, and words are whole.
  assert len(data) <= bits / 8 * 1.001 + 4 * lanes
  assert len(data) >= bits / 8


def encode_scalar(symbols, index, tables, lanes):
  """The module's text, one symbol at a time in Python integers."""
  state, words = [1 << 16] * lanes, []
  for i in range(len(symbols) - 1, -1, -1):
    table = tables[index[i]]
    c, f = int(table[symbols[i]]), int(np.diff(table)[symbols[i]])
    x = state[i % lanes]
    if x >> (32 - rans.PRECISION_BITS) >= f:
      words.append(x & 0xFFFF)
      x >>= 16
    state[i % lanes] = ((x // f) << rans.PRECISION_BITS) + x % f + c
    assert (1 << 16) <= state[i % lanes] < 1 << 32
  out = b"".join(x.to_bytes(4, "little") for x in state)
  return out + b"".join(w.to_bytes(2, "little") for w in reversed(words))


@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_stream_is_what_the_text_says(lanes):
  symbols, index, tables, _ = draw(np.random.default_rng(lanes), 500)
  want = encode_scalar(symbols, index, tables, lanes)
  assert rans.encode(symbols, index, tables, lanes) == want


def test_known_stream_never_changes():
  table = np.array([0, 1, 5000, 16000, TOTAL])
  symbols = np.array([0, 1, 2, 3, 2, 2, 1, 1, 0, 2, 3, 3])
  data = rans.encode(symbols, np.zeros(12, int), [table], 2)
  assert data.hex() == KNOWN


KNOWN = "0000130023cfb5a9b22f80bf"


def test_wrong_streams():
  symbols, index, tables, _ = draw(np.random.default_rng(5), 300)
  data = rans.encode(symbols, index, tables, 4)
  with pytest.raises(BitstreamError, match="states needs"):
    rans.decode(data[:15], 300, index, tables, 4)
  with pytest.raises(BitstreamError, match="words end"):
    rans.decode(data[:-2], 300, index, tables, 4)
  with pytest.raises(BitstreamError, match="2 bytes too many"):
    rans.decode(data + b"ab", 300, index, tables, 4)
  with pytest.raises(BitstreamError, match="below"):
    rans.decode(data[:2] + b"\0\0" + data[4:], 300, index, tables, 4)
  with pytest.raises(BitstreamError, match="final"):
    sure = [np.array([0, TOTAL])]
    rans.decode(b"\x01\0\x01\0", 9, np.zeros(9, int), sure, 1)


def test_wrong_arguments():
  table = np.array([0, 0, TOTAL])
  one = np.zeros(1, int)
  with pytest.raises(ValueError, match="frequency 0"):
    rans.encode(one, one, [table], 1)
  with pytest.raises(ValueError, match="outside the alphabet"):
    rans.encode(one + 2, one, [table], 1)
  with pytest.raises(ValueError, match=r"tables\[0\]"):
    rans.encode(one, one, [table[:2]], 1)
  with pytest.raises(ValueError, match="lanes"):
    rans.encode(one, one, [table], 0)
  with pytest.raises(ValueError, match="too few"):
    rans.decode(b"", rans.ROWS_MAX + 1, one, [table], 1)


def test_default_lanes():
  got = [rans.default_lanes(s) for s in (1, 2047, 2048, 10**5, 10**7, 2**30)]
  assert got == [1, 1, 2, 32, 153, 2**14]
