"""The step in pure JAX, by optax."""

import jax
import jax.numpy as jnp
import optax

from jaxgs.types import Gaussians2D

# Second moments react within 1 / (1 - B2) steps. 0.999 is Adam's default;
# growth changes the gradients every few hundred steps.
B1, B2, EPSILON = 0.9, 0.999, 1e-12

_ADAM = optax.scale_by_adam(b1=B1, b2=B2, eps=EPSILON)


def update(
  gaussians: Gaussians2D,
  gradient: Gaussians2D,
  moments: optax.ScaleByAdamState,
  rates: Gaussians2D,
  *,
  corner: jax.Array,
  scale_parameter: str,
  log_scale_range: tuple[float, float],
  log_weight_range: tuple[float, float],
  feature_range: tuple[float, float],
) -> tuple[Gaussians2D, optax.ScaleByAdamState]:
  """See `jaxgs.kernels`.

  Args:
    gaussians: Parameters.
    gradient: Of the same shapes.
    moments: Of the steps before.
    rates: () per field, or (N,) or (N, 1) per field.
    corner: (2,) float32, (width, height): centres are within.
    scale_parameter: What moves: "log" s, "inverse" 1 / s, or "linear" s.
    log_scale_range: Lowest and highest, static.
    log_weight_range: As `log_scale_range`.
    feature_range: As `log_scale_range`.

  Returns:
    New parameters and moments.
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
    direction, moments = _ADAM.update(gradient, moments)
  gaussians = jax.tree.map(
    lambda x, d, rate: x - rate * d, gaussians, direction, rates
  )
  if sign:
    # u must stay positive; e^-10 is beyond any scale that is drawn.
    moved = jnp.maximum(gaussians.log_scale, jnp.exp(-10.0))
    gaussians = gaussians._replace(log_scale=sign * jnp.log(moved))
  bounded = gaussians._replace(
    mean=jnp.clip(gaussians.mean, 0.0, corner[None]),
    log_scale=jnp.clip(gaussians.log_scale, *log_scale_range),
    log_weight=jnp.clip(gaussians.log_weight, *log_weight_range),
    feature=jnp.clip(gaussians.feature, *feature_range),
  )
  return bounded, moments
