"""Lane-interleaved rANS with indexed integer tables: the definition.

The native library (`kernels/rans/cpu.cc`), where it is there, codes the same
bytes 20 to 100 times faster. It only reports success: what is wrong with a
stream or an argument is found again, and said, by the code here.

A stream codes S symbols with L lanes. Symbol i belongs to lane `i % L` and to
row `i // L`; the last row may be short. A lane is a uint32 state x in
[2**16, 2**32). A table is an integer array `cumulative` of n + 1 entries with
`cumulative[0] = 0` and `cumulative[n] = 2**PRECISION_BITS`; symbol s of it has
frequency `f = cumulative[s + 1] - cumulative[s]`, start `c = cumulative[s]`.

Decoding. The stream holds the L states, lane 0 first, as little-endian uint32,
then little-endian uint16 words. For each row from the first, every lane that
has a symbol in the row, in ascending order:

    slot = x & (2**PRECISION_BITS - 1)
    s    = the symbol with cumulative[s] <= slot < cumulative[s + 1]
    x    = f * (x >> PRECISION_BITS) + slot - c
    if x < 2**16:  x = (x << 16) | next word

One word is always enough. Within a row the states do not depend on each other,
so a parallel decoder gives lane l the word at `position + (number of lower
lanes of this row that need one)`. At the end every state is 2**16.

Encoding is the exact reverse: all states start at 2**16; rows from the last to
the first, lanes in descending order:

    if (x >> (32 - PRECISION_BITS)) >= f:  emit x & 0xffff;  x = x >> 16
    x = ((x // f) << PRECISION_BITS) + x % f + c

and the emitted words are stored in reverse. Everything fits in uint32. A stream
costs 2 bytes per lane more than the information in it.
"""

from collections.abc import Sequence

import numpy as np

from jaxgs import native
from jaxgs.codec.bitstream import ByteReader

# 2**-14 is the smallest probability: tables of 1024 equal symbols are within
# 0.1 % of uniform (12 bits: 10 %), and a full lookup table of uint16 is 32 kB,
# which still fits in a GPU's shared memory.
PRECISION_BITS = 14

LANES_MAX = 65535

# Rows are the sequential steps of a decoder. A bound keeps a small hostile
# stream (symbols of certain outcome cost no bits) from costing minutes.
ROWS_MAX = 1 << 16

_STATE_MIN = 1 << 16


def default_lanes(num_symbols: int) -> int:
  """Returns the lanes that the format gives to a stream of so many symbols.

  The largest power of two that leaves 1024 rows, from 1 to 32, and more only
  where ROWS_MAX demands it: a lane costs 2 bytes, so this stays below 0.5 % of
  a stream of 4 bits per symbol.
  """
  lanes = 1
  while lanes < 32 and num_symbols >= 2048 * lanes:
    lanes *= 2
  return max(lanes, -(-num_symbols // ROWS_MAX))


class _Tables:
  """All tables of a stream in flat arrays."""

  def __init__(self, tables: Sequence[np.ndarray]):
    total = 1 << PRECISION_BITS
    for i, table in enumerate(tables):
      if table[0] != 0 or table[-1] != total or (np.diff(table) < 0).any():
        raise ValueError(f"tables[{i}]: not cumulative from 0 to {total}")
    sizes = [len(table) - 1 for table in tables]
    self.sizes = np.asarray(sizes, np.int64)
    self.first = np.cumsum(self.sizes) - self.sizes
    self.start = np.concatenate([table[:-1] for table in tables])
    self.start = self.start.astype(np.uint64)
    self.frequency = np.concatenate([np.diff(table) for table in tables])
    self.frequency = self.frequency.astype(np.uint64)
    # Sorted over all tables, so that one search serves every lane. A symbol of
    # frequency 0 shares its start with the next, and the search skips it.
    owner = np.repeat(np.arange(len(tables), dtype=np.uint64), sizes)
    self.edges = (owner << np.uint64(PRECISION_BITS)) + self.start


def encode(
  symbols: np.ndarray,
  table_index: np.ndarray,
  tables: Sequence[np.ndarray],
  lanes: int,
) -> bytes:
  """Codes symbols.

  Args:
    symbols: integers `(S,)`, each below the size of its table.
    table_index: integers `(S,)`, the table of every symbol.
    tables: cumulative frequencies, see the module's text.
    lanes: 1..LANES_MAX, and at least `S / ROWS_MAX`.

  Returns:
    The stream.

  Raises:
    ValueError: a table is not valid, a symbol has frequency 0 or is outside
      its table, or there are too few lanes.
  """
  count = len(symbols)
  _check_lanes(count, lanes)
  stream = encode_native(symbols, table_index, tables, lanes)
  if stream is not None:
    return stream
  flat = _Tables(tables)
  index = np.asarray(table_index, np.int64)
  value = np.asarray(symbols, np.int64)
  if count and ((value < 0) | (value >= flat.sizes[index])).any():
    raise ValueError("symbols: outside the alphabet of its table")
  value = value + flat.first[index]
  start, frequency = flat.start[value], flat.frequency[value]
  if (frequency == 0).any():
    raise ValueError("symbols: a symbol has frequency 0")
  state = np.full(lanes, _STATE_MIN, np.uint64)
  shift = np.uint64(32 - PRECISION_BITS)
  words = []
  for begin in range((count - 1) // lanes * lanes, -1, -lanes):
    c, f = start[begin : begin + lanes], frequency[begin : begin + lanes]
    x = state[: len(c)]
    full = (x >> shift) >= f
    words.append((x[full] & np.uint64(0xFFFF)).astype("<u2"))
    x = np.where(full, x >> np.uint64(16), x)
    quotient = x // f
    state[: len(c)] = (
      (quotient << np.uint64(PRECISION_BITS)) + (x - quotient * f) + c
    )
  head = state.astype("<u4").tobytes()
  return head + b"".join(row.tobytes() for row in reversed(words))


def decode(
  data: bytes,
  count: int,
  table_index: np.ndarray,
  tables: Sequence[np.ndarray],
  lanes: int,
) -> np.ndarray:
  """Decodes a whole stream.

  Args:
    data: what `encode` returned.
    count: S, the number of symbols.
    table_index: integers `(S,)`, the table of every symbol.
    tables: cumulative frequencies, as given to `encode`.
    lanes: as given to `encode`.

  Returns:
    int64 `(S,)`.

  Raises:
    BitstreamError: the stream is too short or too long, a state leaves its
      range, or the final states are wrong.
    ValueError: a table is not valid, or there are too few lanes.
  """
  reader = ByteReader(data, "rans")
  symbols = decode_from(reader, count, table_index, tables, lanes)
  reader.finish()
  return symbols


def decode_from(
  reader: ByteReader,
  count: int,
  table_index: np.ndarray,
  tables: Sequence[np.ndarray],
  lanes: int,
) -> np.ndarray:
  """Decodes a stream at the front of a reader, which it moves behind it.

  A stream needs no stored length: the decoder knows how many words it read.
  Arguments, result and errors are those of `decode`.
  """
  _check_lanes(count, lanes)
  symbols = decode_native(reader, count, table_index, tables, lanes)
  if symbols is not None:
    return symbols
  flat = _Tables(tables)
  index = np.asarray(table_index, np.uint64) << np.uint64(PRECISION_BITS)
  state = np.frombuffer(reader.take(4 * lanes, "rANS states"), "<u4")
  state = state.astype(np.uint64)
  if (state < _STATE_MIN).any():
    raise reader.error("a rANS state is below 2**16")
  body = reader.data[reader.offset :]
  words = np.frombuffer(body, "<u2", len(body) // 2).astype(np.uint64)
  out = np.empty(count, np.int64)
  mask = np.uint64((1 << PRECISION_BITS) - 1)
  bits, half = np.uint64(PRECISION_BITS), np.uint64(16)
  position = 0
  for begin in range(0, count, lanes):
    row = index[begin : begin + lanes]
    x = state[: len(row)]
    slot = x & mask
    symbol = np.searchsorted(flat.edges, row + slot, side="right") - 1
    out[begin : begin + len(row)] = symbol
    x = flat.frequency[symbol] * (x >> bits) + slot - flat.start[symbol]
    (low,) = np.nonzero(x < _STATE_MIN)
    if low.size:
      if position + low.size > words.size:
        raise reader.error(f"rANS words end before symbol {begin}")
      new = words[position : position + low.size]
      x[low] = (x[low] << half) | new
      position += low.size
    state[: len(row)] = x
  reader.take(2 * position, "rANS words")
  if (state != _STATE_MIN).any():
    raise reader.error("final rANS states are wrong")
  return out - flat.first[np.asarray(table_index, np.int64)]


def _check_lanes(count: int, lanes: int) -> None:
  if not 1 <= lanes <= LANES_MAX:
    raise ValueError(f"lanes: got {lanes}, want 1..{LANES_MAX}")
  if count > ROWS_MAX * lanes:
    raise ValueError(f"lanes: {lanes} are too few for {count} symbols")


def encode_native(
  symbols: np.ndarray,
  table_index: np.ndarray,
  tables: Sequence[np.ndarray],
  lanes: int,
) -> bytes | None:
  """`encode` by the native library; None where it cannot or will not."""
  library = native.library()
  if library is None or not tables:
    return None
  flat, offsets = _joined(tables)
  symbols = np.ascontiguousarray(symbols, np.int64)
  index = np.ascontiguousarray(table_index, np.int64)
  if symbols.shape != index.shape:
    return None
  out = np.empty(4 * lanes + 2 * symbols.size, np.uint8)
  size = np.zeros(1, np.int64)
  fault = library.jaxgs_rans_encode(
    native.pointer(symbols, np.int64),
    native.pointer(index, np.int64),
    symbols.size,
    lanes,
    native.pointer(flat, np.int64),
    native.pointer(offsets, np.int64),
    len(tables),
    native.pointer(out, np.uint8),
    native.pointer(size, np.int64),
  )
  return None if fault else out[: size[0]].tobytes()


def decode_native(
  reader: ByteReader,
  count: int,
  table_index: np.ndarray,
  tables: Sequence[np.ndarray],
  lanes: int,
) -> np.ndarray | None:
  """`decode_from` by the native library; None where it cannot or will not.

  The reader moves only where there is a result.
  """
  library = native.library()
  if library is None or not tables:
    return None
  flat, offsets = _joined(tables)
  index = np.ascontiguousarray(table_index, np.int64)
  if index.size < count:
    return None
  data = np.frombuffer(reader.data, np.uint8)[reader.offset :]
  out = np.empty(count, np.int64)
  used = np.zeros(1, np.int64)
  fault = library.jaxgs_rans_decode(
    native.pointer(data, np.uint8),
    data.size,
    native.pointer(index, np.int64),
    count,
    lanes,
    native.pointer(flat, np.int64),
    native.pointer(offsets, np.int64),
    len(tables),
    native.pointer(out, np.int64),
    native.pointer(used, np.int64),
  )
  if fault:
    return None
  reader.take(int(used[0]), "rANS stream")
  return out


def _joined(tables: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  """All tables behind each other, and where each begins and the last ends."""
  ends = np.cumsum([0, *map(len, tables)], dtype=np.int64)
  return np.concatenate(tables).astype(np.int64, copy=False), ends
