import jax
import numpy as np
import pytest

pytest.importorskip("flax", reason="EML-Net needs flax")

from absl import flags

from experiments import convert_emlnet
from jaxgs.saliency.emlnet import Weights, variable_shapes
from jaxgs.saliency.weights import load_weights
from tests.saliency.emlnet_states import (
  decoder_shapes,
  random_state,
  trunk_shapes,
)


def _zeros(shapes):
  # Of one number: the real ones are 190 MB.
  return {name: np.broadcast_to(np.float32(0), s) for name, s in shapes.items()}


@pytest.fixture
def states():
  trunk = {f"module.{name}": v for name, v in _zeros(trunk_shapes()).items()}
  return Weights(trunk, trunk, random_state("decoder", decoder_shapes()))


def test_convert(states):
  found = convert_emlnet.convert(states)
  same = jax.tree.map(lambda a, b: a.shape == b.shape, found, variable_shapes())
  assert jax.tree.all(same)
  np.testing.assert_array_equal(
    found.decoder["params"]["combined_1"]["bias"],
    states.decoder["combined.1.bias"],
  )


def test_says_which_file_is_wrong(states):
  with pytest.raises(ValueError, match=r"^--places: bn1\S* is missing$"):
    convert_emlnet.convert(states._replace(places=states.decoder))


def test_says_where_files_belong(monkeypatch, tmp_path):
  monkeypatch.setenv("JAXGS_WEIGHTS", str(tmp_path))
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["test"])
  with pytest.raises(
    FileNotFoundError,
    match=r"res_imagenet.pth: no such file; .*\$JAXGS_WEIGHTS or ~/",
  ):
    convert_emlnet.main()


def test_main_reads_and_writes_in_the_folder(monkeypatch, states, tmp_path):
  monkeypatch.setenv("JAXGS_WEIGHTS", str(tmp_path))
  found = {f"res_{n}.pth": getattr(states, n) for n in Weights._fields}
  for name in found:
    (tmp_path / name).write_bytes(b"")
  monkeypatch.setattr(
    convert_emlnet, "read_state_dict", lambda p: found[p.name]
  )
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["test"])
  convert_emlnet.main()
  weights = load_weights()
  assert weights.decoder["params"]["img_model_3_0"]["kernel"].shape == (
    3,
    3,
    1,
    1,
  )
