"""Tokens for integers of any size, and small descriptions of their tables.

An integer v becomes a token and raw bits. With `u = |v|`: u < 8 is its own
token without raw bits; otherwise, with `e = floor(log2(u))`, the token is
`8 + 4 * (e - 3) + (the two bits after the leading one)`, and the other e - 2
bits are raw. Negative v gives the negative token. A bucket is at most a quarter
of its value wide, so treating it as flat costs about 0.01 bit.

A table is stored as

  kind    1 byte
  centre  signed varint, subtracted from the values before they become tokens
  and, except for CONSTANT (all values equal the centre),
  low     signed varint, the lowest token; symbol s stands for token low + s
  size    varint, number of tokens
  params  by kind, see below

and gives integer weights, which `normalise` turns into frequencies:

  HISTOGRAM  a level per token: level 0 is weight 0, level q > 0 is weight
             `(4 + (q - 1) % 4) << ((q - 1) // 4)`. Stored are the differences
             to the previous level (first: to 0), zigzag, as Rice codes in
             packed bits, after a byte with the Rice parameter.
  LAPLACE    1 byte i: weight `width * d(i)**(2 * mid)`, where width and mid are
             the width of the token's bucket and the middle of |v| in it.
  GAUSS      1 byte i: weight `width * d(i)**(min(2 * mid, 2**20)**2)`.
  MIXTURE    3 bytes i, j, k: weight `(k * L(i) << 32) // sum(L(i)) +
             ((256 - k) * L(j) << 32) // sum(L(j))`, L the LAPLACE weights.

`d(i) = m / (m + 16)`, `m = (4 + i % 4) << (i // 4)`, rounded down to 31
fractional bits. Exponents are limited to 2**40 - 1, and powers are products of
the repeated squares, the lowest bit of the exponent first, every product
rounded down. Weights of the last three kinds are at least 1.
"""

import functools
from typing import NamedTuple

import numpy as np

from jaxgs.codec.bitstream import (
  ByteReader,
  encode_signed_varint,
  encode_varint,
)
from jaxgs.codec.rans import PRECISION_BITS

# Values to be coded stay below 2**40 (a Hilbert index needs 34 bits).
VALUE_BITS = 40
TOKEN_MAX = 8 + 4 * (VALUE_BITS - 3) - 1

CONSTANT, HISTOGRAM, LAPLACE, GAUSS, MIXTURE = range(5)

_NUM_DECAYS = 120
_DECAY_BITS = 31
# Zero probability beyond this exponent for every decay but the slowest few.
_EXPONENT_MAX = (1 << 40) - 1
_LEVEL_MAX = 64
_RICE_MAX = 6


class Table(NamedTuple):
  """One decoded table.

  Attributes:
    centre: what is added to the value of a token.
    low: token of symbol 0.
    cumulative: int64 `(size + 1,)`, from 0 to 2**PRECISION_BITS.
  """

  centre: int
  low: int
  cumulative: np.ndarray


def tokenise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Splits integers into tokens and raw bits.

  Args:
    values: int64 `(S,)`, `|values| < 2**VALUE_BITS`.

  Returns:
    int64 `(S,)` each: tokens, raw bits, and the number of raw bits.
  """
  size = np.abs(values)
  if (size >> np.int64(VALUE_BITS)).any():
    raise ValueError(f"values: want |value| < 2**{VALUE_BITS}")
  # Exact: every integer below 2**53 is a float64, and frexp does not round.
  octave = np.frexp(size.astype(np.float64))[1].astype(np.int64) - 1
  width = np.maximum(octave - 2, 0)
  token = np.where(
    size < 8, size, 8 + 4 * (octave - 3) + ((size >> width) & np.int64(3))
  )
  raw = size & ((np.int64(1) << width) - 1)
  return np.where(values < 0, -token, token), raw, width


def token_range(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the least |value| of tokens and their number of raw bits.

  Args:
    tokens: int64 of any shape in [-TOKEN_MAX, TOKEN_MAX].

  Returns:
    int64 arrays of the shape of `tokens`.
  """
  size = np.abs(np.asarray(tokens, np.int64))
  width = np.maximum((size - 8) >> np.int64(2), -1) + 1
  base = np.where(size < 8, size, (4 + (size & 3)) << width)
  return base, width


def normalise(weights: list[int]) -> np.ndarray:
  """Turns weights into cumulative frequencies.

  With n positive weights of sum W, a positive weight w gets the frequency
  `1 + w * (2**PRECISION_BITS - n) // W`, a weight of 0 gets 0, and what is left
  goes to the first of the largest weights.

  Args:
    weights: non-negative integers of any size, at least one positive and at
      most 2**PRECISION_BITS of them.

  Returns:
    int64 `(len(weights) + 1,)`, from 0 to 2**PRECISION_BITS.
  """
  total = 1 << PRECISION_BITS
  spread = total - sum(1 for w in weights if w)
  whole = sum(weights)
  frequency = [1 + w * spread // whole if w else 0 for w in weights]
  frequency[weights.index(max(weights))] += total - sum(frequency)
  return np.cumsum([0, *frequency], dtype=np.int64)


@functools.lru_cache(maxsize=2)
def _powers(kind: int) -> np.ndarray:
  """Returns d(i)**exponent of LAPLACE or GAUSS, int64 (decays, TOKEN_MAX+1)."""
  base, width = token_range(np.arange(TOKEN_MAX + 1))
  exponent = 2 * base + (np.int64(1) << width) - 1
  if kind == GAUSS:
    exponent = np.minimum(exponent, 1 << 20) ** 2
  exponent = np.minimum(exponent, _EXPONENT_MAX)
  index = np.arange(_NUM_DECAYS)
  m = (4 + index % 4) << (index // 4)
  decay = ((m << _DECAY_BITS) // (m + 16))[:, None]
  shift = np.int64(_DECAY_BITS)
  result = np.full((_NUM_DECAYS, TOKEN_MAX + 1), 1 << _DECAY_BITS, np.int64)
  while exponent.any():
    odd = (exponent & 1).astype(bool)
    result = np.where(odd, (result * decay) >> shift, result)
    decay = (decay * decay) >> shift
    exponent >>= 1
  return result


def _family_weights(kind: int, index: int, tokens: np.ndarray) -> list[int]:
  """Returns the weights of LAPLACE or GAUSS, each at least 1."""
  _, width = token_range(tokens)
  power = _powers(kind)[index, np.abs(tokens)]
  pairs = zip(power.tolist(), width.tolist(), strict=True)
  return [max(p << w, 1) for p, w in pairs]


def _mixture_weights(params: bytes, tokens: np.ndarray) -> list[int]:
  first = _family_weights(LAPLACE, params[0], tokens)
  second = _family_weights(LAPLACE, params[1], tokens)
  first_sum, second_sum, share = sum(first), sum(second), params[2]
  return [
    max(
      (share * a << 32) // first_sum + ((256 - share) * b << 32) // second_sum,
      1,
    )
    for a, b in zip(first, second, strict=True)
  ]


def _level_weight(level: int) -> int:
  return (4 + (level - 1) % 4) << ((level - 1) // 4) if level else 0


def _encode_levels(levels: list[int]) -> bytes:
  """Returns the Rice parameter and the Rice codes of the level differences."""
  deltas = np.diff(levels, prepend=0).tolist()
  codes = [2 * d if d >= 0 else -2 * d - 1 for d in deltas]
  lengths = [sum((c >> k) + 1 + k for c in codes) for k in range(_RICE_MAX + 1)]
  k = lengths.index(min(lengths))
  bits: list[int] = []
  for code in codes:
    bits += [1] * (code >> k) + [0] + [(code >> b) & 1 for b in range(k)]
  packed = np.packbits(np.asarray(bits, np.uint8), bitorder="little")
  return bytes([k]) + packed.tobytes()


def _decode_levels(reader: ByteReader, size: int) -> list[int]:
  """Reads `size` levels, never more than `2 * _LEVEL_MAX + 7` bits each."""
  k = reader.byte("Rice parameter")
  if k > _RICE_MAX:
    raise reader.error(f"Rice parameter is {k}, want 0..{_RICE_MAX}")
  byte, left = 0, 0

  def bit() -> int:
    nonlocal byte, left
    if not left:
      byte, left = reader.byte("histogram"), 8
    byte, left, out = byte >> 1, left - 1, byte & 1
    return out

  levels, level = [], 0
  for _ in range(size):
    code = 0
    while bit():
      code += 1
      if code > 2 * _LEVEL_MAX:
        raise reader.error("histogram code is too long")
    code = (code << k) + sum(bit() << b for b in range(k))
    level += -((code + 1) >> 1) if code & 1 else code >> 1
    if not 0 <= level <= _LEVEL_MAX:
      raise reader.error(f"histogram level {level}, want 0..{_LEVEL_MAX}")
    levels.append(level)
  if byte:
    raise reader.error("an unused histogram bit is set")
  if not any(levels):
    raise reader.error("histogram is empty")
  return levels


def read_table(reader: ByteReader) -> Table:
  """Reads a table.

  Args:
    reader: stands at the table; moved behind it.

  Raises:
    BitstreamError: the description is truncated or not valid.
  """
  kind = reader.byte("table kind")
  if kind > MIXTURE:
    raise reader.error(f"table kind {kind} is not known")
  centre = reader.signed_varint("table centre", (1 << VALUE_BITS) - 1)
  if kind == CONSTANT:
    return Table(centre, 0, np.array([0, 1 << PRECISION_BITS], np.int64))
  low = reader.signed_varint("lowest token", TOKEN_MAX)
  size = reader.varint("number of tokens", 1, TOKEN_MAX + 1 - low)
  tokens = np.arange(low, low + size)
  if kind == HISTOGRAM:
    weights = [_level_weight(q) for q in _decode_levels(reader, size)]
  else:
    params = reader.take(3 if kind == MIXTURE else 1, "table parameters")
    if max(params[:2]) >= _NUM_DECAYS:
      raise reader.error(f"table decay {max(params[:2])} is not known")
    if kind == MIXTURE:
      weights = _mixture_weights(params, tokens)
    else:
      weights = _family_weights(kind, params[0], tokens)
  return Table(centre, low, normalise(weights))


def fit_table(values: np.ndarray) -> tuple[bytes, float]:
  """Finds a small table for values.

  Args:
    values: int64 `(S,)`, `|values| < 2**(VALUE_BITS - 1)`; may be empty.

  Returns:
    The table as `read_table` reads it, and the bits that table, tokens and raw
    bits take together.
  """
  centre = (
    int(np.partition(values, len(values) // 2)[len(values) // 2])
    if (values.size)
    else 0
  )
  prefix = encode_signed_varint(centre)
  if not values.size or (values == centre).all():
    table = bytes([CONSTANT]) + prefix
    return table, 8.0 * len(table)
  candidates = [_fit_centred(values, centre, prefix)]
  if values.min() == 0 < centre:
    # A one-sided distribution that starts at 0 (gaps, ratios).
    candidates.append(_fit_centred(values, 0, encode_signed_varint(0)))
  return min(candidates, key=lambda item: item[1])


def _fit_centred(
  values: np.ndarray, centre: int, prefix: bytes
) -> tuple[bytes, float]:
  token, _, width = tokenise(values - centre)
  low = int(token.min())
  counts = np.bincount(token - low)
  tokens = np.arange(low, low + counts.size)
  prefix += encode_signed_varint(low) + encode_varint(counts.size)
  raw_bits = int(width.sum())
  best, best_bits = b"", float("inf")
  for kind, params in _candidates(counts, tokens):
    table = bytes([kind]) + prefix + params
    cumulative = read_table(ByteReader(table, "table")).cumulative
    share = np.diff(cumulative)[counts > 0] / (1 << PRECISION_BITS)
    bits = 8 * len(table) + raw_bits
    bits -= float(counts[counts > 0] @ np.log2(share))
    if bits < best_bits:
      best, best_bits = table, bits
  return best, best_bits


def _candidates(
  counts: np.ndarray, tokens: np.ndarray
) -> list[tuple[int, bytes]]:
  """Returns the best parameters of each kind, as (kind, params)."""
  # The first search uses floats: it only chooses what is then written down.
  total = 1 << 12
  scaled = (counts * total + len(counts)) / counts.sum()
  steps = np.array([_level_weight(q) for q in range(1, _LEVEL_MAX + 1)])
  nearest = np.abs(np.log(np.maximum(scaled, 1))[:, None] - np.log(steps / 4))
  levels = np.where(counts > 0, 1 + nearest.argmin(1), 0)
  found = [(HISTOGRAM, _encode_levels(levels.tolist()))]
  _, width = token_range(tokens)
  floor = 2.0**-PRECISION_BITS

  def cost(share: np.ndarray) -> np.ndarray:
    return -np.log2(share + floor) @ counts

  shares = {}
  for kind in (LAPLACE, GAUSS):
    share = _powers(kind)[:, np.abs(tokens)] * np.exp2(width)
    share = np.maximum(share, 1)
    shares[kind] = share / share.sum(1, keepdims=True)
    found.append((kind, bytes([int(cost(shares[kind]).argmin())])))
  centre = found[1][1][0]
  first = np.arange(max(centre - 14, 0), centre + 1)
  second = np.arange(centre, min(centre + 20, _NUM_DECAYS), 2)
  i, j, k = (a.ravel() for a in np.meshgrid(first, second, [96, 160, 208, 240]))
  part = (k / 256)[:, None]
  laplace = shares[LAPLACE]
  best = int(cost(part * laplace[i] + (1 - part) * laplace[j]).argmin())
  found.append((MIXTURE, bytes([int(i[best]), int(j[best]), int(k[best])])))
  return found
