"""What a splat's own size, shape and weight do to its lattice.

What a rounding error costs grows with the pixels that a splat covers, so all
steps fall with its area s_major s_minor: those of the geometry and of the
log-weight by a power `geometry_power`, those of the features by
`feature_power` (1/2 would spend the same error on every splat), and by a power
of the amplitude. Along a needle the centre may be less exact than across it:
with `aligned`, the lattice of the centres has a long side that follows the
long axis.

Everything is integer arithmetic on tables, the same in numpy, where int64 or
int32 goes in, and in jax, where int32 does: no intermediate result leaves
int32. Octaves are in units of 2**-16.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from jaxgs.codec.lattice import (
  ANGLE_LEVELS_MAX,
  POSITION_BITS_MAX,
  POSITION_BITS_MIN,
  TABLE_OFFSET,
  Lattice,
  angle_levels_table,
  log2_table,
)

# Steps come in eighths of an octave, up to 8 octaves from the header's.
EIGHTHS_MAX = 63
NUM_EIGHTHS = 2 * EIGHTHS_MAX + 1
# Log-weights beyond so much (16 nat, in 2**-16) count as so much.
_LOG_WEIGHT_MAX = 16 << 16
# Fractional bits of a shear, and the angles over which it is tabulated.
SHEAR_BITS = 12
_SHEAR_SIZE = 2048


class Rules(NamedTuple):
  """A Lattice's rules as arrays of numpy or of jax.

  Attributes:
    octaves: (2048,) int32, log2 of a standard deviation by its symbol +
      TABLE_OFFSET.
    angle_levels: (2048,) int32 by ratio, for an area of 1 px^2.
    position_precision: () int32, octaves.
    geometry_power, feature_power, feature_weight_power, aligned: () int32, as
      the Lattice has them.
    weight_step: (NUM_EIGHTHS,) int32, 2**-16 nat, by eighths + EIGHTHS_MAX.
    shear: (2048,) int32, slope of the long axis against the image axis that it
      is nearer to, in 2**-12, by angle in 1/2048 of half a turn.
    power: (NUM_EIGHTHS,) int32, 256 * 2**(eighths / 8).
  """

  octaves: Any
  angle_levels: Any
  position_precision: Any
  geometry_power: Any
  feature_power: Any
  feature_weight_power: Any
  aligned: Any
  weight_step: Any
  shear: Any
  power: Any


class Frame(NamedTuple):
  """The lattice of a splat's centre.

  Coordinate a along the image axis nearer to the long axis is
  `(i + 1/2) * 2**-along`; b, along the other, is `(j + f) * 2**-across`, with f
  from `offset`.

  Attributes:
    steep: (N,) bool: a is y. Never where not aligned.
    along, across: (N,), bits in POSITION_BITS_MIN..POSITION_BITS_MAX.
    shear: (N,), slope db / da, in 2**-12.
  """

  steep: Any
  along: Any
  across: Any
  shear: Any


def _roots() -> list[int]:
  """2**(j / 8) for j = 0..7 with 60 fractional bits, rounded down."""
  return [math.isqrt(math.isqrt(math.isqrt(1 << (480 + j)))) for j in range(8)]


_ROOTS = _roots()


@functools.lru_cache(maxsize=256)
def scaled_steps(step: int) -> np.ndarray:
  """Returns `step * 2**(-k / 8)` for k = -63..63, rounded, at least 1.

  Args:
    step: 1 to 2**20.

  Returns:
    int32 `(NUM_EIGHTHS,)`, read-only.
  """
  out = []
  for k in range(EIGHTHS_MAX, -EIGHTHS_MAX - 1, -1):
    shift = 60 - (k >> 3)
    out.append(max(1, (step * _ROOTS[k & 7] + (1 << (shift - 1))) >> shift))
  steps = np.array(out, np.int32)
  steps.flags.writeable = False
  return steps


def _shears() -> np.ndarray:
  """The tangent of the angle to the nearer image axis, times 4096, rounded.

  No entry is nearer than 1e-5 to where rounding turns, so that every
  platform's tan gives the same integers.
  """
  out = []
  for f in range(_SHEAR_SIZE):
    turn = (f + _SHEAR_SIZE // 4) % (_SHEAR_SIZE // 2) - _SHEAR_SIZE // 4
    slope = math.tan(turn * math.pi / _SHEAR_SIZE)
    # Near the y axis, x changes along it by the cotangent of the angle.
    is_steep = _SHEAR_SIZE // 4 <= f < 3 * _SHEAR_SIZE // 4
    out.append(round((-slope if is_steep else slope) * (1 << SHEAR_BITS)))
  return np.array(out, np.int32)


_SHEAR = _shears()


@functools.lru_cache(maxsize=64)
def rules_of(lattice: Lattice) -> Rules:
  """The rules of a lattice as numpy arrays."""
  return Rules(
    octaves=log2_table(lattice),
    angle_levels=angle_levels_table(lattice),
    position_precision=np.int32(lattice.position_precision << 8),
    geometry_power=np.int32(lattice.geometry_power),
    feature_power=np.int32(lattice.feature_power),
    feature_weight_power=np.int32(lattice.feature_weight_power),
    aligned=np.int32(lattice.aligned),
    weight_step=scaled_steps(lattice.weight_step),
    shear=_SHEAR,
    power=scaled_steps(256)[::-1].copy(),
  )


def _area(rules: Rules, scale):
  """log2 of the product of the standard deviations, octaves."""
  major, minor = scale[:, 0], scale[:, 0] - scale[:, 1]
  octaves = rules.octaves
  return octaves[major + TABLE_OFFSET] + octaves[minor + TABLE_OFFSET]


def _eighths(octaves):
  return (octaves >> 13).clip(-EIGHTHS_MAX, EIGHTHS_MAX) + EIGHTHS_MAX


def _geometry(rules: Rules, scale):
  """By how many octaves the geometry of splats is finer."""
  return (rules.geometry_power * _area(rules, scale)) >> 8


def angle_levels(rules: Rules, scale):
  """How many angles splats can have.

  Args:
    rules: Of the lattice.
    scale: (N, 2), columns major and ratio, valid.

  Returns:
    (N,) in [1, ANGLE_LEVELS_MAX]; 1 for a circle.
  """
  base = rules.angle_levels[scale[:, 1]]
  factor = rules.power[_eighths(_geometry(rules, scale))]
  levels = ((base * factor) >> 8).clip(1, ANGLE_LEVELS_MAX)
  # No branch: arrays of two libraries.
  return 1 + (levels - 1) * (scale[:, 1] > 0).astype(levels.dtype)


def frame(rules: Rules, scale, angle, levels) -> Frame:
  """The lattices of centres.

  Args:
    rules: Of the lattice.
    scale: (N, 2), valid.
    angle: (N,), below `levels`.
    levels: (N,), see `angle_levels`.

  Returns:
    Frame.
  """
  octaves = rules.octaves
  minor = octaves[scale[:, 0] - scale[:, 1] + TABLE_OFFSET]
  major = octaves[scale[:, 0] + TABLE_OFFSET]
  major = minor + (major - minor) * rules.aligned
  fine = rules.position_precision + _geometry(rules, scale)
  low, high = POSITION_BITS_MIN, POSITION_BITS_MAX
  along = ((fine - major) >> 16).clip(low, high)
  across = ((fine - minor) >> 16).clip(low, high)
  turn = angle * _SHEAR_SIZE // levels
  quarter = _SHEAR_SIZE // 4
  steep = (turn >= quarter) & (turn < 3 * quarter) & (rules.aligned > 0)
  return Frame(steep, along, across, rules.shear[turn] * rules.aligned)


def position_bits(rules: Rules, scale: np.ndarray, angle: np.ndarray):
  """Returns the bits of x and of y, int64 `(N, 2)`; for numpy only."""
  found = frame(rules, scale, angle, angle_levels(rules, scale))
  x, y = found.along, found.across
  turned = np.where(found.steep, [y, x], [x, y])
  return np.ascontiguousarray(turned.T, np.int64)


def offset(rules: Rules, frame_: Frame, along):
  """Where the sheared lattice lies across, as a share of its step.

  Args:
    rules: Of the lattice.
    frame_: Of the splats.
    along: (N,), the coordinate i along.

  Returns:
    (N,) and (N,): n and m, the share is n / 2**m, n < 2**m, m <= 23.
  """
  bits = SHEAR_BITS + 1 + frame_.along - frame_.across
  # The low bits are right even where the product wraps around.
  share = (frame_.shear * (2 * along + 1)) & ((1 << bits) - 1)
  half = 1 << (bits - 1)
  return half + (share - half) * rules.aligned, bits


def weight_steps(rules: Rules, scale):
  """Steps of log-weights, 2**-16 nat: (N,)."""
  return rules.weight_step[_eighths(_geometry(rules, scale))]


def feature_eighths(rules: Rules, scale, log_weight):
  """Which row of `scaled_steps` the features of splats have.

  Args:
    rules: Of the lattice.
    scale: (N, 2), valid.
    log_weight: (N,), 2**-16 nat.

  Returns:
    (N,) in 0..NUM_EIGHTHS - 1.
  """
  by_area = (rules.feature_power * _area(rules, scale)) >> 8
  log_weight = log_weight.clip(-_LOG_WEIGHT_MAX, _LOG_WEIGHT_MAX)
  by_weight = (rules.feature_weight_power * log_weight) >> 8
  return _eighths(by_area + by_weight)
