import builtins
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.torch_weights import rename
from jaxgs.metrics import LpipsWeights, load_lpips_weights, lpips
from jaxgs.metrics.lpips import lpips_weights_of
from tests.data import make_lpips

FIXTURE = pathlib.Path(__file__).parents[1] / "data" / "lpips.npz"


@pytest.fixture(scope="module")
def arrays():
  """Those of a file."""
  return rename(*make_lpips.weights("alex"))


@pytest.fixture(scope="module")
def weights(arrays):
  return lpips_weights_of(arrays, network="alex")


def _pictures():
  return tuple(jnp.asarray(v) for v in make_lpips.pictures())


@pytest.mark.parametrize("network", make_lpips.NETWORKS)
def test_agrees_with_the_authors(network):
  arrays = rename(*make_lpips.weights(network))
  weights = lpips_weights_of(arrays, network=network)
  with np.load(FIXTURE) as archive:
    expected = archive[network]
  assert np.ptp(expected) > 0.1
  found = lpips(*_pictures(), weights=weights)
  np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_identical_pictures_give_zero(weights):
  a = _pictures()[0][0, :31, :31]
  assert lpips(a, a, weights=weights) == 0


def test_batch_is_a_loop(weights):
  a, b = (v[:, :31, :31] for v in _pictures())  # The least side.
  expected = np.array(
    [lpips(*v, weights=weights) for v in zip(a, b, strict=True)]
  )
  assert expected.shape == (3,)

  def metric(a, b):
    return lpips(a, b, weights=weights)

  found = metric(a[None], b[None])
  np.testing.assert_allclose(found, expected[None], rtol=1e-4)
  found = jax.jit(jax.vmap(metric))(a, b)
  np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_channels(weights):
  a, b = (v[0, :31, :31] for v in _pictures())
  grey = [v[..., :1] for v in (a, b)]
  tripled = [jnp.repeat(v, 3, -1) for v in grey]
  found = lpips(*grey, weights=weights)
  np.testing.assert_allclose(found, lpips(*tripled, weights=weights), rtol=1e-6)
  clear = [jnp.concatenate([v, 0 * v[..., :1]], -1) for v in (a, b)]
  assert lpips(*clear, weights=weights) == 0 < found


def test_gradient(arrays, weights):
  a, b = (v[2, :31, :31] for v in _pictures())
  metric = jax.jit(jax.value_and_grad(lpips))
  value, gradient = metric(a, b, weights=weights)
  step = 0.02 * gradient / jnp.abs(gradient).max()
  assert metric(a - step, b, weights=weights)[0] < value
  # Features of length 0 have a direction too, and it does not change.
  dead = {k: v - 100 * k.endswith("bias") for k, v in arrays.items()}
  value, gradient = metric(a, b, weights=lpips_weights_of(dead, network="alex"))
  assert value == 0
  np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_sizes_are_checked(weights):
  a = jnp.zeros((30, 40, 3))
  with pytest.raises(ValueError, match="from 31x31 pixels, got 40x30"):
    lpips(a, a, weights=weights)
  with pytest.raises(ValueError, match="1 to 4 channels, got 5"):
    lpips(jnp.zeros((40, 40, 5)), jnp.zeros((40, 40, 5)), weights=weights)
  with pytest.raises(ValueError, match="a and b must have one shape"):
    lpips(a, a[:1], weights=weights)


# Files.


def test_loads_a_file(arrays, weights, tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  monkeypatch.setenv("JAXGS_WEIGHTS", str(tmp_path / "named"))
  with pytest.raises(FileNotFoundError) as error:
    load_lpips_weights()
  for words in (
    *("lpips_alex.npz", "$JAXGS_WEIGHTS", "~/.cache/jaxgs/weights"),
    *(str(tmp_path / "named"), "experiments.convert_lpips"),
  ):
    assert words in str(error.value)
  # Without that variable, the folder at home.
  monkeypatch.delenv("JAXGS_WEIGHTS")
  home = tmp_path / "home/.cache/jaxgs/weights"
  home.mkdir(parents=True)
  np.savez(home / "lpips_alex.npz", **arrays)
  with pytest.raises(FileNotFoundError, match=r"lpips_vgg\.npz"):
    load_lpips_weights(network="vgg")
  found = load_lpips_weights()
  assert isinstance(found, LpipsWeights)
  assert found.network == "alex"
  same = jax.tree.map(np.array_equal, found.params, weights.params)
  assert jax.tree.all(same)
  # The folder that is named comes instead.
  monkeypatch.setenv("JAXGS_WEIGHTS", str(tmp_path / "named"))
  (tmp_path / "named").mkdir()
  (tmp_path / "named/lpips_alex.npz").write_bytes(b"broken")
  with pytest.raises(ValueError, match=r"named/lpips_alex\.npz: damaged"):
    load_lpips_weights()
  (home / "lpips_alex.npz").rename(tmp_path / "other.npz")
  load_lpips_weights(path=tmp_path / "other.npz")


def test_bad_files(arrays, tmp_path):
  path = tmp_path / "a.npz"
  with pytest.raises(FileNotFoundError, match=r"a\.npz: no such file"):
    load_lpips_weights(path=path)
  for content in (b"", b"PK\x03\x04 and so on", b"\x93NUMPY"):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: damaged"):
      load_lpips_weights(path=path)
  np.save(path.with_suffix(".npy"), np.zeros(3))
  path.with_suffix(".npy").rename(path)
  with pytest.raises(ValueError, match=r"a\.npz: damaged"):
    load_lpips_weights(path=path)
  # An object would need a pickle.
  np.savez(path, head0=np.array([{}], object))
  with pytest.raises(ValueError, match=r"a\.npz: damaged"):
    load_lpips_weights(path=path)


def test_arrays_are_checked(arrays):
  cases = {
    "head5": np.zeros(3, np.float32),
    "head4": np.zeros(3, np.float32),
    "conv0/bias": np.zeros(64, np.int32),
  }
  for name, array in cases.items():
    with pytest.raises(ValueError, match=f"not the weights of alex: {name}"):
      lpips_weights_of({**arrays, name: array}, network="alex")
  less = {k: v for k, v in arrays.items() if k != "conv3/kernel"}
  with pytest.raises(ValueError, match="not the weights of alex: conv3/kernel"):
    lpips_weights_of(less, network="alex")
  with pytest.raises(ValueError, match="not the weights of vgg"):
    lpips_weights_of(arrays, network="vgg")
  nan = np.full(64, np.nan, np.float32)
  with pytest.raises(ValueError, match="conv0/bias is not finite"):
    lpips_weights_of({**arrays, "conv0/bias": nan}, network="alex")
  with pytest.raises(ValueError, match="one of alex, vgg, got 'squeeze'"):
    load_lpips_weights(network="squeeze")


def test_missing_flax_is_one_line(arrays, monkeypatch):
  monkeypatch.delitem(sys.modules, "jaxgs.metrics.lpips_network", False)
  monkeypatch.delattr(sys.modules["jaxgs.metrics"], "lpips_network", False)
  original = builtins.__import__

  def no_flax(name, *args, **options):
    if name.split(".")[0] == "flax":
      raise ModuleNotFoundError("No module named 'flax'", name="flax")
    return original(name, *args, **options)

  monkeypatch.setattr(builtins, "__import__", no_flax)
  with pytest.raises(ImportError, match=r"pip install 'jaxgs\[networks\]'"):
    lpips_weights_of(arrays, network="alex")
