"""What a splat in a file may be; the same for encoder and decoder."""

from typing import NamedTuple

import numpy as np

from jaxgs.codec.header import Header
from jaxgs.codec.lattice import (
  RATIO_MAX,
  SCALE_MAX,
  SCALE_MIN,
  STEP_BITS,
  Lattice,
  position_extent,
)
from jaxgs.codec.rules import (
  angle_levels,
  feature_eighths,
  position_bits,
  rules_of,
  scaled_steps,
  weight_steps,
)
from jaxgs.codec.symbols import Symbols

# |log s| stays below 16 nat: 1e-7 to 9e6 pixels.
LOG_SCALE_MAX = 16 << STEP_BITS
# |log-weight| stays below 64 nat: its exponential is a normal float32.
LOG_WEIGHT_MAX = 64 << STEP_BITS
# |feature| stays below 2**15, and its symbol below 2**24, exact in float32.
FEATURE_MAX = 1 << 31
SYMBOL_MAX = 1 << 24


class SymbolLimits(NamedTuple):
  """Largest absolute values of symbols; a quantiser clips to them.

  Attributes:
    scale: of major and of minor (both also lie in [SCALE_MIN, SCALE_MAX], and
      their difference in [0, RATIO_MAX]).
    weight: of the weight.
    feature: of every channel.
  """

  scale: int
  weight: int
  feature: tuple[int, ...]


def symbol_limits(lattice: Lattice) -> SymbolLimits:
  """Returns the limits that a lattice's steps imply.

  Args:
    lattice: the lattice.
  """
  return SymbolLimits(
    scale=LOG_SCALE_MAX // lattice.scale_step,
    weight=min(LOG_WEIGHT_MAX // lattice.weight_step, SYMBOL_MAX),
    feature=tuple(
      min(FEATURE_MAX // step, SYMBOL_MAX) for step in lattice.feature_step
    ),
  )


def check_symbols(header: Header, symbols: Symbols) -> Symbols:
  """Returns the symbols as int64 arrays; raises ValueError if not valid."""
  n, c = header.num_gaussians, header.channels
  shapes = Symbols((n, 2), (n, 2), (n,), (n,), (n, c))
  fields = []
  for name, value, shape in zip(Symbols._fields, symbols, shapes, strict=True):
    array = np.asarray(value)
    if array.shape != shape or array.dtype.kind not in "iu":
      raise ValueError(
        f"symbols.{name}: got {array.dtype}{list(array.shape)}, want"
        f" integers{list(shape)}"
      )
    fields.append(array.astype(np.int64))
  out = Symbols(*fields)
  fault = scale_fault(header, out.scale) or value_fault(header, out)
  if fault:
    raise ValueError(f"symbols.{fault}")
  return out


def scale_fault(header: Header, scale: np.ndarray) -> str:
  """Returns what is wrong with scales, or an empty string."""
  major, ratio = scale.T
  if ((ratio < 0) | (ratio > RATIO_MAX)).any():
    return f"scale: a ratio is outside 0..{RATIO_MAX}"
  if ((major > SCALE_MAX) | (major - ratio < SCALE_MIN)).any():
    return f"scale: a major or minor is outside {SCALE_MIN}..{SCALE_MAX}"
  limit = symbol_limits(header.lattice).scale
  if ((major > limit) | (major - ratio < -limit)).any():
    return f"scale: a major or minor is outside {-limit}..{limit} (16 nat)"
  return ""


def value_fault(header: Header, fields: Symbols) -> str:
  """Returns what is wrong with the other fields, or an empty string."""
  lattice, scale = header.lattice, fields.scale
  rules = rules_of(lattice)
  levels = angle_levels(rules, scale)
  if ((fields.angle < 0) | (fields.angle >= levels)).any():
    return "angle: an angle is outside its levels"
  bits = position_bits(rules, scale, fields.angle)
  for axis, size in enumerate((header.width, header.height)):
    column = fields.position[:, axis]
    extent = position_extent(size, bits[:, axis])
    if ((column < 0) | (column >= extent)).any():
      return f"position: a splat is outside the image along axis {'xy'[axis]}"
  limits = symbol_limits(lattice)
  limit = limits.weight
  if (np.abs(fields.weight) > limit).any():
    return f"weight: outside {-limit}..{limit}"
  log_weight = fields.weight * weight_steps(rules, scale)
  if (np.abs(log_weight) > LOG_WEIGHT_MAX).any():
    return "weight: outside -64..64 nat"
  row = feature_eighths(rules, scale, log_weight)
  for c, limit in enumerate(limits.feature):
    column = fields.feature[:, c]
    if (np.abs(column) > limit).any():
      return f"feature: channel {c} is outside {-limit}..{limit}"
    steps = scaled_steps(lattice.feature_step[c])[row]
    if (np.abs(column) * steps > FEATURE_MAX).any():
      return f"feature: channel {c} is outside -32768..32768"
  return ""
