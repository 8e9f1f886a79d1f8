"""Rasteriser in Triton, for NVIDIA GPUs of compute capability 8.0 and more.

The forward pass finds the K-th largest weight of each pixel and blends what
is not smaller. The backward pass gives each tile to a warp, which compares it
with 16 splats at a time in products of matrices; it writes one row per
tile-splat pair, and a last kernel adds up the rows of each splat. Nothing is
added atomically: the same input gives the same bits, as long as no pair is
dropped.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxgs.kernels import triton_call, triton_tuning
from jaxgs.kernels.tiles import num_tiles

from jaxgs.config import RasterSpec
from jaxgs.types import Splats, TileBins

_LOG2_E = math.log2(math.e)

# Up to here the K + 1 largest weights stay sorted in registers; beyond, they
# are searched in passes over the list.
_MOST_SORTED = 16


class Residuals(NamedTuple):
  """What the backward pass needs, by tile, Q px per tile.

  Attributes:
    table: (N + 1, R), the splats, see `triton_kernels`.
    boxes: (N, 4) int32, where each splat's gradients go, see `triton_table`.
    cursor: (4,) int32, see there, as is
    order: (2, T) int32, of the tiles.
    image: (H, W, C), what was drawn.
    threshold: (T, Q), what is larger was blended.
    place: (T, Q) int32, of what is equal that up to this place in the list;
      only to be read where
    ties: (T,) int32, is not 0 for the tile.
    inverse: (T, Q), 1 / (sum of the blended weights + epsilon).
    drawn: (P,) int32, of each tile's list what was blended at some pixel, if
      that was looked for, and
    num_drawn: (T,) int32, how many.
  """

  table: jax.Array
  boxes: jax.Array
  cursor: jax.Array
  order: jax.Array
  image: jax.Array
  threshold: jax.Array
  place: jax.Array
  ties: jax.Array
  inverse: jax.Array
  drawn: jax.Array
  num_drawn: jax.Array


def check(spec: RasterSpec, platform: str) -> None:
  """Raises NotImplementedError with the reason if this cannot serve.

  Args:
    spec: What is to be drawn.
    platform: "cpu", "gpu" or "tpu".
  """
  reason = triton_call.refusal(platform)
  if reason is None and spec.tile == 4:
    reason = "tiles of 4x4 px are smaller than a warp"
  if reason is not None:
    raise NotImplementedError(f"backend triton: {reason}")


def _constants(spec: RasterSpec, size, splats, ids, starts) -> dict:
  """The constexprs that forward and backward share."""
  norm = spec.blend == "norm"
  return dict(
    N=splats.mean.shape[1],
    P=ids.shape[1],
    T=starts.shape[1] - 1,
    COLS=num_tiles(*size, spec.tile)[1],
    H=size[0],
    W=size[1],
    C=splats.feature.shape[2],
    R=_row_size(splats.feature.shape[2]),
    TILE=spec.tile,
    K=spec.top_k if norm else 0,
    NORM=norm,
    LIMIT=-spec.cutoff * _LOG2_E,
    EDGE=math.exp(-spec.cutoff) if spec.edge == "smooth" else 0.0,
  )


def _finds(spec: RasterSpec) -> bool:
  """Whether the forward kernel writes down what is drawn in a tile.

  Where only the largest weights count, up to a third of what is listed is not.
  """
  return spec.tile == 8 and spec.blend == "norm"


def _num_long(tiles: int) -> int:
  """Programs for tiles with long lists: those are one in fifteen or so."""
  return min(math.ceil(tiles / 8), 1024)


def _sort_size(top_k: int) -> int:
  """Places of the network that sorts K + 1 weights; 0: too many to sort."""
  return 1 << top_k.bit_length() if top_k <= _MOST_SORTED else 0


def _row_size(channels: int) -> int:
  """Floats per splat in its row of the table: whole 16 bytes."""
  return -(-(6 + channels) // 4) * 4


def _float(*shape: int) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def _int(*shape: int) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, jnp.int32)


@functools.cache
def _forward(spec: RasterSpec, size: tuple[int, int], keep: bool):
  """`forward` over arrays with a leading axis B."""

  def function(mean, conic, log_weight, feature, ids, starts):
    from jaxgs.kernels.rasterize.triton_forward import forward_kernel
    from jaxgs.kernels.rasterize.triton_table import table_kernel

    splats = Splats(mean, conic, log_weight, feature)
    constants = _constants(spec, size, splats, ids, starts)
    batch, tiles, pixels = mean.shape[0], constants["T"], spec.tile**2
    num_gaussians = constants["N"]
    kept = (tiles, pixels) if keep else (1, 1)
    finds = keep and _finds(spec)
    shared = {
      k: constants[k] for k in ("N", "T", "COLS", "C", "R", "H", "W", "TILE")
    }
    cursor, boxes, table, order = triton_call.call(
      table_kernel,
      *splats,
      starts,
      out=(
        _int(batch, 4),
        _int(batch, num_gaussians if keep else 1, 4),
        _float(batch, num_gaussians + 1, constants["R"]),
        _int(batch, 2, tiles),
      ),
      zeroed=1,
      grid=(math.ceil(max(num_gaussians + 1, tiles) / 32), batch),
      num_warps=1,
      CUTOFF=spec.cutoff,
      KEEP=keep,
      S=32,
      **shared,
    )
    drawn = triton_call.call(
      forward_kernel,
      table,
      ids,
      starts,
      cursor,
      order,
      out=(
        _float(batch, *size, constants["C"]),
        _float(batch, *kept),
        _int(batch, *kept),
        _int(batch, tiles),
        _float(batch, *kept),
        _int(batch, constants["P"] if finds else 1),
        _int(batch, tiles),
      ),
      grid=(tiles, batch),
      num_warps=pixels // 64,
      SORT_SIZE=_sort_size(constants["K"]),
      EPSILON=spec.epsilon,
      MOST=65535 if triton_call.capability() >= 90 else 31743,
      KEEP=keep,
      FIND=finds,
      **constants,
    )
    return table, boxes, cursor, order, *drawn

  return triton_call.fold_batches(function)


@functools.cache
def _backward(spec: RasterSpec, size: tuple[int, int]):
  """`backward` over arrays with a leading axis B."""

  def function(mean, conic, log_weight, feature, ids, starts, *saved):
    from jaxgs.kernels.rasterize.triton_backward import backward_kernel
    from jaxgs.kernels.rasterize.triton_gather import gather_kernel

    splats = Splats(mean, conic, log_weight, feature)
    table, boxes, cursor, order, *saved, drawn, num_drawn, cotangent = saved
    if _finds(spec):
      ids = drawn
    constants = _constants(spec, size, splats, ids, starts)
    num_gaussians, channels = constants["N"], constants["C"]
    batch, tiles, most = mean.shape[0], constants["T"], constants["P"]
    long = _num_long(tiles)
    written, pairs = triton_call.call(
      backward_kernel,
      table,
      ids,
      starts,
      cursor,
      order,
      *saved,
      num_drawn,
      jnp.moveaxis(cotangent, -1, 1),
      boxes,
      out=(
        jax.ShapeDtypeStruct((batch, most), jnp.int8),
        _float(batch, most, 6 + channels),
      ),
      zeroed=1,
      grid=(long + tiles, batch),
      num_warps=1,
      LONG=long,
      FOUND=_finds(spec),
      **constants,
    )
    names = ("N", "P", "COLS", "C", "TILE")
    shared = {k: constants[k] for k in names}
    return triton_call.call(
      gather_kernel,
      *splats[:2],
      boxes,
      written,
      pairs,
      out=(
        _float(batch, num_gaussians, 2),
        _float(batch, num_gaussians, 3),
        _float(batch, num_gaussians),
        _float(batch, num_gaussians, channels),
      ),
      grid=(num_gaussians, batch),
      num_warps=1,
      J=triton_tuning.blocks().gathered,
      **shared,
    )

  return triton_call.fold_batches(function)


def _with_batch(arrays):
  return [jnp.asarray(x)[None] for x in arrays]


def forward(
  spec: RasterSpec,
  size: tuple[int, int],
  splats: Splats,
  bins: TileBins,
  *,
  keep: bool = True,
):
  """See `jaxgs.kernels`.

  Returns:
    (H, W, C) float32 image, Residuals; None for them unless `keep`.
  """
  arrays = _with_batch((*splats, bins.ids, bins.starts))
  residuals = Residuals(*(x[0] for x in _forward(spec, size, keep)(*arrays)))
  return residuals.image, residuals if keep else None


def backward(
  spec: RasterSpec,
  size: tuple[int, int],
  splats: Splats,
  bins: TileBins,
  residuals: Residuals,
  cotangent: jax.Array,
) -> Splats:
  """See `jaxgs.kernels`.

  Args:
    spec: As in `forward`.
    size: (height, width).
    splats: As in `forward`.
    bins: As in `forward`.
    residuals: From `forward`.
    cotangent: (H, W, C).

  Returns:
    Gradient with respect to each field of the splats.
  """
  arrays = _with_batch((*splats, bins.ids, bins.starts, *residuals, cotangent))
  return Splats(*(x[0] for x in _backward(spec, size)(*arrays)))
