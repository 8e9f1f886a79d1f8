"""Symbols to the Gaussians that they stand for, in numpy or in jax.

A decoder computes with numpy and imports no jax; a fit sees the same values
through the same lines with jax arrays.
"""

from __future__ import annotations

import typing
from typing import NamedTuple

import numpy as np

from jaxgs.codec.lattice import (
  TABLE_OFFSET,
  Lattice,
  angle_levels_table,
  position_bits_table,
)
from jaxgs.codec.limits import SymbolLimits, symbol_limits
from jaxgs.codec.symbols import Symbols
from jaxgs.math import array_module
from jaxgs.types import Gaussians2D

if typing.TYPE_CHECKING:
  import jax

# Of the steps of a Lattice.
STEP_UNIT = 2.0**-16


class DeviceLattice(NamedTuple):
  """A codec.Lattice as arrays, so that its steps can change without retracing.

  Attributes:
    scale_step: () float32, nats.
    weight_step: () float32, nats.
    feature_step: (C,) float32.
    position_bits: (2048,) int32 by minor + TABLE_OFFSET.
    angle_levels: (2048,) int32 by ratio.
    limits: The largest symbols that a file can hold.
  """

  scale_step: jax.Array
  weight_step: jax.Array
  feature_step: jax.Array
  position_bits: jax.Array
  angle_levels: jax.Array
  limits: SymbolLimits


def host_lattice(lattice: Lattice) -> DeviceLattice:
  """The steps and rules of a lattice as numpy arrays.

  Args:
    lattice: Integers, as a file stores them.

  Returns:
    A DeviceLattice that is not on a device.
  """
  limits = symbol_limits(lattice)
  return DeviceLattice(
    scale_step=np.float32(lattice.scale_step * STEP_UNIT),
    weight_step=np.float32(lattice.weight_step * STEP_UNIT),
    feature_step=(np.array(lattice.feature_step) * STEP_UNIT).astype(
      np.float32
    ),
    position_bits=position_bits_table(lattice),
    angle_levels=angle_levels_table(lattice),
    limits=SymbolLimits(
      scale=np.int32(min(limits.scale, TABLE_OFFSET - 1)),
      weight=np.int32(limits.weight),
      feature=np.array(limits.feature, np.int32),
    ),
  )


def ycocg_to_rgb(feature: jax.Array) -> jax.Array:
  """Inverse of `quantize.rgb_to_ycocg`."""
  xp = array_module(feature)
  y, co, cg = feature[..., 0], feature[..., 1], feature[..., 2]
  middle = y - 0.5 * cg
  mixed = [middle + 0.5 * co, y + 0.5 * cg, middle - 0.5 * co]
  return xp.concatenate([xp.stack(mixed, -1), feature[..., 3:]], axis=-1)


def from_symbols(
  symbols: Symbols, lattice: DeviceLattice, *, transform: str
) -> Gaussians2D:
  """The Gaussians that symbols stand for: what a decoder draws.

  Args:
    symbols: int32 arrays of numpy or of jax.
    lattice: Steps, likewise.
    transform: "ycocg" or "none".

  Returns:
    Gaussians2D of numpy arrays if all that came in is numpy's, else of jax's.
  """
  xp = array_module(*symbols, lattice.scale_step)
  major, ratio = symbols.scale[:, 0], symbols.scale[:, 1]
  minor = major - ratio
  bits = lattice.position_bits[minor + TABLE_OFFSET]
  step = xp.exp2(-bits.astype(xp.float32))[:, None]
  levels = lattice.angle_levels[ratio].astype(xp.float32)
  feature = symbols.feature.astype(xp.float32) * lattice.feature_step[None]
  if transform == "ycocg":
    feature = ycocg_to_rgb(feature)
  scale = xp.stack([major, minor], axis=-1).astype(xp.float32)
  return Gaussians2D(
    mean=(symbols.position.astype(xp.float32) + 0.5) * step,
    log_scale=scale * lattice.scale_step,
    angle=symbols.angle.astype(xp.float32) * (xp.pi / levels),
    log_weight=symbols.weight.astype(xp.float32) * lattice.weight_step,
    feature=feature,
  )
