"""Bands of rows: how a picture is worked on that is too large for one go.

The colour of a pixel depends on the splats alone, and the support of a splat on
nothing but the splat. So what is summed over bands is the sum over the picture:
there are no seams to hide.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

# Up to 5792 x 5792 px all at once. (A step on two busy cores: 4096 x 4096 px,
# N = 100 000, 2.6 s at once and 2.8 s in bands of 512 rows; 8192 x 8192 px,
# N = 200 000, 23 s and 7 s.)
_WHOLE_PX = 1 << 25
# Beyond, bands of at most about this size.
_BAND_PX = 1 << 23


def rows_of_band(size: tuple[int, int], band_rows: int = 0) -> int:
  """Rows that are worked on at a time.

  Args:
    size: (height, width), px.
    band_rows: So many; by the size when 0.

  Returns:
    1 to the height.
  """
  height, width = size
  if band_rows:
    return min(band_rows, height)
  if height * width <= _WHOLE_PX:
    return height
  # Bands of one height, of whole tiles.
  count = -(-height * width // _BAND_PX)
  return min(-(-height // (32 * count)) * 32, height)


class Band(NamedTuple):
  """Some rows of a picture.

  Attributes:
    index: () int32, from the top.
    top: () int32, the first row.
    fresh: (rows,) bool, those that no band before has had; None: all.
  """

  index: jax.Array | int
  top: jax.Array | int
  fresh: jax.Array | None


def over_bands(body: Callable, carry, height: int, rows: int):
  """Goes through a picture from top to bottom; one band exists at a time.

  The bands have one height: the last may begin above the end of the one before.

  Args:
    body: (carry, Band) to the next carry.
    carry: The first one.
    height: Of the picture, px.
    rows: Of a band.

  Returns:
    The last carry.
  """
  if rows >= height:
    return body(carry, Band(0, 0, None))

  def step(carry, index):
    first = index * rows
    top = jnp.minimum(first, height - rows)
    fresh = None
    if height % rows:
      fresh = top + jnp.arange(rows, dtype=jnp.int32) >= first
    return body(carry, Band(index, top, fresh)), None

  count = -(-height // rows)
  return jax.lax.scan(step, carry, jnp.arange(count, dtype=jnp.int32))[0]


def rows_at(array: jax.Array, top: jax.Array | int, rows: int) -> jax.Array:
  """Rows of (H, ...) from `top` on, all of which it has."""
  if rows == array.shape[0]:
    return array
  return jax.lax.dynamic_slice_in_dim(array, top, rows)


def put_rows(array: jax.Array, rows: jax.Array, top: jax.Array | int):
  """(H, ...) with some rows of it, from `top` on, replaced."""
  if rows.shape[0] == array.shape[0]:
    return rows
  return jax.lax.dynamic_update_slice_in_dim(array, rows, top, axis=0)
