"""Mean squared error and peak signal-to-noise ratio."""

import jax
import jax.numpy as jnp


def check_pair(a: jax.Array, b: jax.Array) -> None:
  """Checks that two arrays are pictures that can be compared.

  Args:
    a: (..., H, W, C) float.
    b: as `a`.

  Raises:
    ValueError: the shapes differ, have fewer than three axes or an empty
      picture, or the dtypes are not the same float.
  """
  if a.shape != b.shape:
    raise ValueError(f"a and b must have one shape, got {a.shape}, {b.shape}")
  if a.ndim < 3 or 0 in a.shape[-3:]:
    raise ValueError(f"a and b must be (..., H, W, C), got {a.shape}")
  if a.dtype != b.dtype or not jnp.issubdtype(a.dtype, jnp.floating):
    raise ValueError(
      f"a and b must have one float dtype, got {a.dtype}, {b.dtype}"
    )


def mse(a: jax.Array, b: jax.Array) -> jax.Array:
  """Mean squared error of each picture, over pixels and channels.

  Args:
    a: (..., H, W, C) float.
    b: as `a`.

  Returns:
    (...,), of the dtype of `a`, 0 or more.

  Raises:
    ValueError: shapes or dtypes do not match.
  """
  check_pair(a, b)
  return jnp.mean(jnp.square(a - b), axis=(-3, -2, -1))


def psnr(a: jax.Array, b: jax.Array, *, data_range: float = 1.0) -> jax.Array:
  """Peak signal-to-noise ratio of each picture, in dB.

  For a batch, average these values, as is the custom; the PSNR of the average
  error is another number.

  Args:
    a: (..., H, W, C) float.
    b: as `a`.
    data_range: largest minus smallest possible value, positive.

  Returns:
    (...,), of the dtype of `a`; inf where the pictures are identical (the
    gradient is not finite there).

  Raises:
    ValueError: shapes or dtypes do not match, or data_range is not positive.
  """
  if not data_range > 0:
    raise ValueError(f"data_range must be positive, got {data_range}")
  return -10.0 * jnp.log10(mse(a, b) / data_range**2)
