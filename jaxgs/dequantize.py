"""Symbols to the Gaussians that they stand for, in numpy or in jax.

A decoder computes with numpy and imports no jax; a fit sees the same values
through the same lines with jax arrays.
"""

from __future__ import annotations

import typing
from typing import NamedTuple

import numpy as np

from jaxgs.codec.lattice import TABLE_OFFSET, Lattice
from jaxgs.codec.limits import SymbolLimits, symbol_limits
from jaxgs.codec.rules import (
  Frame,
  Rules,
  angle_levels,
  feature_eighths,
  frame,
  offset,
  rules_of,
  scaled_steps,
  weight_steps,
)
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
    feature_step: (C, NUM_EIGHTHS) float32, by `rules.feature_eighths`.
    rules: What depends on the splat.
    limits: The largest symbols that a file can hold.
  """

  scale_step: jax.Array
  feature_step: jax.Array
  rules: Rules
  limits: SymbolLimits


def host_lattice(lattice: Lattice) -> DeviceLattice:
  """The steps and rules of a lattice as numpy arrays.

  Args:
    lattice: Integers, as a file stores them.

  Returns:
    A DeviceLattice that is not on a device.
  """
  limits = symbol_limits(lattice)
  steps = np.stack([scaled_steps(step) for step in lattice.feature_step])
  return DeviceLattice(
    scale_step=np.float32(lattice.scale_step * STEP_UNIT),
    feature_step=(steps * STEP_UNIT).astype(np.float32),
    rules=rules_of(lattice),
    limits=SymbolLimits(
      scale=np.int32(min(limits.scale, TABLE_OFFSET - 1)),
      weight=np.int32(limits.weight),
      feature=np.array(limits.feature, np.int32),
    ),
  )


# The colour transform of features: "none", "ycocg" of the first three channels,
# or the first channels of the triples that have it. Static under jit.
Transform = str | tuple[int, ...]


def triples_of(transform: Transform) -> tuple[int, ...]:
  """The first channels of the triples that are in YCoCg."""
  if isinstance(transform, tuple):
    return transform
  return (0,) if transform == "ycocg" else ()


def ycocg_to_rgb(feature: jax.Array, first: int = 0) -> jax.Array:
  """Inverse of `quantize.rgb_to_ycocg`."""
  xp = array_module(feature)
  y, co, cg = (feature[..., first + i] for i in range(3))
  middle = y - 0.5 * cg
  mixed = [middle + 0.5 * co, y + 0.5 * cg, middle - 0.5 * co]
  before, after = feature[..., :first], feature[..., first + 3 :]
  return xp.concatenate([before, xp.stack(mixed, -1), after], axis=-1)


def from_symbols(
  symbols: Symbols, lattice: DeviceLattice, *, transform: Transform
) -> Gaussians2D:
  """The Gaussians that symbols stand for: what a decoder draws.

  Args:
    symbols: int32 arrays of numpy or of jax.
    lattice: Steps, likewise.
    transform: See `Transform`.

  Returns:
    Gaussians2D of numpy arrays if all that came in is numpy's, else of jax's.
  """
  xp = array_module(*symbols, lattice.scale_step)
  rules, scale = lattice.rules, symbols.scale
  levels = angle_levels(rules, scale)
  mean = _centres(symbols, lattice, levels)
  log_weight = symbols.weight * weight_steps(rules, scale)
  row = feature_eighths(rules, scale, log_weight)
  feature = symbols.feature.astype(xp.float32) * lattice.feature_step[:, row].T
  for first in triples_of(transform):
    feature = ycocg_to_rgb(feature, first)
  major, minor = scale[:, 0], scale[:, 0] - scale[:, 1]
  both = xp.stack([major, minor], axis=-1).astype(xp.float32)
  return Gaussians2D(
    mean=mean,
    log_scale=both * lattice.scale_step,
    angle=symbols.angle.astype(xp.float32)
    * (xp.pi / levels.astype(xp.float32)),
    log_weight=log_weight.astype(xp.float32) * xp.float32(STEP_UNIT),
    feature=feature,
  )


def _centres(symbols: Symbols, lattice: DeviceLattice, levels) -> jax.Array:
  """Centres in px, (N, 2) float32."""
  xp = array_module(*symbols, lattice.scale_step)
  frame_ = frame(lattice.rules, symbols.scale, symbols.angle, levels)
  x, y = symbols.position[:, 0], symbols.position[:, 1]
  along = xp.where(frame_.steep, y, x)
  across = xp.where(frame_.steep, x, y).astype(xp.float32)
  share = offset_share(lattice.rules, frame_, along)
  a = (along.astype(xp.float32) + 0.5) * xp.exp2(
    -frame_.along.astype(xp.float32)
  )
  b = (across + share) * xp.exp2(-frame_.across.astype(xp.float32))
  steep = frame_.steep[:, None]
  return xp.where(steep, xp.stack([b, a], -1), xp.stack([a, b], -1))


def offset_share(rules: Rules, frame_: Frame, along: jax.Array) -> jax.Array:
  """Where the lattices of centres lie across, in steps: (N,) float32."""
  xp = array_module(along, rules.aligned)
  share, bits = offset(rules, frame_, along)
  # Exact: a share has at most 22 bits.
  return share.astype(xp.float32) / (1 << bits).astype(xp.float32)
