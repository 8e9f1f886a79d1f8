"""Noise like that of rounding, for fits that are to be rounded."""

import jax
import jax.numpy as jnp

from jaxgs.config import QuantConfig
from jaxgs.dequantize import Transform, triples_of, ycocg_to_rgb
from jaxgs.quantize import feature_steps
from jaxgs.types import Gaussians2D


def rounding_noise(
  key: jax.Array,
  gaussians: Gaussians2D,
  config: QuantConfig,
  coarseness: jax.Array,
  *,
  transform: Transform = "none",
  weights: tuple[float, ...] = (),
) -> Gaussians2D:
  """Random shifts as large as those of rounding: within half a step.

  Args:
    key: PRNG key.
    gaussians: N Gaussians.
    config: Steps of an adaptive lattice.
    coarseness: () float32, a factor on them; see `error_factor`.
    transform: Of the features, see `dequantize.Transform`.
    weights: As in `lattice_of`.

  Returns:
    What to add to each parameter; no gradient.
  """
  gaussians = jax.lax.stop_gradient(gaussians)
  scale = jnp.exp(gaussians.log_scale)
  area = scale[:, 0] * scale[:, 1]
  shrink = coarseness * area**-config.geometry_power
  ratio = jnp.min(scale, axis=1) / jnp.max(scale, axis=1)
  angle = config.angle_step * ratio / jnp.maximum(1.0 - ratio**2, 1e-3)
  keys = jax.random.split(key, len(gaussians))
  draws = Gaussians2D(
    *(
      jax.random.uniform(k, x.shape, minval=-0.5, maxval=0.5)
      for k, x in zip(keys, gaussians, strict=True)
    )
  )
  # Powers of two, of which the precision is the finest.
  fineness = 2.0 ** (0.5 - config.position_precision)
  along = draws.mean * scale * (fineness * shrink)[:, None]
  cos, sin = jnp.cos(gaussians.angle), jnp.sin(gaussians.angle)
  steps = feature_steps(config, gaussians.feature.shape[1], transform, weights)
  louder = jnp.exp(-config.feature_weight_power * gaussians.log_weight)
  louder = coarseness * area**-config.feature_power * louder
  louder = louder[:, None] * jnp.asarray([steps], jnp.float32)
  feature = draws.feature * louder
  for first in triples_of(transform):
    feature = ycocg_to_rgb(feature, first)
  return Gaussians2D(
    mean=jnp.stack(
      [
        cos * along[:, 0] - sin * along[:, 1],
        sin * along[:, 0] + cos * along[:, 1],
      ],
      axis=-1,
    ),
    log_scale=draws.log_scale * config.scale_step * coarseness,
    angle=draws.angle * jnp.minimum(angle * shrink, jnp.pi),
    log_weight=draws.log_weight * config.weight_step * shrink,
    feature=feature,
  )
