"""Adam with a rate per field, and the schedule."""

import jax
import jax.numpy as jnp
import optax

from jaxgs.config import FitConfig
from jaxgs.types import Gaussians2D

# Second moments react within 1 / (1 - b2) steps. 0.999 is Adam's default;
# growth changes the gradients every few hundred steps.
_ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-12)


def init_optimizer(gaussians: Gaussians2D) -> optax.OptState:
  """Zero moments for every field."""
  return _ADAM.init(gaussians)


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
  state: optax.OptState,
  rates: Gaussians2D,
  *,
  scale_parameter: str,
) -> tuple[Gaussians2D, optax.OptState]:
  """One step of Adam.

  Args:
    gaussians: Parameters.
    gradient: Of the same shapes.
    state: From `init_optimizer` or the last step.
    rates: A rate per field, or per parameter.
    scale_parameter: What Adam moves for the standard deviation s: "log" s,
      "inverse" 1 / s, or "linear" s. The stored field stays log s.

  Returns:
    New parameters and state.
  """
  # The chain rule to the moved parameter u: d log(s) / du = sign / u, with
  # u = s^sign, and back after the step.
  sign = {"log": 0, "inverse": -1, "linear": 1}[scale_parameter]
  if sign:
    moved = jnp.exp(sign * gaussians.log_scale)
    gradient = gradient._replace(log_scale=sign * gradient.log_scale / moved)
    gaussians = gaussians._replace(log_scale=moved)
  # optax raises a float to an int32 power: not for a strict caller.
  with jax.numpy_dtype_promotion("standard"):
    direction, state = _ADAM.update(gradient, state)
  gaussians = jax.tree.map(
    lambda x, d, rate: x - rate * d, gaussians, direction, rates
  )
  if sign:
    # u must stay positive; e^-10 is beyond any scale that is drawn.
    moved = jnp.maximum(gaussians.log_scale, jnp.exp(-10.0))
    gaussians = gaussians._replace(log_scale=sign * jnp.log(moved))
  return gaussians, state
