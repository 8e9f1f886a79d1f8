"""Splat sets with the statistics of fitted images."""

import numpy as np
import pytest

from jaxgs import codec
from jaxgs.codec import rules


def make_splats(
  num_gaussians,
  seed=0,
  height=512,
  width=768,
  channels=3,
  clustered=True,
  weighted=True,
  precision=768,
  lanes=0,
  adaptive=False,
):
  """Returns a header and symbols."""
  rng = np.random.default_rng(seed)
  n, size = num_gaussians, np.array([width, height])
  lattice = codec.Lattice(3277, precision, 1024, 9830, (655,) * channels)
  if adaptive:
    lattice = lattice._replace(
      geometry_power=69, feature_power=122, feature_weight_power=133, aligned=1
    )
  point = rng.uniform(0, 1, (n, 2)) * size
  if clustered:
    ends = rng.uniform(0, 1, (2, 20, 2)) * size
    which, t = rng.integers(0, 20, n), rng.uniform(0, 1, (n, 1))
    on_edge = ends[0, which] * (1 - t) + ends[1, which] * t
    on_edge = on_edge + rng.normal(0, 5, (n, 2))
    point = np.where(rng.random((n, 1)) < 0.6, on_edge, point)
  point = np.clip(point, 0, size - 1e-3)
  # Values that vary smoothly over the image, plus noise: rho is 0.6.
  wave = rng.normal(0, 1 / (size.max() / 8), (64, 2))
  smooth = np.cos(point @ wave.T + rng.uniform(0, 6.28, 64)).sum(1)
  smooth *= np.sqrt(0.6 * 2 / 64)

  def values(std, step):
    noise = np.sqrt(0.4) * rng.normal(0, 1, n)
    return np.rint((smooth + noise) * std / step).astype(np.int32)

  major = values(0.7, 0.05) + int(20 * np.log(np.sqrt(size.prod() / n)))
  ratio = np.rint(rng.exponential(1, n) / 0.05).astype(np.int32)
  ratio = np.minimum(ratio, 200)
  scale = np.stack([major, ratio], 1)
  levels = angle_levels(lattice, scale)
  angle = rng.integers(0, levels).astype(np.int32)
  bits = position_bits(lattice, scale, angle)
  limit = [
    codec.position_extent(s, b) - 1
    for s, b in zip((width, height), bits.T, strict=True)
  ]
  position = np.floor(point * np.exp2(bits)).astype(np.int64)
  position = np.minimum(position, np.stack(limit, 1)).astype(np.int32)
  weight = values(1.5, 0.15) if weighted else np.zeros(n, np.int32)
  feature = [values(0.25, 0.01) + 50]
  feature += [values(0.06, 0.012) for _ in range(channels - 1)]
  header = codec.Header(
    height=height,
    width=width,
    channels=channels,
    num_gaussians=n,
    lattice=lattice,
    lanes=lanes,
  )
  return header, codec.Symbols(
    position, scale, angle, weight, np.stack(feature, 1)
  )


def angle_levels(lattice, scale):
  return rules.angle_levels(rules.rules_of(lattice), scale)


def position_bits(lattice, scale, angle):
  return rules.position_bits(rules.rules_of(lattice), scale, angle)


@pytest.fixture(name="make_splats")
def _make_splats():
  return make_splats
