import jax
import jax.numpy as jnp

from jaxgs.config import QuantConfig
from jaxgs.noise import rounding_noise
from jaxgs.quantize import canonicalize, device_lattice, lattice_of, quantize
from tests.kernels.scenes import random_gaussians


def test_noise_is_as_large_as_rounding():
  count = 4000
  gaussians = jax.tree.map(
    jnp.asarray, random_gaussians(3, n=count, spread=-1.0)
  )
  config = QuantConfig(coarseness=0.5)
  steps = device_lattice(lattice_of(config, 3, "ycocg"))
  options = {"height": 33, "width": 41, "transform": "ycocg"}
  rounded = quantize(gaussians, steps, **options)
  noise = rounding_noise(
    jax.random.key(0),
    gaussians,
    config,
    jnp.float32(config.coarseness),
    transform="ycocg",
  )
  whole = canonicalize(gaussians)
  for name in ("mean", "log_scale", "log_weight", "feature"):
    error = getattr(rounded, name) - getattr(whole, name)
    want, got = (
      float(jnp.sqrt(jnp.mean(jnp.square(x))))
      for x in (error, getattr(noise, name))
    )
    # Of the centres and angles, steps are powers of two and whole numbers.
    assert 0.7 < got / want < 1.4, name
  turn = jnp.mod(rounded.angle - whole.angle + 0.5 * jnp.pi, jnp.pi)
  want, got = (
    float(jnp.median(jnp.abs(x))) for x in (turn - 0.5 * jnp.pi, noise.angle)
  )
  assert 0.6 < got / want < 1.6
  still = rounding_noise(jax.random.key(0), gaussians, config, jnp.float32(0.0))
  assert not any(leaf.any() for leaf in still)
