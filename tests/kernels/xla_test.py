import jax.numpy as jnp
import numpy as np
from jaxgs.kernels.rasterize.xla import _largest

from tests.kernels.rasterize_test_base import RasterizeTestBase


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
