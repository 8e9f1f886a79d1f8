import jax
import numpy as np
import pytest

from jaxgs.dequantize import from_symbols, host_lattice
from jaxgs.placement import place
from jaxgs.project import project
from jaxgs.quantize import device_lattice
from tests.codec.conftest import make_splats


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_numpy_and_jax_compute_alike(scale):
  header, symbols = make_splats(500, channels=4)
  host = from_symbols(symbols, host_lattice(header.lattice), transform="ycocg")
  device = from_symbols(
    jax.tree.map(jax.numpy.asarray, symbols),
    device_lattice(header.lattice),
    transform="ycocg",
  )
  before = jax.tree.map(np.copy, host)
  active = np.arange(500) % 3 > 0
  options = {"active": active, "scale": scale, "offset": (3, 0.5)}
  on_host, on_device = place(host, **options), project(device, **options)
  for got, want in ((host, device), (on_host, on_device)):
    for name, a, b in zip(got._fields, got, want, strict=True):
      assert isinstance(a, np.ndarray), name
      assert isinstance(b, jax.Array), name
      assert a.dtype == b.dtype == np.float32, name
      np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6, err_msg=name)
  jax.tree.map(np.testing.assert_array_equal, host, before)
  # What callers pass as numpy arrays comes back as arrays of jax.
  assert isinstance(project(host).mean, jax.Array)
