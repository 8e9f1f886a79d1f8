"""Angles: uniform, or a coarse direction followed by a uniform rest.

Splat n has `levels` possible angles. A coded angle starts with a mode byte:

  UNIFORM   the angle itself, uniform over its levels
  ABSOLUTE  with `turned = (angle + half) % levels`, a column of
            `bin = turned * BINS // levels`, then the place of `turned` within
            the bin, uniform over the bin's values
  RELATIVE  the same for `turned = (angle - guess + half) % levels`, with
            `guess = angle' * levels // levels'` of the first neighbour (0 for
            the first splat)

`half = (levels + levels // BINS) // 2` puts 0 in the middle of a bin.

The uniform part is one rANS stream over the splats with more than one choice;
n choices have the cumulative table `k * 2**PRECISION_BITS // n`.
"""

import numpy as np

from jaxgs import native
from jaxgs.codec.bitstream import ByteReader
from jaxgs.codec.columns import (
  Context,
  decode_column,
  encode_column,
  lanes_of,
)
from jaxgs.codec.rans import PRECISION_BITS, decode_from, encode

# Image edges prefer the axes; 16 bins of 11 degrees show it, and finer ones
# cost more in tables than they gain at a few thousand splats.
BINS = 16

UNIFORM, ABSOLUTE, RELATIVE = range(3)


def uniform_tables(choices: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
  """Returns uniform tables, and which one serves each symbol.

  Args:
    choices: int64 `(S,)`, in 1..2**PRECISION_BITS.
  """
  sizes, index = np.unique(choices, return_inverse=True)
  tables = [
    (np.arange(n + 1, dtype=np.int64) << np.int64(PRECISION_BITS)) // n
    for n in sizes
  ]
  return tables, index


def _encode_uniform(
  values: np.ndarray, choices: np.ndarray, lanes: int
) -> bytes:
  open_ = choices > 1
  if not open_.any():
    return b""
  tables, index = uniform_tables(choices[open_])
  return encode(values[open_], index, tables, lanes_of(lanes, len(index)))


def _decode_uniform(
  reader: ByteReader, choices: np.ndarray, lanes: int
) -> np.ndarray:
  out = np.zeros(choices.shape, np.int64)
  open_ = choices > 1
  if open_.any():
    tables, index = uniform_tables(choices[open_])
    out[open_] = decode_from(
      reader, len(index), index, tables, lanes_of(lanes, len(index))
    )
  return out


def _first_of(bin_: np.ndarray, levels: np.ndarray) -> np.ndarray:
  """Returns the least v with `v * BINS // levels == bin_`."""
  return -(-bin_ * levels // BINS)


def _half(levels: np.ndarray) -> np.ndarray:
  return (levels + levels // BINS) // 2


def _encode_binned(
  values: np.ndarray,
  levels: np.ndarray,
  near: np.ndarray,
  contexts: list[Context],
  lanes: int,
) -> bytes:
  bin_ = values * BINS // levels
  first = _first_of(bin_, levels)
  choices = _first_of(bin_ + 1, levels) - first
  return encode_column(bin_[:, None], near, contexts, lanes) + _encode_uniform(
    values - first, choices, lanes
  )


def encode_angles(
  angle: np.ndarray,
  levels: np.ndarray,
  near: np.ndarray,
  contexts: list[Context],
  lanes: int,
) -> bytes:
  """Codes angles in the shortest mode.

  Args:
    angle: int64 `(N,)`, `0 <= angle < levels`.
    levels: int64 `(N,)`.
    near: int64 `(N, NUM_NEIGHBOURS)`, indices of earlier splats.
    contexts: for the coarse direction; known to the decoder.
    lanes: of the entropy coder, 0 for the default.
  """
  source = near[:, 0]
  guess = angle[source] * levels // levels[source]
  guess[0] = 0
  absolute = (angle + _half(levels)) % levels
  relative = (angle - guess + _half(levels)) % levels
  return min(
    bytes([UNIFORM]) + _encode_uniform(angle, levels, lanes),
    bytes([ABSOLUTE]) + _encode_binned(absolute, levels, near, contexts, lanes),
    bytes([RELATIVE]) + _encode_binned(relative, levels, near, contexts, lanes),
    key=len,
  )


def decode_angles(
  reader: ByteReader,
  levels: np.ndarray,
  near: np.ndarray,
  contexts: list[Context],
  lanes: int,
) -> np.ndarray:
  """Reads what `encode_angles` wrote; arguments as there.

  Returns:
    int64 `(N,)`, `0 <= angle < levels`.

  Raises:
    BitstreamError: truncated or not valid.
  """
  mode = reader.byte("angle mode")
  if mode == UNIFORM:
    return _decode_uniform(reader, levels, lanes)
  if mode not in (ABSOLUTE, RELATIVE):
    raise reader.error(f"angle mode {mode} is not known")
  bin_ = decode_column(reader, near, contexts, 1, lanes)[:, 0]
  if ((bin_ < 0) | (bin_ >= BINS)).any():
    raise reader.error("an angle bin is out of range")
  first = _first_of(bin_, levels)
  choices = _first_of(bin_ + 1, levels) - first
  if (choices < 1).any():
    raise reader.error("an angle bin is empty")
  turned = first + _decode_uniform(reader, choices, lanes) - _half(levels)
  if mode == ABSOLUTE:
    return turned % levels
  return _add_guesses(turned, levels, near)


def _add_guesses(
  turned: np.ndarray, levels: np.ndarray, near: np.ndarray
) -> np.ndarray:
  """Undoes RELATIVE; `turned` less the half."""
  library = native.library()
  if library is not None:
    angle = np.empty_like(turned)
    fault = library.jaxgs_restore_angles(
      native.pointer(turned, np.int64),
      native.pointer(levels, np.int64),
      native.pointer(near, np.int64),
      near.shape[1],
      len(turned),
      native.pointer(angle, np.int64),
    )
    if not fault:
      return angle
  many = levels.tolist()
  out: list[int] = []
  source = near[:, 0].tolist()
  for i, (value, count) in enumerate(zip(turned.tolist(), many, strict=True)):
    if i:
      value += out[source[i]] * count // many[source[i]]
    out.append(value % count)
  return np.asarray(out, np.int64)
