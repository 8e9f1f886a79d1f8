"""Pairs of pictures for the reference values of metrics; numpy only."""

import numpy as np


def pair(height, width, *, seed=0, noise=0.1):
  """Waves with flat patches, and the same with noise that grows to the right.

  Returns:
    Two (height, width, 3) float32 in [0, 1].
  """
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:height, :width]
  a = np.stack([0.5 + 0.45 * np.sin((x + k * y) / 9) for k in (1, 2, 3)], -1)
  a += 0.03 * rng.standard_normal(a.shape)
  b = a + noise * rng.standard_normal(a.shape) * (x / width)[..., None]
  rows = slice(height // 4, height // 2)
  a[rows, width // 6 : width // 2] = 0, 1, 0
  b[rows, width // 6 : width // 3] = 0, 0, 1
  return tuple(np.clip(v, 0, 1).astype(np.float32) for v in (a, b))


def hdr_pair(height, width, *, seed=0):
  """The same with a brightness from 0 to about 50."""
  a, b = pair(height, width, seed=seed)
  rng = np.random.default_rng(seed + 100)
  light = rng.uniform(0.5, 3, (height, width, 1))
  bright = np.expm1(3 * a) * light
  return tuple(
    v.astype(np.float32) for v in (bright, bright * np.exp(b - a.astype(float)))
  )
