"""How close two pictures of high dynamic range are.

Linear values of any range, where an error counts by how bright it is around it:
by its share of the value, or by what an eye sees.
"""

import jax
import jax.numpy as jnp

from jaxgs.metrics.psnr import check_pair
from jaxgs.transfer import PEAK_LUMINANCE, pu21_encode


def log_psnr(
  a: jax.Array, b: jax.Array, *, floor: float | None = None
) -> jax.Array:
  """PSNR of log(v + floor), over the range from 0 to the largest value of b.

  Well above the floor it is the relative error that counts, below it the
  absolute one. Scaling both pictures (with the floor) changes nothing.

  Args:
    a: (..., H, W, C) float, >= 0.
    b: As `a`; the reference, which gives the range.
    floor: Positive; 1/1000 of the reference's largest value when None.

  Returns:
    (...,), dB, of the dtype of `a`; inf where the pictures are identical.

  Raises:
    ValueError: Shapes or dtypes do not match, or the floor is not positive.
  """
  check_pair(a, b)
  if floor is not None and not floor > 0:
    raise ValueError(f"floor must be positive, got {floor}")
  axes = (-3, -2, -1)
  peak = jnp.max(b, axis=axes, keepdims=True)
  peak = jnp.where(peak > 0, peak, 1.0)
  floor = peak * 1e-3 if floor is None else jnp.asarray(floor, a.dtype)
  error = jnp.log((a + floor) / (b + floor)) / jnp.log1p(peak / floor)
  return -10.0 * jnp.log10(jnp.mean(jnp.square(error), axis=axes))


def pu_psnr(
  a: jax.Array, b: jax.Array, *, peak_luminance: float = PEAK_LUMINANCE
) -> jax.Array:
  """PSNR of PU21-encoded values (Mantiuk and Azimi 2021), per channel.

  Args:
    a: (..., H, W, C) float, >= 0.
    b: As `a`; the reference.
    peak_luminance: Of the reference's largest value on a display, cd/m^2.

  Returns:
    (...,), dB, for a peak of 256 as in the paper (100 cd/m^2 encode to about
    256); inf where the pictures are identical.

  Raises:
    ValueError: Shapes or dtypes do not match, or the luminance is not in
      (0, 10000].
  """
  check_pair(a, b)
  if not 0 < peak_luminance <= 10000:
    raise ValueError(
      f"peak_luminance must be in (0, 10000], got {peak_luminance}"
    )
  axes = (-3, -2, -1)
  peak = jnp.max(b, axis=axes, keepdims=True)
  scale = peak_luminance / jnp.where(peak > 0, peak, 1.0)
  # The encoding is for displays: these are its ends.
  x, y = (pu21_encode(jnp.clip(scale * v, 0.005, 10000.0)) for v in (a, b))
  return -10.0 * jnp.log10(jnp.mean(jnp.square((x - y) / 256.0), axis=axes))
