"""Adam with a rate per field, within bounds, and the schedule."""

import jax
import jax.numpy as jnp
import optax

from jaxgs import kernels
from jaxgs.backends import resolve_backend
from jaxgs.config import FitConfig
from jaxgs.types import Gaussians2D


def init_optimizer(gaussians: Gaussians2D) -> optax.ScaleByAdamState:
  """Zero moments for every field."""
  return optax.scale_by_adam().init(gaussians)


def rates_of(config: FitConfig, spacing_px: float) -> Gaussians2D:
  """The learning rates of a config as leaves, shaped like the parameters.

  Args:
    config: Uses `rates`.
    spacing_px: Mean distance of neighbouring Gaussians, px; the unit of the
      rate of the centres.

  Returns:
    Gaussians2D of () float32.
  """
  rates = config.rates
  values = (
    rates.mean * spacing_px,
    rates.log_scale,
    rates.angle,
    rates.log_weight,
    rates.feature,
  )
  return Gaussians2D(*(jnp.asarray(v, jnp.float32) for v in values))


def schedule(
  step: jax.Array,
  decay_step: jax.Array,
  config: FitConfig,
  *,
  quantized: bool = False,
) -> jax.Array:
  """Factor on the learning rates: 1, then a cosine down to `decay_to`.

  Args:
    step: () int32.
    decay_step: () int32, where the decay starts.
    config: Uses `num_steps`, `decay_start`, `decay_to`, `quantized_decay_to`.
    quantized: While parameters settle on the lattice.

  Returns:
    () float32.
  """
  length = max(config.num_steps - config.decay_step, 1)
  progress = (step - decay_step).astype(jnp.float32) / length
  cosine = 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(progress, 0.0, 1.0)))
  least = config.quantized_decay_to if quantized else config.decay_to
  return least + (1.0 - least) * cosine


def quantized_progress(
  step: jax.Array, decay_step: jax.Array, config: FitConfig
) -> jax.Array:
  """Share of the quantised steps that are done.

  Args:
    step: () int32.
    decay_step: () int32; an early stop moves it, and with it the end.
    config: Uses `num_steps`, `decay_start`, `quantize_start`.

  Returns:
    () float32 in [0, 1].
  """
  first = decay_step + (config.quantize_step - config.decay_step)
  length = max(config.num_steps - config.quantize_step, 1)
  return jnp.clip((step - first).astype(jnp.float32) / length, 0.0, 1.0)


def update(
  gaussians: Gaussians2D,
  gradient: Gaussians2D,
  moments: optax.ScaleByAdamState,
  rates: Gaussians2D,
  *,
  corner: jax.Array,
  config: FitConfig,
) -> tuple[Gaussians2D, optax.ScaleByAdamState]:
  """One step of Adam, back within the bounds of the config.

  Args:
    gaussians: Parameters.
    gradient: Of the same shapes.
    moments: From `init_optimizer` or the last step.
    rates: () per field, or (N,) or (N, 1) per field.
    corner: (2,) float32, (width, height) of the image, px: centres stay on it.
    config: Uses `scale_parameter`, `use_weight`, the ranges of the fields, and
      `raster` for its backend.

  Returns:
    New parameters and moments.

  Raises:
    NotImplementedError: The backend asked for cannot serve.
  """
  log_weight_range = low, high = config.log_weight_range
  if not config.use_weight:
    # All stay at 0, or at the bound next to it.
    log_weight_range = (min(max(0.0, low), high),) * 2
  backend = resolve_backend(config.raster).backend
  return kernels.load(backend, "adam").update(
    gaussians,
    gradient,
    moments,
    rates,
    corner=corner,
    scale_parameter=config.scale_parameter,
    log_scale_range=config.log_scale_range,
    log_weight_range=log_weight_range,
    feature_range=config.feature_range,
  )
