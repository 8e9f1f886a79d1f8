import pathlib

import jax
import numpy as np
import pytest

pytest.importorskip("flax", reason="EML-Net needs flax")

from jaxgs.saliency import emlnet
from jaxgs.saliency.weights import from_torch
from tests.saliency.emlnet_states import (
  decoder_shapes,
  picture,
  random_state,
  trunk_shapes,
)

FROM_TORCH = np.load(pathlib.Path(__file__).parents[1] / "data" / "emlnet.npz")
SIZE = (96, 128)


@pytest.fixture(scope="module")
def weights():
  shapes = emlnet.variable_shapes()
  return emlnet.Weights(
    from_torch(random_state("imagenet", trunk_shapes()), shapes.imagenet),
    from_torch(random_state("places", trunk_shapes()), shapes.places),
    from_torch(random_state("decoder", decoder_shapes()), shapes.decoder),
  )


def _distance(a, b):
  return np.linalg.norm(a - b) / np.linalg.norm(b - b.mean())


def test_agrees_with_torch(weights):
  image = picture(*SIZE)
  for name in ("imagenet", "places"):
    taps = emlnet._trunk(getattr(weights, name), image[None])
    for i, tap in enumerate(taps):
      expected = FROM_TORCH[f"{name}_{i}"]
      assert tap.shape[1:3] == (48 >> i, 64 >> i)
      assert _distance(tap[0, :16, :16, 0], expected) < 1e-3, (name, i)
  found = emlnet.emlnet_map(weights, image)
  assert found.shape == SIZE
  assert FROM_TORCH["map"].std() > 0.05
  assert _distance(found[::2, ::2], FROM_TORCH["map"]) < 1e-3


@pytest.mark.parametrize("channels", (1, 4))
def test_pictures_of_any_size(weights, channels, monkeypatch):
  monkeypatch.setattr(emlnet, "SIZE", SIZE)
  image = picture(40, 56)[..., :1].repeat(channels, -1)
  found = emlnet.emlnet_saliency(weights, image)
  assert found.shape == (40, 56)
  assert found.dtype == np.float32
  np.testing.assert_allclose((found.min(), found.max()), (0, 1), atol=1e-6)


def test_what_is_hidden_is_not_seen(monkeypatch):
  monkeypatch.setattr(emlnet, "SIZE", (8, 16))
  rng = np.random.default_rng(0)
  image = rng.random((8, 16, 4), np.float32)
  image[..., 3] = 1.0
  np.testing.assert_allclose(emlnet._fitted(image), image[..., :3], atol=1e-6)
  image[..., 3] = 0.0
  assert not emlnet._fitted(image).any()


@pytest.mark.parametrize("shape", ((8, 8), (8, 8, 5)))
def test_refuses_other_pictures(shape):
  with pytest.raises(ValueError, match="1 to 4 channels, got"):
    emlnet.emlnet_saliency(None, np.zeros(shape, np.float32))


def test_shapes_are_those_of_the_published_files():
  shapes = emlnet.variable_shapes()
  count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes.imagenet))
  assert count == sum(np.prod(shape) for shape in trunk_shapes().values())
