import sys
import types

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


def test_says_where_files_belong(tmp_path):
  with pytest.raises(
    FileNotFoundError, match=r"a.pth: no such file; .*\$JAXGS_WEIGHTS or ~/"
  ):
    convert_emlnet.read_state(tmp_path / "a.pth")


def test_says_what_to_install(monkeypatch, tmp_path):
  (tmp_path / "a.pth").write_bytes(b"")
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(ValueError, match=r"pip install 'jaxgs\[torch\]'"):
    convert_emlnet.read_state(tmp_path / "a.pth")


@pytest.mark.parametrize("nested", (True, False))
def test_reads_tensors_only(monkeypatch, tmp_path, nested):
  (tmp_path / "a.pth").write_bytes(b"")

  def load(path, *, map_location, weights_only):
    assert (map_location, weights_only) == ("cpu", True)
    state = {"a": np.ones(3)}
    return {"state_dict": state, "epoch": 3} if nested else state

  monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
  state = convert_emlnet.read_state(tmp_path / "a.pth")
  assert list(state) == ["a"]
  np.testing.assert_array_equal(state["a"], np.ones(3))


def test_damaged_files_get_one_line(monkeypatch, tmp_path):
  (tmp_path / "a.pth").write_bytes(b"")

  def load(path, **options):
    raise RuntimeError("bad magic\nand much more")

  monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
  with pytest.raises(ValueError, match=r"a.pth: not tensors .*: bad magic$"):
    convert_emlnet.read_state(tmp_path / "a.pth")


def test_main_reads_and_writes_in_the_folder(monkeypatch, states, tmp_path):
  monkeypatch.setenv("JAXGS_WEIGHTS", str(tmp_path))
  found = {f"res_{n}.pth": getattr(states, n) for n in Weights._fields}
  monkeypatch.setattr(convert_emlnet, "read_state", lambda p: found[p.name])
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


def test_reads_what_torch_writes(tmp_path):
  torch = pytest.importorskip("torch", reason="needs torch")
  path = tmp_path / "a.pth"
  torch.save({"state_dict": {"module.a": torch.ones(2, 3)}}, path)
  state = convert_emlnet.read_state(path)
  np.testing.assert_array_equal(state["module.a"], np.ones((2, 3)))
  path.write_bytes(path.read_bytes()[:-40])
  with pytest.raises(ValueError, match="not tensors"):
    convert_emlnet.read_state(path)
