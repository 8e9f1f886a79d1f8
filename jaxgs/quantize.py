"""Parameters to lattice symbols and back, with straight-through gradients."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgs.codec.header import POWER_MAX, SCALE_STEP_MAX, VALUE_STEP_MAX
from jaxgs.codec.lattice import RATIO_MAX, Lattice
from jaxgs.codec.limits import FEATURE_MAX, LOG_WEIGHT_MAX
from jaxgs.codec.rules import (
  SHEAR_BITS,
  Frame,
  Rules,
  angle_levels,
  feature_eighths,
  frame,
  weight_steps,
)
from jaxgs.codec.symbols import Symbols
from jaxgs.config import QuantConfig
from jaxgs.dequantize import (
  STEP_UNIT,
  DeviceLattice,
  Transform,
  from_symbols,
  host_lattice,
  offset_share,
  triples_of,
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


def rgb_to_ycocg(feature: jax.Array, first: int = 0) -> jax.Array:
  """Luma and two colour differences of three channels.

  Y = (R + 2 G + B) / 4, Co = R - B, Cg = G - (R + B) / 2; further channels
  pass through.

  Args:
    feature: (..., C), C >= first + 3.
    first: R's channel.

  Returns:
    (..., C).
  """
  r, g, b = (feature[..., first + i] for i in range(3))
  mixed = [0.25 * r + 0.5 * g + 0.25 * b, r - b, g - 0.5 * (r + b)]
  parts = [
    feature[..., :first],
    jnp.stack(mixed, -1),
    feature[..., first + 3 :],
  ]
  return jnp.concatenate(parts, axis=-1)


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
  transform: Transform,
) -> Symbols:
  """Rounds parameters to the lattice.

  Args:
    gaussians: N Gaussians; centres outside the image move to its border.
    lattice: Steps.
    height: Image height, px.
    width: Image width, px.
    transform: Of the features, see `dequantize.Transform`.

  Returns:
    Symbols of int32 arrays, see `codec.Symbols`.
  """
  gaussians = canonicalize(gaussians)

  def nearest(x, step, limit):
    # Clipped as floats: a conversion to int32 may not see what it cannot hold.
    bound = jnp.floor(limit.astype(jnp.float32))
    return jnp.clip(jnp.round(x / step), -bound, bound).astype(jnp.int32)

  limits, rules = lattice.limits, lattice.rules
  scale = nearest(gaussians.log_scale, lattice.scale_step, limits.scale)
  major, minor = scale[:, 0], scale[:, 1]
  scale = jnp.stack([major, jnp.minimum(major - minor, RATIO_MAX)], axis=-1)
  levels = angle_levels(rules, scale)
  turns = gaussians.angle / jnp.pi * levels.astype(jnp.float32)
  angle = jnp.mod(jnp.round(turns).astype(jnp.int32), levels)
  steps = weight_steps(rules, scale)
  weight = nearest(
    gaussians.log_weight,
    steps.astype(jnp.float32) * STEP_UNIT,
    jnp.minimum(limits.weight, LOG_WEIGHT_MAX // steps),
  )
  row = feature_eighths(rules, scale, weight * steps)
  feature_step = lattice.feature_step[:, row].T
  most = jnp.float32(FEATURE_MAX * STEP_UNIT) / feature_step
  feature = gaussians.feature
  for first in triples_of(transform):
    feature = rgb_to_ycocg(feature, first)
  return Symbols(
    position=_nearest_centres(
      gaussians.mean, frame(rules, scale, angle, levels), rules, height, width
    ),
    scale=scale,
    angle=angle,
    weight=weight,
    feature=nearest(
      feature,
      feature_step,
      jnp.minimum(limits.feature[None].astype(jnp.float32), most - 1.0),
    ),
  )


def _nearest_centres(
  mean: jax.Array, frame_: Frame, rules: Rules, height: int, width: int
) -> jax.Array:
  """Lattice positions (N, 2) int32; clipped as floats, like all symbols."""
  steep = frame_.steep
  x, y = mean[:, 0], mean[:, 1]
  a, b = jnp.where(steep, y, x), jnp.where(steep, x, y)
  width, height = jnp.float32(width), jnp.float32(height)
  size_a = jnp.where(steep, height, width)
  size_b = jnp.where(steep, width, height)
  per_a, per_b = (
    jnp.exp2(bits.astype(jnp.float32)) for bits in (frame_.along, frame_.across)
  )
  along = jnp.clip(jnp.floor(a * per_a), 0.0, jnp.ceil(size_a * per_a) - 1.0)
  # The centre moves along the long axis, not along the image's.
  moved = (along + 0.5) / per_a - a
  slope = frame_.shear.astype(jnp.float32) * 2.0**-SHEAR_BITS
  along = along.astype(jnp.int32)
  wanted = (b + slope * moved) * per_b - offset_share(rules, frame_, along)
  last = jnp.ceil(size_b * per_b) - 1.0
  across = jnp.clip(jnp.round(wanted), 0.0, last).astype(jnp.int32)
  return jnp.stack(
    [jnp.where(steep, across, along), jnp.where(steep, along, across)], axis=-1
  )


def quantize(
  gaussians: Gaussians2D,
  lattice: DeviceLattice,
  *,
  height: int,
  width: int,
  transform: Transform = "none",
) -> Gaussians2D:
  """Parameters as a decoder will see them, with the gradient of the identity.

  Args:
    gaussians: N Gaussians.
    lattice: Steps.
    height: Image height, px.
    width: Image width, px.
    transform: Of the features, see `dequantize.Transform`.

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


def feature_steps(
  config: QuantConfig,
  channels: int,
  transform: Transform,
  weights: tuple[float, ...],
) -> list[float]:
  """Steps of the features, coarseness aside; see `lattice_of`."""
  steps = [config.other_step] * channels
  for first in triples_of(transform):
    chroma = config.chroma_step
    steps[first : first + 3] = [config.luma_step, chroma, chroma]
  if not weights:
    return steps
  mean = sum(weights) / len(weights)
  return [
    step * math.sqrt(mean / weight)
    for step, weight in zip(steps, weights, strict=True)
  ]


def lattice_of(
  config: QuantConfig,
  channels: int,
  transform: Transform,
  *,
  weights: tuple[float, ...] = (),
) -> Lattice:
  """The steps of a config as the integers that a file stores.

  Args:
    config: Steps, `bits` aside.
    channels: C.
    transform: Colours under it have steps for luma and chroma, see
      `dequantize.Transform`.
    weights: What an error in each channel costs in the fit, see FitConfig:
      steps are proportional to their inverse roots, which spends the same
      error on all channels. Equal when empty.

  Returns:
    A Lattice; steps are clipped to what a file can hold.
  """
  coarse = config.coarseness
  steps = feature_steps(config, channels, transform, weights)

  def units(step, most):
    return int(np.clip(round(step * coarse / STEP_UNIT), 1, most))

  precision = config.position_precision - math.log2(coarse)
  powers = {}
  if config.adaptive:
    powers = {
      "geometry_power": config.geometry_power,
      "feature_power": config.feature_power,
      "feature_weight_power": config.feature_weight_power / math.log(2),
    }
    powers = {
      name: int(np.clip(round(256 * value), 0, POWER_MAX))
      for name, value in powers.items()
    }
  return Lattice(
    scale_step=units(config.scale_step, SCALE_STEP_MAX),
    position_precision=int(np.clip(round(precision * 256), 0, 4096)),
    angle_precision=int(
      np.clip(round(256 / (config.angle_step * coarse)), 1, 65535)
    ),
    weight_step=units(config.weight_step, VALUE_STEP_MAX),
    feature_step=tuple(units(step, VALUE_STEP_MAX) for step in steps),
    aligned=int(config.adaptive),
    **powers,
  )


# mse^0.3 (H W / N)^0.5 for which the steps of QuantConfig are best: that of
# eight Kodak crops with a splat per 79 pixels.
_TYPICAL_ERROR = 1.09


def error_factor(mse: jax.Array, pixels_per_splat: jax.Array) -> jax.Array:
  """The factor on all adaptive steps that suits a fit, see QuantConfig.

  Args:
    mse: () float32, what the fit leaves; inf, and 0 in a picture of one
      colour, are no reason for absurd steps.
    pixels_per_splat: H W / N.

  Returns:
    () float32 within 1 / 16 and 16; 1 where nothing is known.
  """
  factor = mse**0.3 * jnp.sqrt(pixels_per_splat) / _TYPICAL_ERROR
  return jnp.where(jnp.isfinite(mse), jnp.clip(factor, 1 / 16, 16.0), 1.0)


def measured_config(
  gaussians: Gaussians2D,
  active: jax.Array,
  mse: jax.Array,
  config: QuantConfig,
  *,
  size: tuple[int, int],
  transform: Transform,
) -> QuantConfig:
  """Steps that suit fitted Gaussians.

  Args:
    gaussians: N Gaussians.
    active: (N,) bool.
    mse: () float32, what the fit leaves.
    config: With `bits`, or adaptive.
    size: (height, width), px.
    transform: See `dequantize.Transform`.

  Returns:
    The config with its steps or its coarseness replaced; see FieldBits and
    QuantConfig for the rules.
  """
  if config.bits is None:
    pixels = size[0] * size[1] / max(int(np.sum(active)), 1)
    error = float(error_factor(jnp.float32(mse), jnp.float32(pixels)))
    return dataclasses.replace(config, coarseness=config.coarseness * error)
  active = np.asarray(active)
  fields = jax.tree.map(
    lambda x: np.asarray(x, np.float64)[active], canonicalize(gaussians)
  )
  bits = config.bits
  feature = jnp.asarray(fields.feature, jnp.float32)
  triples = triples_of(transform)
  for first in triples:
    feature = rgb_to_ycocg(feature, first)
  feature = np.asarray(feature)
  luma = list(triples)
  chroma = [first + i for first in triples for i in (1, 2)]
  other = [c for c in range(feature.shape[1]) if c not in luma + chroma]

  def step(values, num_bits):
    return max(float(np.ptp(values)), 1e-3) / (2**num_bits - 1)

  minor = np.exp(np.median(fields.log_scale[:, 1]))
  ratio = np.exp(-np.median(fields.log_scale @ [1.0, -1.0]))
  levels = 2**bits.angle
  # Inverse of the rule for the levels, pi (1 - r^2) / (q r).
  angle_step = math.pi * max(1 / ratio - ratio, 0.1) / levels
  return dataclasses.replace(
    config,
    adaptive=False,
    scale_step=step(fields.log_scale, bits.scale),
    position_precision=math.log2(minor * 2**bits.position / max(size)),
    angle_step=angle_step,
    weight_step=step(fields.log_weight, bits.weight),
    **{
      f"{name}_step": step(feature[:, channels], bits.feature)
      for name, channels in (
        ("luma", luma),
        ("chroma", chroma),
        ("other", other),
      )
      if channels
    },
  )
