import jax.numpy as jnp
import numpy as np
import pytest

from jaxgs.bands import over_bands, put_rows, rows_at, rows_of_band


@pytest.mark.parametrize(
  ("size", "rows"),
  (
    ((4096, 8192), 4096),
    ((8192, 8192), 1024),
    ((16384, 16384), 512),
    ((65536, 4096), 2048),
    ((4096, 65536), 128),
  ),
)
def test_rows_by_the_size(size, rows):
  assert rows_of_band(size) == rows


def test_rows_that_are_asked_for():
  assert rows_of_band((40, 30), 7) == 7
  assert rows_of_band((40, 30), 70) == 40


@pytest.mark.parametrize("rows", (1, 5, 6, 17, 40))
def test_every_row_is_fresh_once(rows):
  array = jnp.arange(17.0)[:, None] * jnp.ones((1, 3))

  def body(carry, band):
    count, copy = carry
    part = rows_at(array, band.top, min(rows, 17))
    fresh = jnp.ones(len(part))
    if band.fresh is not None:
      fresh = band.fresh.astype(jnp.float32)
    index = band.top + jnp.arange(len(part))
    return count.at[index].add(fresh), put_rows(copy, part + 1, band.top)

  start = jnp.zeros(17), jnp.zeros((17, 3))
  count, copy = over_bands(body, start, 17, rows)
  np.testing.assert_array_equal(count, 1)
  np.testing.assert_array_equal(copy, array + 1)
