"""A column of integers: prediction, contexts, tables, tokens, raw bits.

A column holds C channels of N values. Its bytes are

  context     1 byte, which of the contexts known to both sides is used
  predictors  1 byte per channel, index into PREDICTORS
  tables      one per channel and context class, channel by channel
  tokens      a rANS stream of all N * C tokens, channel by channel; missing
              when every table has a single token
  raw bits    of all tokens in the same order, packed

With taps t and the values x of the splat's neighbours (see `curve.neighbours`;
nearest first), the coded value is `value - ((sum(t * x) + 8) >> 4)`; the first
splat is predicted by 0. Where splats have steps s of their own, the x are the
values times their steps, and the prediction is
`floor((((sum(t * x) + 8) >> 4) + (s >> 1)) / s)`.
"""

from typing import NamedTuple

import numpy as np

from jaxgs import native
from jaxgs.codec.bitstream import ByteReader, pack_bits, unpack_bits
from jaxgs.codec.rans import ROWS_MAX, decode_from, default_lanes, encode
from jaxgs.codec.tables import (
  Table,
  fit_table,
  read_table,
  token_range,
  tokenise,
)

# Taps in sixteenths. All zero first: it needs no sequential reconstruction.
PREDICTORS = (
  (0, 0, 0, 0),
  (2, 1, 1, 1),
  (2, 2, 2, 2),
  (3, 3, 2, 2),
  (4, 3, 3, 2),
  (4, 4, 3, 3),
  (6, 4, 2, 2),
  (4, 4, 4, 4),
  (7, 4, 3, 2),
  (8, 8, 0, 0),
  (4, 0, 0, 0),
  (8, 0, 0, 0),
  (12, 0, 0, 0),
  (16, 0, 0, 0),
)

# Decoded values stay below this (a curve place needs 39 bits).
_LIMIT = 1 << 39


class Context(NamedTuple):
  """Splits the splats of a column into classes with a table each.

  Attributes:
    index: int64 `(N,)`, the class of every splat, below `size`.
    size: number of classes.
  """

  index: np.ndarray
  size: int


def rank_context(values: np.ndarray, size: int) -> Context:
  """Splits splats into `size` classes of about equal count by a known value.

  Class boundaries are the sorted values at `N * j // size`, j = 1..size - 1;
  the class of a value is the number of boundaries that are at most it.

  Args:
    values: int64 `(N,)`.
    size: number of classes.
  """
  n = len(values)
  bounds = np.sort(values)[[n * j // size for j in range(1, size)]]
  return Context(np.searchsorted(bounds, values, side="right"), size)


def no_context(count: int) -> Context:
  """Puts all splats in one class."""
  return Context(np.zeros(count, np.int64), 1)


def _guess(sums: np.ndarray, steps: np.ndarray | None) -> np.ndarray:
  """Returns predictions from sums of taps times values."""
  guess = (sums + 8) >> np.int64(4)
  return guess if steps is None else (guess + (steps >> 1)) // steps


def _residual(
  values: np.ndarray,
  near: np.ndarray,
  taps: tuple[int, ...],
  steps: np.ndarray | None,
) -> np.ndarray:
  size = values if steps is None else values * steps
  guess = _guess(size[near] @ np.array(taps, np.int64), steps)
  guess[0] = 0
  return values - guess


def _restore(
  reader: ByteReader,
  residual: np.ndarray,
  near: np.ndarray,
  taps: tuple[int, ...],
  steps: np.ndarray | None,
) -> np.ndarray:
  if not any(taps):
    return residual
  values = _restore_native(residual, near, taps, steps)
  if values is not None:
    return values
  a, b, c, d = taps
  source = residual.tolist()
  own = [1] * len(source) if steps is None else steps.tolist()
  out = source[:1]
  sizes = [source[0] * own[0]]
  for value, step, (i, j, k, m) in zip(
    source[1:], own[1:], near[1:].tolist(), strict=True
  ):
    sums = a * sizes[i] + b * sizes[j] + c * sizes[k] + d * sizes[m]
    value += (((sums + 8) >> 4) + (step >> 1)) // step
    # Python's integers do not overflow, but a hostile column could grow.
    if not -_LIMIT < value * step < _LIMIT:
      raise reader.error("a predicted value is out of range")
    out.append(value)
    sizes.append(value * step)
  return np.asarray(out, np.int64)


def _restore_native(
  residual: np.ndarray,
  near: np.ndarray,
  taps: tuple[int, ...],
  steps: np.ndarray | None,
) -> np.ndarray | None:
  """The loop of `_restore` in the native library; None where it is not.

  None, too, where a value is out of range: that is for the loop to say.
  """
  library = native.library()
  if library is None:
    return None
  residual = np.ascontiguousarray(residual)
  weights = np.array(taps, np.int64)
  values = np.empty_like(residual)
  own = np.ones_like(residual) if steps is None else steps
  own = np.ascontiguousarray(own)
  fault = library.jaxgs_restore(
    native.pointer(residual, np.int64),
    native.pointer(near, np.int64),
    native.pointer(weights, np.int64),
    native.pointer(own, np.int64),
    len(residual),
    _LIMIT,
    native.pointer(values, np.int64),
  )
  return None if fault else values


def _choose_predictor(
  values: np.ndarray, near: np.ndarray, steps: np.ndarray | None
) -> int:
  """Returns the predictor with the smallest mean absolute deviation."""
  spread = []
  for taps in PREDICTORS:
    residual = _residual(values, near, taps, steps)[1:]
    centre = int(np.median(residual)) if residual.size else 0
    spread.append(int(np.abs(residual - centre).sum()))
  best = int(np.argmin(spread))
  # A gain below 1 % is noise, and prediction costs the decoder time.
  return best if spread[best] * 100 < spread[0] * 99 else 0


def encode_column(
  values: np.ndarray,
  near: np.ndarray,
  contexts: list[Context],
  lanes: int,
  steps: np.ndarray | None = None,
) -> bytes:
  """Codes a column with the best of the contexts.

  Args:
    values: int64 `(N, C)`, `|values| < 2**38`.
    near: int64 `(N, NUM_NEIGHBOURS)`, indices of earlier splats.
    contexts: at least one; known to the decoder.
    lanes: of the entropy coder, 0 for the default.
    steps: int64 `(C, N)`, of the values, below 2**28; None if they are equal.
  """
  channels = values.shape[1]
  own = [None] * channels if steps is None else steps
  chosen = [
    _choose_predictor(values[:, c], near, own[c]) for c in range(channels)
  ]
  residual = [
    _residual(values[:, c], near, PREDICTORS[p], own[c])
    for c, p in enumerate(chosen)
  ]
  best_bits, best = float("inf"), (0, [b""])
  for k, context in enumerate(contexts):
    fits = [
      fit_table(r[context.index == i])
      for r in residual
      for i in range(context.size)
    ]
    bits = sum(fit[1] for fit in fits)
    if bits < best_bits:
      best_bits, best = bits, (k, [fit[0] for fit in fits])
  k, described = best
  head = bytes([k, *chosen])
  tables = [read_table(ByteReader(text, "table")) for text in described]
  index = _table_index(contexts[k], channels)
  centre = np.array([t.centre for t in tables], np.int64)[index]
  token, raw, width = tokenise(np.concatenate(residual) - centre)
  stream = b""
  if _is_coded(tables):
    low = np.array([t.low for t in tables], np.int64)[index]
    stream = encode(
      token - low,
      index,
      [t.cumulative for t in tables],
      lanes_of(lanes, len(index)),
    )
  return head + b"".join(described) + stream + pack_bits(raw, width)


def decode_column(
  reader: ByteReader,
  near: np.ndarray,
  contexts: list[Context],
  channels: int,
  lanes: int,
  steps: np.ndarray | None = None,
) -> np.ndarray:
  """Reads what `encode_column` wrote.

  Args:
    reader: stands at the column; moved behind it.
    near: as given to `encode_column`.
    contexts: as given to `encode_column`.
    channels: C.
    lanes: as given to `encode_column`.
    steps: as given to `encode_column`.

  Returns:
    int64 `(N, C)`, `|values| < 2**41`.

  Raises:
    BitstreamError: the column is truncated or not valid.
  """
  k = reader.byte("context")
  if k >= len(contexts):
    raise reader.error(f"context {k} is not known")
  chosen = reader.take(channels, "predictors")
  if max(chosen) >= len(PREDICTORS):
    raise reader.error(f"predictor {max(chosen)} is not known")
  tables = [read_table(reader) for _ in range(channels * contexts[k].size)]
  index = _table_index(contexts[k], channels)
  token = np.array([t.low for t in tables], np.int64)[index]
  if _is_coded(tables):
    token += decode_from(
      reader,
      len(index),
      index,
      [t.cumulative for t in tables],
      lanes_of(lanes, len(index)),
    )
  base, width = token_range(token)
  size = base + unpack_bits(reader, width)
  residual = np.where(token < 0, -size, size)
  residual += np.array([t.centre for t in tables], np.int64)[index]
  own = [None] * channels if steps is None else steps
  return np.stack(
    [
      _restore(reader, r, near, PREDICTORS[p], s)
      for r, p, s in zip(
        residual.reshape(channels, -1), chosen, own, strict=True
      )
    ],
    axis=1,
  )


def _is_coded(tables: list[Table]) -> bool:
  return any(len(t.cumulative) > 2 for t in tables)


def lanes_of(lanes: int, num_symbols: int) -> int:
  """Returns the lanes of a stream: the given ones, or the format's choice."""
  least = default_lanes(num_symbols)
  return max(lanes, -(-num_symbols // ROWS_MAX)) if lanes else least


def _table_index(context: Context, channels: int) -> np.ndarray:
  offset = np.arange(channels, dtype=np.int64)[:, None] * context.size
  return (offset + context.index).ravel()
