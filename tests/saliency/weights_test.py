import pathlib

import jax
import numpy as np
import pytest

pytest.importorskip("flax", reason="EML-Net needs flax")

from jaxgs.io import ImageError
from jaxgs.saliency import weights as weights_module
from jaxgs.saliency.emlnet import Weights, variable_shapes
from jaxgs.saliency.weights import (
  from_torch,
  load_weights,
  save_weights,
  weights_folder,
)
from tests.saliency.emlnet_states import (
  decoder_shapes,
  random_state,
  trunk_shapes,
)


@pytest.fixture(scope="module")
def shapes():
  return variable_shapes()


@pytest.fixture(scope="module")
def decoder(shapes):
  state = random_state("decoder", decoder_shapes())
  return from_torch(state, shapes.decoder)


def test_names_and_axes(shapes):
  state = {name: np.zeros(s) for name, s in trunk_shapes().items()}
  kernel = np.random.default_rng(0).random((128, 256, 1, 1))
  state["layer2.0.conv1.weight"] = kernel
  state["layer2.0.downsample.1.running_var"] += 3
  state["output4.0.bias"] += 5
  state["output4.1.bias"] += 6
  state["output4.1.weight"] += 7
  found = from_torch(state, shapes.imagenet)
  assert jax.tree.all(
    jax.tree.map(
      lambda a, b: a.shape == b.shape and a.dtype == np.float32,
      found,
      shapes.imagenet,
    )
  )
  params, stats = found["params"], found["batch_stats"]
  np.testing.assert_allclose(
    params["layer2_0"]["conv1"]["kernel"][0, 0], kernel[:, :, 0, 0].T
  )
  assert (stats["layer2_0"]["downsample_1"]["var"] == 3).all()
  assert (stats["layer2_0"]["downsample_1"]["mean"] == 0).all()
  assert params["output4_0"]["bias"] == 5
  assert params["output4_1"]["bias"] == 6
  assert params["output4_1"]["scale"] == 7


def test_prefixes_and_what_is_not_used(shapes, decoder):
  state = random_state("decoder", decoder_shapes())
  state |= {
    "fc.weight": np.zeros((3, 3)),
    "bn.num_batches_tracked": np.int64(4),
  }
  state = {f"module.{name}": value for name, value in state.items()}
  found = from_torch(state, shapes.decoder)
  assert jax.tree.all(jax.tree.map(np.array_equal, found, decoder))


def test_refuses_another_network(shapes):
  state = random_state("decoder", decoder_shapes())
  # Both trunks have one: a file in the place of another is told.
  with pytest.raises(ValueError, match=r"^bn1.running_mean is missing$"):
    from_torch(state, shapes.imagenet)
  state["combined.0.weight"] = np.zeros((1, 5, 3, 3))
  with pytest.raises(
    ValueError,
    match=r"combined.0.weight must give the shape \(3, 3, 10, 1\), got \(3, 3,"
    r" 5, 1\)",
  ):
    from_torch(state, shapes.decoder)


def test_folder(monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.setenv("JAXGS_WEIGHTS", "/some/where")
  assert weights_folder() == pathlib.Path("/some/where")
  for value in ("", None):
    if value is None:
      monkeypatch.delenv("JAXGS_WEIGHTS")
    else:
      monkeypatch.setenv("JAXGS_WEIGHTS", value)
    assert weights_folder() == tmp_path / ".cache" / "jaxgs" / "weights"


@pytest.fixture
def small(monkeypatch, shapes):
  """A network of decoders alone: files of some kilobytes."""
  few = Weights(shapes.decoder, shapes.decoder, shapes.decoder)
  monkeypatch.setattr(weights_module, "variable_shapes", lambda: few)


def test_save_and_load(small, decoder, monkeypatch, tmp_path):
  other = jax.tree.map(lambda leaf: leaf + 1, decoder)
  weights = Weights(decoder, other, decoder)
  save_weights(tmp_path / "emlnet.npz", weights)
  monkeypatch.setenv("JAXGS_WEIGHTS", str(tmp_path))
  for found in (load_weights(), load_weights(tmp_path / "emlnet.npz")):
    assert jax.tree.all(jax.tree.map(np.array_equal, found, weights))


def test_load_says_what_is_wrong(small, decoder, monkeypatch, tmp_path):
  monkeypatch.setenv("JAXGS_WEIGHTS", str(tmp_path))
  with pytest.raises(
    FileNotFoundError,
    match=r"emlnet.npz: no such file; .* \$JAXGS_WEIGHTS or ~/.cache/jaxgs",
  ):
    load_weights()
  path = tmp_path / "emlnet.npz"
  save_weights(path, Weights(decoder, {}, decoder))
  with pytest.raises(ImageError, match=r"places/\S+ must be \(.*none"):
    load_weights()
  whole = path.read_bytes()
  damaged = bytearray(whole)
  damaged[len(damaged) // 2] ^= 1
  for data in (whole[:-100], b"", b"no archive", bytes(damaged)):
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"emlnet.npz: not a whole .npz file"):
      load_weights()
  np.savez(path, a=np.array([{}], dtype=object))
  with pytest.raises(ImageError, match=r"not a whole .npz file"):
    load_weights()
