"""Splats to draw in tests."""

import numpy as np

from jaxgs.types import Gaussians2D, Splats


def random_gaussians(
  seed=0, *, n=60, height=33, width=41, channels=3, spread=6.0, dtype=np.float32
):
  """Gaussians of all sizes, some of them outside the picture."""
  rng = np.random.default_rng(seed)
  low, high = -spread, np.array([width, height]) + spread
  return Gaussians2D(
    mean=rng.uniform(low, high, (n, 2)).astype(dtype),
    log_scale=rng.normal(1.0, 0.8, (n, 2)).astype(dtype),
    angle=rng.uniform(-4, 4, n).astype(dtype),
    log_weight=rng.normal(0, 1, n).astype(dtype),
    feature=rng.normal(0.5, 0.4, (n, channels)).astype(dtype),
  )


def circle(x, y, sigma, *, log_weight=0.0, feature=(1.0,)):
  """One round splat."""
  i = 1.0 / sigma**2
  return Splats(
    mean=np.array([[x, y]], np.float32),
    conic=np.array([[i, 0, i]], np.float32),
    log_weight=np.array([log_weight], np.float32),
    feature=np.array([feature], np.float32),
  )
