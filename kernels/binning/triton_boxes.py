"""The tiles that a splat may touch, for Triton kernels.

Only imported once a kernel is needed: this needs the package triton.
"""

import triton
import triton.language as tl


@triton.jit
def _span(mean, half, PIXELS: tl.constexpr, TILE: tl.constexpr):
  """First tile and number of tiles along one axis."""
  low = tl.ceil(mean - half - 0.5)
  high = tl.floor(mean + half - 0.5)
  # NaN compares false: a broken splat is not drawn, and indexes nothing.
  seen = (high >= 0.0) & (low <= PIXELS - 1.0) & (low <= high)
  low = tl.where(seen, tl.maximum(low, 0.0), 0.0)
  high = tl.where(seen, tl.minimum(high, PIXELS - 1.0), 0.0)
  first = low.to(tl.int32) // TILE
  count = high.to(tl.int32) // TILE - first + 1
  return first, tl.where(seen, count, 0)


@triton.jit
def load_splat(mean, conic, log_weight, n, mask):
  """Splat n: its conic (a, b, c), centre (x, y) and log-weight.

  One that is not drawn where the mask is false.
  """
  return (
    tl.load(conic + 3 * n, mask=mask, other=1.0),
    tl.load(conic + 3 * n + 1, mask=mask, other=0.0),
    tl.load(conic + 3 * n + 2, mask=mask, other=1.0),
    tl.load(mean + 2 * n, mask=mask, other=0.0),
    tl.load(mean + 2 * n + 1, mask=mask, other=0.0),
    tl.load(log_weight + n, mask=mask, other=float("-inf")),
  )


@triton.jit
def tile_box(
  splat,
  CUTOFF: tl.constexpr,
  H: tl.constexpr,
  W: tl.constexpr,
  TILE: tl.constexpr,
):
  """Tiles under the bounding box of the ellipse of a splat.

  Arrays and constants:
    splat: From `load_splat`.

  Returns:
    First column, first row, number of columns, number of rows; no tile, a
    product of 0, where the splat is not drawn.
  """
  a, b, c, mx, my, lw = splat
  reach = 2.0 * (CUTOFF + lw)
  # As in jaxgs.math.half_extent: for a needle the determinant cancels.
  det = tl.maximum(a * c - b * b, 1e-7 * a * c)
  radius2 = tl.maximum(reach, 0.0) / det
  # A little more than the box, so that a list made elsewhere, with other
  # rounding, holds no pair outside of it.
  half_x = tl.sqrt(c * radius2) * 1.001 + 0.01
  half_y = tl.sqrt(a * radius2) * 1.001 + 0.01
  fx, nx = _span(mx, half_x, W, TILE)
  fy, ny = _span(my, half_y, H, TILE)
  drawn = reach > 0.0
  return fx, fy, tl.where(drawn, nx, 0), tl.where(drawn, ny, 0)


@triton.jit
def reaches(splat, tile_x, tile_y, CUTOFF: tl.constexpr, TILE: tl.constexpr):
  """Whether the ellipse of a splat reaches a pixel centre's box of a tile.

  The exponent is convex: its minimum over the box of pixel centres is at the
  splat's centre if that is inside, else on the edge that faces it, in x or in
  y.

  Arrays and constants:
    splat: From `load_splat`.
  """
  a, b, c, mx, my, lw = splat
  low_x = (tile_x * TILE).to(tl.float32) + 0.5
  low_y = (tile_y * TILE).to(tl.float32) + 0.5
  low_x -= mx
  low_y -= my
  high_x = low_x + (TILE - 1.0)
  high_y = low_y + (TILE - 1.0)
  near_x = tl.minimum(tl.maximum(0.0, low_x), high_x)
  near_y = tl.minimum(tl.maximum(0.0, low_y), high_y)
  on_x = tl.minimum(tl.maximum(-b * near_x / c, low_y), high_y)
  on_y = tl.minimum(tl.maximum(-b * near_y / a, low_x), high_x)
  by_x = 0.5 * (a * near_x * near_x + c * on_x * on_x) + b * near_x * on_x
  by_y = 0.5 * (a * on_y * on_y + c * near_y * near_y) + b * on_y * near_y
  least = tl.maximum(tl.minimum(by_x, by_y), 0.0)
  limit = CUTOFF + lw
  # Rounding must not lose a pair that the rasteriser would draw.
  return least * (1.0 - 1e-4) - 1e-4 <= limit
