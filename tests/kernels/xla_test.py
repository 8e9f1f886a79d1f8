import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxgs.kernels.rasterize.xla import _largest

from jaxgs.config import RasterSpec
from jaxgs.rasterize import render
from tests.kernels.rasterize_test_base import RasterizeTestBase
from tests.kernels.scenes import random_gaussians


class TestXla(RasterizeTestBase):
  backend = "xla"


def test_largest_takes_equal_values_in_order_of_place():
  weight = jnp.array([0.5, 0.0, 0.7, 0.5, 0.7, 0.1])[None, :, None]
  place = jnp.array([3, 4, 5, 6, 8, 9], jnp.int32)[None, :, None]
  weights, places = _largest(weight, place, 4)
  np.testing.assert_array_equal(
    weights[0, :, 0], np.float32([0.7, 0.7, 0.5, 0.5])
  )
  np.testing.assert_array_equal(places[0, :, 0], [5, 8, 3, 6])


def test_largest_of_too_few():
  weight = jnp.zeros((1, 3, 2)).at[0, 1].set(2.0)
  place = jnp.broadcast_to(
    jnp.arange(3, dtype=jnp.int32)[None, :, None], weight.shape
  )
  weights, _ = _largest(weight, place, 5)
  np.testing.assert_array_equal(weights[0, :, 0], [2, 0, 0, 0, 0])


@pytest.mark.parametrize("backend", ["reference", "xla"])
@pytest.mark.parametrize("blend", ["norm", "sum"])
def test_products_are_exact_on_accelerators(backend, blend):
  # By default GPUs and TPUs cut what they multiply.
  spec = RasterSpec(backend=backend, blend=blend, max_pairs=1024)

  def loss(gaussians):
    return jnp.sum(render(gaussians, height=20, width=20, spec=spec).image)

  gaussians = jax.tree.map(jnp.asarray, random_gaussians(n=30))
  jaxpr = str(jax.make_jaxpr(jax.grad(loss))(gaussians))
  products = jaxpr.count("dot_general[")
  assert products > 0
  exact = "precision=(Precision.HIGHEST, Precision.HIGHEST)"
  assert jaxpr.count(exact) == products
