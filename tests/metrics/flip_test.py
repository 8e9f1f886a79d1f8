import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgs.metrics import (
  Exposures,
  flip,
  flip_exposures,
  flip_map,
  hdr_flip,
  hdr_flip_map,
)
from tests.data import make_flip
from tests.data.metric_pictures import hdr_pair, pair

FIXTURE = pathlib.Path(__file__).parents[1] / "data" / "flip.npz"


@pytest.fixture(scope="module")
def reference():
  with np.load(FIXTURE) as archive:
    return dict(archive)


def _pair(**options):
  return tuple(jnp.asarray(v) for v in pair(*make_flip.SIZE, **options))


def _small(name):
  """Pictures whose windows compile fast, and the metric."""
  pictures = pair if name == "flip" else hdr_pair
  pairs = [pictures(9, 14, seed=k) for k in range(3)]
  a, b = (jnp.asarray(np.stack(v)) for v in zip(*pairs, strict=True))
  # So that the three differ in exposures.
  return a.at[1].multiply(0.1).at[2, :, :8].set(0.01), b


# Against the tool of the authors.


@pytest.mark.parametrize("name", make_flip.LDR)
def test_flip_agrees_with_the_authors(reference, name):
  given = make_flip.LDR[name]
  options = {"pixels_per_degree": given["ppd"]} if given else {}
  error = flip_map(*_pair(), **options)
  expected = reference[f"ldr_{name}"]
  assert expected.max() > 0.9
  np.testing.assert_allclose(error, expected, atol=1e-4)
  mean = flip(*_pair(), **options)
  np.testing.assert_allclose(mean, reference[f"ldr_{name}_mean"], atol=1e-5)


@pytest.mark.parametrize("name", make_flip.HDR)
def test_hdr_flip_agrees_with_the_authors(reference, name):
  options = make_flip.HDR[name]
  a, b = (jnp.asarray(v) for v in make_flip.hdr_pictures(name))
  mapper = options.get("tonemapper", "aces")
  start, stop, count = reference[f"hdr_{name}_exposures"]
  if name == "given":
    exposures = Exposures(start, stop, int(count))
  else:
    exposures = None
    found = flip_exposures(a, tone_mapper=mapper)
    np.testing.assert_allclose(found.start, start, atol=1e-4)
    np.testing.assert_allclose(found.stop, stop, atol=1e-4)
    assert int(found.count) == count
  error = hdr_flip_map(a, b, tone_mapper=mapper, exposures=exposures)
  expected = reference[f"hdr_{name}"]
  assert expected.max() > 0.2
  np.testing.assert_allclose(error, expected, atol=1e-4)
  mean = hdr_flip(a, b, tone_mapper=mapper, exposures=exposures)
  np.testing.assert_allclose(mean, reference[f"hdr_{name}_mean"], atol=1e-5)


# By what is known.


def test_green_against_blue_is_the_largest_error():
  green, blue = (
    jnp.broadcast_to(jnp.asarray(v, jnp.float32), (24, 24, 3))
    for v in ((0, 1, 0), (0, 0, 1))
  )
  error = flip_map(green, blue)
  np.testing.assert_allclose(error, 1.0, atol=1e-4)
  np.testing.assert_array_equal(error, flip_map(blue, green))
  # Outside of [0, 1] there is no colour to show.
  np.testing.assert_array_equal(error, flip_map(green * 2, blue - green))


@pytest.mark.parametrize(
  ("metric", "error_map"), ((flip, flip_map), (hdr_flip, hdr_flip_map))
)
def test_identical_pictures_give_zero(metric, error_map):
  a = _small("flip")[0][0]
  assert error_map(a, a).shape == a.shape[:-1]
  assert metric(a, a) == 0
  dot = jnp.zeros((1, 1, 3))
  assert metric(dot, dot) == 0
  assert metric(dot, dot + 1) > 0.1


@pytest.mark.parametrize("metric", (flip, hdr_flip))
def test_batch_is_a_loop(metric):
  a, b = _small(metric.__name__)
  if metric is hdr_flip:
    assert len(set(flip_exposures(a).count.tolist())) > 1
  expected = np.array([metric(*v) for v in zip(a, b, strict=True)])
  assert len(np.unique(expected)) == 3
  many = metric(a[:, None], b[:, None])
  np.testing.assert_allclose(many, expected[:, None], rtol=1e-5)
  mapped = jax.jit(jax.vmap(metric))(a, b)
  np.testing.assert_allclose(mapped, expected, rtol=1e-5)


@pytest.mark.parametrize("metric", (flip, hdr_flip))
def test_channels(metric):
  a, b = (v[0] for v in _small("flip"))
  grey = [v[..., :1] for v in (a, b)]
  tripled = [jnp.repeat(v, 3, -1) for v in grey]
  np.testing.assert_array_equal(metric(*grey), metric(*tripled))
  alpha = b[..., 1:2]
  layers = [jnp.concatenate([v, alpha], -1) for v in (a, b)]
  on_white = [v * alpha + (1 - alpha) for v in (a, b)]
  np.testing.assert_allclose(metric(*layers), metric(*on_white), rtol=1e-5)
  assert metric(*layers) < metric(a, b)


@pytest.mark.parametrize("metric", (flip, flip_map, hdr_flip, hdr_flip_map))
def test_arguments_are_checked(metric):
  a = jnp.zeros((4, 5, 3))
  with pytest.raises(ValueError, match="a and b must have one shape"):
    metric(a, a[:1])
  with pytest.raises(ValueError, match="1 to 4 channels, got 5"):
    metric(jnp.zeros((4, 5, 5)), jnp.zeros((4, 5, 5)))
  for bad in (0.0, -1.0, float("nan"), float("inf")):
    with pytest.raises(ValueError, match="pixels_per_degree must be positive"):
      metric(a, a, pixels_per_degree=bad)


def test_tone_mapper_is_checked():
  a = jnp.zeros((4, 5, 3))
  given = Exposures(0.0, 1.0, 2)
  for exposures in (None, given):
    with pytest.raises(ValueError, match="must be one of aces, hable, rein"):
      hdr_flip(a, a, tone_mapper="ACES", exposures=exposures)
