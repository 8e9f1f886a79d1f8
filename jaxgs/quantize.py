"""Parameters to lattice symbols and back, with straight-through gradients."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgs.codec.header import SCALE_STEP_MAX, VALUE_STEP_MAX
from jaxgs.codec.lattice import RATIO_MAX, TABLE_OFFSET, Lattice
from jaxgs.codec.symbols import Symbols
from jaxgs.config import QuantConfig
from jaxgs.dequantize import (
  STEP_UNIT,
  DeviceLattice,
  from_symbols,
  host_lattice,
)
from jaxgs.types import Gaussians2D


def device_lattice(lattice: Lattice) -> DeviceLattice:
  """Puts the steps and rules of a lattice on the device.

  Args:
    lattice: Integers, as a file stores them.

  Returns:
    The same as arrays.
  """
  return jax.tree.map(jnp.asarray, host_lattice(lattice))


def rgb_to_ycocg(feature: jax.Array) -> jax.Array:
  """Luma and two colour differences of the first three channels.

  Y = (R + 2 G + B) / 4, Co = R - B, Cg = G - (R + B) / 2; further channels
  pass through.

  Args:
    feature: (..., C), C >= 3.

  Returns:
    (..., C).
  """
  r, g, b = feature[..., 0], feature[..., 1], feature[..., 2]
  mixed = [0.25 * r + 0.5 * g + 0.25 * b, r - b, g - 0.5 * (r + b)]
  return jnp.concatenate([jnp.stack(mixed, -1), feature[..., 3:]], axis=-1)


def canonicalize(gaussians: Gaussians2D) -> Gaussians2D:
  """The same ellipses with the first axis the longer and angles in [0, pi).

  A splat turned by a quarter turn with its scales swapped is the same splat;
  one of the two is stored.
  """
  first, second = gaussians.log_scale[:, 0], gaussians.log_scale[:, 1]
  swap = second > first
  angle = gaussians.angle + jnp.where(swap, 0.5 * jnp.pi, 0.0)
  return gaussians._replace(
    log_scale=jnp.where(
      swap[:, None], gaussians.log_scale[:, ::-1], gaussians.log_scale
    ),
    angle=jnp.mod(angle, jnp.pi),
  )


def to_symbols(
  gaussians: Gaussians2D,
  lattice: DeviceLattice,
  *,
  height: int,
  width: int,
  transform: str,
) -> Symbols:
  """Rounds parameters to the lattice.

  Args:
    gaussians: N Gaussians; centres outside the image move to its border.
    lattice: Steps.
    height: Image height, px.
    width: Image width, px.
    transform: "ycocg" or "none", of the features.

  Returns:
    Symbols of int32 arrays, see `codec.Symbols`.
  """
  gaussians = canonicalize(gaussians)

  def nearest(x, step, limit):
    # Clipped as floats: a conversion to int32 may not see what it cannot hold.
    bound = limit.astype(jnp.float32)
    return jnp.clip(jnp.round(x / step), -bound, bound).astype(jnp.int32)

  limits = lattice.limits
  scale = nearest(gaussians.log_scale, lattice.scale_step, limits.scale)
  major, minor = scale[:, 0], scale[:, 1]
  ratio = jnp.minimum(major - minor, RATIO_MAX)
  minor = major - ratio
  bits = lattice.position_bits[minor + TABLE_OFFSET]
  per_px = jnp.exp2(bits.astype(jnp.float32))[:, None]
  size = jnp.array([[width, height]], jnp.float32)
  last = jnp.ceil(size * per_px) - 1.0
  position = jnp.clip(jnp.floor(gaussians.mean * per_px), 0.0, last)
  levels = lattice.angle_levels[ratio]
  turns = gaussians.angle / jnp.pi * levels.astype(jnp.float32)
  angle = jnp.mod(jnp.round(turns).astype(jnp.int32), levels)
  feature = gaussians.feature
  if transform == "ycocg":
    feature = rgb_to_ycocg(feature)
  return Symbols(
    position=position.astype(jnp.int32),
    scale=jnp.stack([major, ratio], axis=-1),
    angle=angle,
    weight=nearest(gaussians.log_weight, lattice.weight_step, limits.weight),
    feature=nearest(feature, lattice.feature_step[None], limits.feature[None]),
  )


def quantize(
  gaussians: Gaussians2D,
  lattice: DeviceLattice,
  *,
  height: int,
  width: int,
  transform: str = "none",
) -> Gaussians2D:
  """Parameters as a decoder will see them, with the gradient of the identity.

  Args:
    gaussians: N Gaussians.
    lattice: Steps.
    height: Image height, px.
    width: Image width, px.
    transform: "ycocg" or "none", of the features.

  Returns:
    Gaussians2D in canonical form, equal to `from_symbols(to_symbols(...))` to
    the last bit.
  """
  gaussians = canonicalize(gaussians)
  symbols = to_symbols(
    gaussians, lattice, height=height, width=width, transform=transform
  )
  rounded = from_symbols(symbols, lattice, transform=transform)
  return jax.tree.map(
    lambda x, q: (x - jax.lax.stop_gradient(x)) + jax.lax.stop_gradient(q),
    gaussians,
    rounded,
  )


def lattice_of(config: QuantConfig, channels: int, transform: str) -> Lattice:
  """The steps of a config as the integers that a file stores.

  Args:
    config: Steps, `bits` aside.
    channels: C.
    transform: "ycocg" gives the second and third channel the chroma step.

  Returns:
    A Lattice; steps are clipped to what a file can hold.
  """
  coarse = config.coarseness
  steps = [config.other_step] * channels
  if transform == "ycocg":
    steps[:3] = [config.luma_step, config.chroma_step, config.chroma_step]

  def units(step, most):
    return int(np.clip(round(step * coarse / STEP_UNIT), 1, most))

  precision = config.position_precision - math.log2(coarse)
  return Lattice(
    scale_step=units(config.scale_step, SCALE_STEP_MAX),
    position_precision=int(np.clip(round(precision * 256), 0, 4096)),
    angle_precision=int(
      np.clip(round(256 / (config.angle_step * coarse)), 1, 65535)
    ),
    weight_step=units(config.weight_step, VALUE_STEP_MAX),
    feature_step=tuple(units(step, VALUE_STEP_MAX) for step in steps),
  )


def measured_config(
  gaussians: Gaussians2D,
  active: jax.Array,
  config: QuantConfig,
  *,
  size: tuple[int, int],
  transform: str,
) -> QuantConfig:
  """Steps from bits per field and the ranges of fitted Gaussians.

  Args:
    gaussians: N Gaussians.
    active: (N,) bool.
    config: With `bits`.
    size: (height, width), px.
    transform: "ycocg" or "none".

  Returns:
    The config with its steps replaced; see FieldBits for the rule.
  """
  active = np.asarray(active)
  fields = jax.tree.map(
    lambda x: np.asarray(x, np.float64)[active], canonicalize(gaussians)
  )
  bits = config.bits
  feature = fields.feature
  if transform == "ycocg":
    feature = np.asarray(rgb_to_ycocg(jnp.asarray(feature, jnp.float32)))

  def step(values, num_bits):
    return max(float(np.ptp(values)), 1e-3) / (2**num_bits - 1)

  minor = np.exp(np.median(fields.log_scale[:, 1]))
  ratio = np.exp(-np.median(fields.log_scale @ [1.0, -1.0]))
  levels = 2**bits.angle
  # Inverse of the rule for the levels, pi (1 - r^2) / (q r).
  angle_step = math.pi * max(1 / ratio - ratio, 0.1) / levels
  color = feature[:, :3] if transform == "ycocg" else feature
  return dataclasses.replace(
    config,
    scale_step=step(fields.log_scale, bits.scale),
    position_precision=math.log2(minor * 2**bits.position / max(size)),
    angle_step=angle_step,
    weight_step=step(fields.log_weight, bits.weight),
    luma_step=step(color[:, 0], bits.feature),
    chroma_step=step(
      color[:, 1:] if color.shape[1] > 1 else color, bits.feature
    ),
    other_step=step(
      feature[:, 3:] if feature.shape[1] > 3 else feature, bits.feature
    ),
  )
