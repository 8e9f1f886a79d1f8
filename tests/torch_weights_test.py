import subprocess
import sys
import types

import numpy as np
import pytest

from experiments import torch_weights
from jaxgs.metrics import load_lpips_weights
from tests.data import make_lpips


def _command(*argv):
  return subprocess.run(
    [sys.executable, "-m", "experiments.convert_lpips", *argv],
    capture_output=True,
    text=True,
    check=False,
  )


def test_names_and_axes():
  state, heads = make_lpips.weights("alex")
  # Other layers of the network, and the other name of the heads.
  state["classifier.1.weight"] = np.zeros((2, 2), np.float32)
  heads["lins.0.model.1.weight"] = np.zeros((1, 64, 1, 1), np.float32)
  arrays = torch_weights.rename(state, heads)
  assert len(arrays) == 15
  kernel = arrays["conv4/kernel"]
  assert kernel.shape == (3, 3, 256, 256)
  # (out, in, y, x) to (y, x, in, out).
  assert kernel[0, 2, 7, 9] == state["features.10.weight"][9, 7, 0, 2]
  np.testing.assert_array_equal(
    arrays["head3"], heads["lin3.model.1.weight"][0, :, 0, 0]
  )


def test_missing_torch_is_one_line(monkeypatch, tmp_path):
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(ValueError, match=r"pip install 'jaxgs\[convert\]'"):
    torch_weights.read_state_dict(tmp_path / "a.pth")


class _Tensor:
  def numpy(self):
    return np.ones(3)


@pytest.mark.parametrize("nested", (True, False))
def test_reads_tensors_only(monkeypatch, tmp_path, nested):
  def load(path, *, map_location, weights_only):
    assert (map_location, weights_only) == ("cpu", True)
    state = {"a": _Tensor()}
    return {"state_dict": state, "epoch": 3} if nested else state

  monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
  state = torch_weights.read_state_dict(tmp_path / "a.pth")
  assert list(state) == ["a"]
  np.testing.assert_array_equal(state["a"], np.ones(3))


def test_damaged_files_get_one_line(monkeypatch, tmp_path):
  def load(path, **options):
    raise RuntimeError("bad magic\nand much more")

  monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
  with pytest.raises(ValueError, match=r"a.pth is not .* torch: bad magic$"):
    torch_weights.read_state_dict(tmp_path / "a.pth")


def test_a_file(tmp_path):
  torch = pytest.importorskip("torch")
  paths = [tmp_path / "network.pth", tmp_path / "heads.pth"]
  parts = make_lpips.weights("alex")
  for path, part in zip(paths, parts, strict=True):
    torch.save({k: torch.from_numpy(v) for k, v in part.items()}, path)
  out = tmp_path / "lpips_alex.npz"
  done = _command(
    f"--alexnet={paths[0]}", f"--lpips={paths[1]}", f"--out={out}"
  )
  assert done.returncode == 0, done.stderr
  found = load_lpips_weights(path=out)
  expected = torch_weights.rename(*parts)["conv2/kernel"]
  np.testing.assert_array_equal(found.params["conv2"]["kernel"], expected)


def test_pickles_are_not_run(tmp_path):
  torch = pytest.importorskip("torch")
  path = tmp_path / "bad.pth"
  torch.save({"features.0.weight": _Harmful(tmp_path / "made")}, path)
  with pytest.raises(ValueError, match="is not a state dict of torch"):
    torch_weights.read_state_dict(path)
  assert not (tmp_path / "made").exists()


class _Harmful:
  def __init__(self, path):
    self._path = path

  def __reduce__(self):
    return type(self._path).touch, (self._path,)


def test_a_mistake_is_one_line(tmp_path):
  done = _command("--lpips=a.pth", f"--out={tmp_path / 'a.npz'}")
  assert done.returncode == 1
  lines = [line for line in done.stderr.splitlines() if line[0] == "E"]
  assert "one of --alexnet and --vgg16 must be given" in lines[0]
  assert "Traceback" not in done.stderr
