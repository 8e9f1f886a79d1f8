"""The arrays that travel between modules, and the letters for their axes.

Letters: B batch, N Gaussians, H W C image, T tiles, P tile-splat pairs,
K splats blended per pixel, S symbols.

Images are float32 in [0, 1], (H, W, C). Coordinates are pixels, x to the
right, y down; the centre of pixel (row i, column j) is (j + 0.5, i + 0.5).

The decoder fills the same types with numpy arrays and runs without jax.
"""

from __future__ import annotations

import typing
from typing import NamedTuple

if typing.TYPE_CHECKING:
  import jax


class Gaussians2D(NamedTuple):
  """N coloured 2D Gaussians: what is optimised and stored.

  Attributes:
    mean: (N, 2) float32, centre (x, y) in pixels of the fitted image.
    log_scale: (N, 2) float32, log of the standard deviations in pixels along
      the splat's own axes.
    angle: (N,) float32, radians from the x axis to the first axis, turning
      towards +y.
    log_weight: (N,) float32, log of the amplitude at the centre.
    feature: (N, C) float32, colour; any range.
  """

  mean: jax.Array
  log_scale: jax.Array
  angle: jax.Array
  log_weight: jax.Array
  feature: jax.Array


class Splats(NamedTuple):
  """N ellipses on the screen, where every dimension of Gaussian meets.

  The weight at offset d from the centre is exp(log_weight - e) with
  e = (a dx^2 + c dy^2) / 2 + b dx dy, within the support that RasterSpec gives.

  Attributes:
    mean: (N, 2) float32, centre (x, y) in pixels.
    conic: (N, 3) float32, (a, b, c) of the inverse covariance, 1 / px^2.
    log_weight: (N,) float32; -inf switches a splat off.
    feature: (N, C) float32.
  """

  mean: jax.Array
  conic: jax.Array
  log_weight: jax.Array
  feature: jax.Array


class TileBins(NamedTuple):
  """Which splats touch which tile; tiles count row by row.

  Attributes:
    ids: (P,) int32 splat ids, tile after tile, ascending within a tile.
    starts: (T + 1,) int32; tile t owns ids[starts[t]:starts[t + 1]].
    dropped: () int32, candidate pairs that found no room in the list. Any
      value but 0 means a wrong picture: bin again with more room.
  """

  ids: jax.Array
  starts: jax.Array
  dropped: jax.Array


class RenderOutput(NamedTuple):
  """A picture and what could not be drawn.

  Attributes:
    image: (H, W, C) float32, not clipped.
    dropped: () int32, see TileBins.
  """

  image: jax.Array
  dropped: jax.Array
