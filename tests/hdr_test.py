"""Metrics of high dynamic range."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgs import metrics
from jaxgs.transfer import pu21_encode


def pictures(share=0.01, seed=0):
  rng = np.random.default_rng(seed)
  b = np.exp(rng.uniform(-5, 4, (2, 20, 21, 3))).astype(np.float32)
  a = b * np.exp(share * rng.choice([-1, 1], b.shape)).astype(np.float32)
  return jnp.asarray(a), jnp.asarray(b)


def test_log_psnr_is_that_of_the_share():
  a, b = pictures()
  # Well over the floor, an error is its share of the range of logarithms.
  floor = 1e-7
  span = np.log1p(np.max(b, axis=(1, 2, 3)) / floor)
  want = -20 * np.log10(0.01 / span)
  np.testing.assert_allclose(metrics.log_psnr(a, b, floor=floor), want, 1e-3)
  # The floor follows the reference, so that exposure does not matter.
  np.testing.assert_allclose(
    metrics.log_psnr(64 * a, 64 * b), metrics.log_psnr(a, b), rtol=1e-4
  )
  assert np.all(metrics.log_psnr(b, b) == np.inf)


def test_below_the_floor_errors_are_absolute():
  b = jnp.zeros((4, 4, 1)).at[0, 0].set(1000.0)
  a = b + 0.001
  want = -20 * np.log10(0.001 * np.sqrt(15 / 16) / np.log(1001))
  np.testing.assert_allclose(metrics.log_psnr(a, b), want, rtol=1e-3)


def test_pu_psnr():
  # The largest value of the reference is at the peak luminance.
  b = jnp.full((4, 4, 1), 2.0)
  a = jnp.full((4, 4, 1), 1.0)
  levels = pu21_encode(np.array([400.0, 200.0]))
  want = -20 * np.log10((levels[0] - levels[1]) / 256)
  got = metrics.pu_psnr(a, b, peak_luminance=400.0)
  np.testing.assert_allclose(got, want, rtol=1e-4)
  near, far = (metrics.pu_psnr(*pictures(s)) for s in (0.01, 0.1))
  assert np.all(near > far + 15)


def test_bad_arguments():
  a, b = pictures()
  with pytest.raises(ValueError, match="floor must be positive"):
    metrics.log_psnr(a, b, floor=0.0)
  with pytest.raises(ValueError, match="peak_luminance"):
    metrics.pu_psnr(a, b, peak_luminance=20000.0)
  with pytest.raises(ValueError, match="one shape"):
    metrics.log_psnr(a, b[:1])
