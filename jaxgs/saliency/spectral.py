"""Saliency without a network: what is unusual in the spectrum of a picture."""

import jax
import jax.numpy as jnp

# The longer side of what is analysed; the paper finds that this size of a
# picture responds to objects, larger ones to their details.
_SIDE_PX = 64

# Blur of the map, px of that size. The paper names 8, its authors' published
# lines 2.5, which keeps two objects apart.
_BLUR_PX = 2.5

# Amplitudes below this are noise of float32, not of the picture: one step of
# 8 bits in one pixel has 4e-3.
_NOISE = 1e-3


@jax.jit
def spectral_residual(image: jax.Array) -> jax.Array:
  """Saliency by the spectral residual.

  Natural pictures have much the same log-spectrum, smooth but for what is
  unusual in them. With L the log-amplitude and P the phase of the luma, shrunk
  to 64 pixels: R = L - box3x3(L), S = blur(|IFFT(exp(R + i P))|^2) (Hou and
  Zhang, "Saliency Detection: A Spectral Residual Approach", CVPR 2007, section
  3). Under jit and vmap as well.

  Args:
    image: (H, W, C) float32 in [0, 1]; see `luma`.

  Returns:
    (H, W) float32, 0 to 1; all 0 where the picture is flat.

  Raises:
    ValueError: The image has another rank.
  """
  height, width = image.shape[:2]
  shrink = min(1.0, _SIDE_PX / max(height, width))
  size = [max(1, round(shrink * side)) for side in (height, width)]
  small = jax.image.resize(luma(image), size, "linear")
  # The mean is put back: as part of the sum its rounding would be everywhere.
  mean = jnp.mean(small)
  spectrum = jnp.fft.fft2(small - mean)
  total = (mean * small.size).astype(spectrum.dtype)
  spectrum = spectrum.at[0, 0].set(total)
  amplitude = jnp.abs(spectrum)
  is_flat = jnp.max(amplitude.at[0, 0].set(0.0)) < _NOISE
  level = jnp.log(jnp.maximum(amplitude, _NOISE))
  residual = level - _box(level)
  # Scaled, not made of angles: what is 0 has no phase, and stays 0.
  gain = jnp.where(amplitude > _NOISE, jnp.exp(residual - level), 0.0)
  unusual = jnp.fft.ifft2(gain.astype(spectrum.dtype) * spectrum)
  found = blur(jnp.square(jnp.abs(unusual)), _BLUR_PX)
  found = jnp.where(is_flat, 0.0, found)
  return stretch(jax.image.resize(found, (height, width), "linear"))


def luma(image: jax.Array) -> jax.Array:
  """One channel of a picture: what is seen of it.

  Args:
    image: (H, W, C) float32: grey, grey and alpha, RGB, RGB and alpha (what
      cannot be seen is black), or others (their mean).

  Returns:
    (H, W) float32, luma of BT.601 where there is a colour.

  Raises:
    ValueError: The image has another rank.
  """
  if image.ndim != 3:
    raise ValueError(f"image must be (H, W, C), got {image.shape}")
  channels = image.shape[2]
  if channels > 4:
    return jnp.mean(image, axis=-1)
  weights = (0.299, 0.587, 0.114) if channels >= 3 else (1.0,)
  grey = sum(w * image[..., i] for i, w in enumerate(weights))
  return grey * image[..., -1] if channels in (2, 4) else grey


def blur(values: jax.Array, sigma_px: float) -> jax.Array:
  """A Gaussian blur, with zeros around the map.

  Args:
    values: (H, W).
    sigma_px: Standard deviation; cut off at four of them.

  Returns:
    (H, W).
  """
  rows, columns = (_blur_matrix(side, sigma_px) for side in values.shape)
  return rows @ values @ columns


def _blur_matrix(side: int, sigma_px: float) -> jax.Array:
  """(side, side), symmetric: a blur along one axis is one product."""
  radius = int(4.0 * sigma_px + 0.5)
  offset = jnp.arange(radius + 1, dtype=jnp.float32)
  taps = jnp.exp(-0.5 * jnp.square(offset / sigma_px))
  taps /= 2.0 * jnp.sum(taps) - taps[0]
  index = jnp.arange(side)
  distance = jnp.abs(index[:, None] - index[None, :])
  return jnp.where(distance <= radius, taps[jnp.minimum(distance, radius)], 0.0)


def stretch(values: jax.Array) -> jax.Array:
  """The map from 0 to 1; all 0 where it is the same everywhere."""
  low, high = jnp.min(values), jnp.max(values)
  return (values - low) / jnp.maximum(high - low, 1e-12)


def _box(values: jax.Array) -> jax.Array:
  """Means over 3x3; a spectrum goes on at its other side."""
  for axis in (0, 1):
    both = jnp.roll(values, 1, axis) + jnp.roll(values, -1, axis)
    values = (values + both) / 3.0
  return values
