"""First Gaussians from an image, and new ones where the picture is wrong."""

import jax
import jax.numpy as jnp

from jaxgs.bands import over_bands, put_rows, rows_at, rows_of_band
from jaxgs.types import Gaussians2D

METHODS = ("gradient", "random")


def gradient_map(
  image: jax.Array,
  mask: jax.Array | None = None,
  *,
  roots: jax.Array | None = None,
) -> jax.Array:
  """Squared image gradient, summed over the channels.

  Args:
    image: (H, W, C).
    mask: (H, W), 0 where the image is padding, which has no gradient.
    roots: (1, 1, C), what the channels are multiplied by before; 1 when None.

  Returns:
    (H, W), central differences, one-sided at the border.
  """
  height = image.shape[0]
  rows = rows_of_band(image.shape[:2])

  def body(out, band):
    # A row more on either side; beyond the border the last one again.
    index = jnp.arange(-1, rows + 1, dtype=jnp.int32) + band.top
    index = jnp.clip(index, 0, height - 1)
    part = image[index] if roots is None else image[index] * roots
    valid = None if mask is None else mask[index] > 0
    return put_rows(out, _inner_gradient(part, valid), band.top)

  return over_bands(body, jnp.zeros(image.shape[:2], image.dtype), height, rows)


def _inner_gradient(image: jax.Array, valid: jax.Array | None) -> jax.Array:
  """`gradient_map` of all rows but the first and the last: (H - 2, W)."""
  padded = jnp.pad(image, ((0, 0), (1, 1), (0, 0)), mode="edge")
  dx = 0.5 * (padded[1:-1, 2:] - padded[1:-1, :-2])
  dy = 0.5 * (image[2:] - image[:-2])
  dx2, dy2 = jnp.sum(dx * dx, axis=-1), jnp.sum(dy * dy, axis=-1)
  if valid is not None:
    beside = jnp.pad(valid, ((0, 0), (1, 1)), mode="edge")
    dx2 = jnp.where(beside[1:-1, 2:] & beside[1:-1, :-2], dx2, 0.0)
    dy2 = jnp.where(valid[2:] & valid[:-2], dy2, 0.0)
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
  height, width = density.shape
  rows = rows_of_band((height, width))
  if rows == height:
    return jax.lax.top_k(_noisy(key, density), num_samples)[1]

  def body(best, band):
    # The largest of the picture are among the largest of its bands.
    noisy = _noisy(
      jax.random.fold_in(key, band.index), rows_at(density, band.top, rows)
    )
    if band.fresh is not None:
      noisy = jnp.where(jnp.repeat(band.fresh, width), noisy, -jnp.inf)
    index = band.top * width + jnp.arange(rows * width, dtype=jnp.int32)
    noisy = jnp.concatenate([best[0], noisy])
    index = jnp.concatenate([best[1], index])
    largest, chosen = jax.lax.top_k(noisy, num_samples)
    return largest, index[chosen]

  nothing = jnp.full((num_samples,), -jnp.inf, density.dtype)
  start = nothing, jnp.zeros((num_samples,), jnp.int32)
  return over_bands(body, start, height, rows)[1]


def _noisy(key: jax.Array, density: jax.Array) -> jax.Array:
  """The log-density with Gumbel noise, flattened."""
  log_density = jnp.log(jnp.maximum(density.reshape(-1), 1e-30))
  return log_density + jax.random.gumbel(key, log_density.shape)


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
