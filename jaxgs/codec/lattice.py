"""The lattice that splat parameters are rounded to, in exact integers.

Steps of the lattice depend on the splat itself: a large splat needs a less
exact position, and a rounder splat a less exact angle. The rules are defined
here and in `rules` with integer arithmetic only, so that every encoder, decoder
and quantiser derives the same lattice from the same few integers.
"""

import functools
from typing import NamedTuple

import numpy as np

# All steps in nats and all feature steps are stored in units of 2**-16.
STEP_BITS = 16

# A position step lies between 8 pixels and 1/64 pixel. Coarser than 8 is of no
# use (such splats are rare), finer than 1/64 is never visible.
POSITION_BITS_MIN = -3
POSITION_BITS_MAX = 6

# More levels than this turn a splat by less than 0.18 degrees per step.
ANGLE_LEVELS_MAX = 1024

# major and minor lie in [-TABLE_OFFSET, TABLE_SIZE - TABLE_OFFSET), ratio in
# [0, RATIO_MAX]: the device looks both rules up in tables of TABLE_SIZE.
TABLE_SIZE = 2048
TABLE_OFFSET = 1024
SCALE_MIN = -TABLE_OFFSET
SCALE_MAX = TABLE_SIZE - TABLE_OFFSET - 1
RATIO_MAX = 1023

# log2(e) with 30 fractional bits: 1549082004.68 rounded down, part of format 1.
_LOG2_E = 1549082004
# pi with 61 fractional bits, rounded down, part of format 1.
_PI_BITS = 61
_PI = 7244019458077122842
# Fractional bits of the exponential below.
_EXP_BITS = 64


class Lattice(NamedTuple):
  """The steps of every splat parameter; stored in the file header.

  Attributes:
    scale_step: step of the log standard deviations, 2**-16 nat, 1..262140.
    position_precision: log2(s_minor / position step) in 1/256 octave,
      0..4096.
    angle_precision: 1/q in units of 1/256, 1..65535; the angle step of a splat
      with axis ratio r is about `q * r / (1 - r**2)` radians.
    weight_step: step of the log-weight, 2**-16 nat, 1..2**20.
    feature_step: one per (colour-transformed) channel, 2**-16, 1..2**20.
    geometry_power, feature_power: by which power of its area a splat's
      geometry and features are finer, in 1/256, 0..255; see `rules`.
    feature_weight_power: by how many octaves per nat of its log-weight its
      features are finer, in 1/256, 0..255.
    aligned: the lattice of a centre follows the splat's long axis, 0 or 1.
  """

  scale_step: int
  position_precision: int
  angle_precision: int
  weight_step: int
  feature_step: tuple[int, ...]
  geometry_power: int = 0
  feature_power: int = 0
  feature_weight_power: int = 0
  aligned: int = 0


@functools.lru_cache(maxsize=64)
def log2_table(lattice: Lattice) -> np.ndarray:
  """Returns log2 of the standard deviation for every major or minor.

  `ceil(i * scale_step * log2(e))` in units of 2**-16 octaves, with log2(e)
  rounded down to 30 fractional bits. Entries beyond 32 octaves repeat that
  (no valid splat has them), so that sums of two stay in int32.

  Args:
    lattice: the lattice.

  Returns:
    int32 `(TABLE_SIZE,)`, read-only; entry `i + TABLE_OFFSET`.
  """
  index = np.arange(TABLE_SIZE, dtype=np.int64) - TABLE_OFFSET
  octaves = -((-index * np.int64(lattice.scale_step * _LOG2_E)) >> np.int64(30))
  table = np.clip(octaves, -(32 << 16), 32 << 16).astype(np.int32)
  table.flags.writeable = False
  return table


@functools.lru_cache(maxsize=64)
def angle_levels_table(lattice: Lattice) -> np.ndarray:
  """Returns the number of angle levels for every ratio as a lookup table.

  The angle step is about `q * r / (1 - r**2)` with `r = exp(-t)`,
  `t = ratio * scale_step * 2**-16` and `q = 256 / angle_precision`, so

    levels = ceil(pi * (e**t - e**-t) * angle_precision / 256)

  limited to [1, ANGLE_LEVELS_MAX]. In integers: e**step is a Taylor series with
  64 fractional bits (every term rounded down), e**t is its repeated product
  (rounded down each time), e**-t is 2**128 divided by that (rounded down).
  Entries beyond RATIO_MAX repeat the rule.

  Args:
    lattice: the lattice.

  Returns:
    int32 `(TABLE_SIZE,)`, read-only; entry `ratio`.
  """
  one = 1 << _EXP_BITS
  step, term, k = 0, one, 0
  while term:
    step += term
    k += 1
    term = term * lattice.scale_step // (k << STEP_BITS)
  table = np.full(TABLE_SIZE, ANGLE_LEVELS_MAX, np.int32)
  growth = one
  for ratio in range(TABLE_SIZE):
    spread = growth - (one * one) // growth
    scaled = _PI * spread * lattice.angle_precision
    levels = max(1, -(-scaled >> (_PI_BITS + _EXP_BITS + 8)))
    if levels >= ANGLE_LEVELS_MAX:
      break  # Grows with the ratio: all further entries are the maximum.
    table[ratio] = levels
    growth = (growth * step) >> _EXP_BITS
  table.flags.writeable = False
  return table


def position_extent(size: int, bits: np.ndarray) -> np.ndarray:
  """Returns how many lattice positions an image axis has.

  Args:
    size: height or width in pixels.
    bits: position bits p of any shape.

  Returns:
    int64 `ceil(size * 2**p)` of the shape of `bits`.
  """
  bits = np.asarray(bits, np.int64)
  # Scaled by 2**8 so that negative p is a right shift that loses nothing.
  scaled = np.int64(size) << (bits + 8)
  return (scaled + 255) >> np.int64(8)
