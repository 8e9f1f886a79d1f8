"""First Gaussians from an image, and new ones where the picture is wrong."""

import jax
import jax.numpy as jnp

from jaxgs.types import Gaussians2D

METHODS = ("gradient", "random")


def gradient_map(image: jax.Array, mask: jax.Array | None = None) -> jax.Array:
  """Squared image gradient, summed over the channels.

  Args:
    image: (H, W, C).
    mask: (H, W), 0 where the image is padding, which has no gradient.

  Returns:
    (H, W), central differences, one-sided at the border.
  """
  padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
  dx = 0.5 * (padded[1:-1, 2:] - padded[1:-1, :-2])
  dy = 0.5 * (padded[2:, 1:-1] - padded[:-2, 1:-1])
  dx2, dy2 = jnp.sum(dx * dx, axis=-1), jnp.sum(dy * dy, axis=-1)
  if mask is not None:
    valid = jnp.pad(mask > 0, 1, mode="edge")
    dx2 = jnp.where(valid[1:-1, 2:] & valid[1:-1, :-2], dx2, 0.0)
    dy2 = jnp.where(valid[2:, 1:-1] & valid[:-2, 1:-1], dy2, 0.0)
  return dx2 + dy2


def sample_pixels(key: jax.Array, density: jax.Array, num_samples: int):
  """Draws distinct pixels with probability proportional to a density.

  Gumbel noise on the log-density and the largest values: sampling without
  replacement. Pixels of density 0 come last.

  Args:
    key: PRNG key.
    density: (H, W), >= 0, any scale.
    num_samples: At most H W.

  Returns:
    (num_samples,) int32 indices into the flattened map, most likely first.
  """
  log_density = jnp.log(jnp.maximum(density.reshape(-1), 1e-30))
  noisy = log_density + jax.random.gumbel(key, log_density.shape)
  return jax.lax.top_k(noisy, num_samples)[1]


def spread(importance: jax.Array, random_ratio: float, mask=None) -> jax.Array:
  """Mixes a map with the uniform density; sums to 1.

  Args:
    importance: (H, W), >= 0.
    random_ratio: Share of the uniform density, 0 to 1.
    mask: (H, W), 0 where nothing may be placed; None: everywhere.

  Returns:
    (H, W).
  """
  valid = jnp.ones_like(importance) if mask is None else mask
  importance = jnp.maximum(importance, 0.0) * valid
  total = jnp.sum(importance)
  uniform = valid / jnp.maximum(jnp.sum(valid), 1.0)
  shaped = jnp.where(total > 0, importance / jnp.maximum(total, 1e-30), uniform)
  return random_ratio * uniform + (1.0 - random_ratio) * shaped


def place(
  key: jax.Array,
  image: jax.Array,
  density: jax.Array,
  num_gaussians: int,
  *,
  scale: float,
  num_used: jax.Array | None = None,
) -> Gaussians2D:
  """New Gaussians at pixels drawn from a density, the likeliest first.

  The standard deviation is `scale` times the local spacing sqrt(1 / (N p)),
  round, with a random angle for the optimiser to start from; the colour is
  the image's (right for the normalised blend, where a splat shows its own
  colour, and the fastest start for the sum).

  Args:
    key: PRNG key.
    image: (H, W, C).
    density: (H, W), sums to 1.
    num_gaussians: N, at most H W.
    scale: Standard deviation in units of the local spacing.
    num_used: () how many of them, from the first, will be used: N of the
      spacing. All when None.

  Returns:
    Gaussians2D with log_weight 0.
  """
  if num_used is None:
    num_used = num_gaussians
  width = image.shape[1]
  key_pixel, key_shift, key_angle = jax.random.split(key, 3)
  index = sample_pixels(key_pixel, density, num_gaussians)
  pixel = jnp.stack([index % width, index // width], -1).astype(jnp.float32)
  shift = jax.random.uniform(key_shift, (num_gaussians, 2))
  # Without replacement no more than one splat falls on a pixel.
  local = jnp.float32(num_used) * density.reshape(-1)[index]
  expected = jnp.clip(local, 1e-9, 1.0)
  log_scale = jnp.log(scale) - 0.5 * jnp.log(expected)
  # Half a pixel is as sharp as a pixel grid can tell.
  log_scale = jnp.maximum(log_scale, jnp.log(0.5))
  return Gaussians2D(
    mean=pixel + shift,
    log_scale=jnp.stack([log_scale, log_scale], axis=-1),
    angle=jax.random.uniform(key_angle, (num_gaussians,), maxval=jnp.pi),
    log_weight=jnp.zeros((num_gaussians,)),
    feature=image.reshape(-1, image.shape[2])[index],
  )


def init_gaussians(
  key: jax.Array,
  image: jax.Array,
  num_gaussians: int,
  *,
  method: str = "gradient",
  importance: jax.Array | None = None,
  random_ratio: float = 0.3,
  scale: float = 0.6,
  mask: jax.Array | None = None,
  num_used: jax.Array | None = None,
) -> Gaussians2D:
  """First Gaussians of a fit.

  Args:
    key: PRNG key.
    image: (H, W, C) float32.
    num_gaussians: N, 1 to H W.
    method: "gradient": denser where the image changes; "random": uniform.
    importance: (H, W) >= 0, a density of the caller's own instead.
    random_ratio: Share of Gaussians placed uniformly, 0 to 1.
    scale: Standard deviation in units of the local spacing.
    mask: (H, W), 0 where the image is padding.
    num_used: () how many of the N, from the first, will be used; all when
      None.

  Returns:
    Gaussians2D with N Gaussians.

  Raises:
    ValueError: N is out of range or the method unknown.
  """
  height, width, _ = image.shape
  if not 1 <= num_gaussians <= height * width:
    raise ValueError(
      f"num_gaussians must be in 1..{height * width} (the pixels of the"
      f" image), got {num_gaussians}"
    )
  if method not in METHODS:
    raise ValueError(f"method must be one of {METHODS}, got {method!r}")
  if importance is None:
    flat = jnp.zeros(image.shape[:2])
    shaped = method == "gradient"
    importance = gradient_map(image, mask) if shaped else flat
  density = spread(importance, random_ratio, mask)
  return place(
    key, image, density, num_gaussians, scale=scale, num_used=num_used
  )
