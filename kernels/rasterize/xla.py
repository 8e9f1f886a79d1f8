"""Tiled rasteriser in pure JAX: runs wherever XLA does.

Tiles are taken in groups, longest lists first, so that the tiles of a group
have lists of like length; the lists are walked in blocks. Per tile the walk
is done twice: once to find the K-th largest weight of each pixel, once to
blend what is at least that large. The backward pass walks a third time and
turns the sums over a tile's pixels into matrix products with the monomials
{1, x, y, x^2, xy, y^2}: one row of gradients per tile-splat pair.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxgs.kernels.tiles import num_tiles

from jaxgs.config import RasterSpec
from jaxgs.math import evaluate_conic
from jaxgs.types import Splats, TileBins

# Splats of a list that are handled at once.
_BLOCK = 32
# Tiles handled at once. On a CPU a block of 16 tiles of 256 pixels stays in
# the second-level cache (measured on two cores: 8, 16 and 32 within 10 %); an
# accelerator wants few, large kernels.
_GROUP_CPU, _GROUP_ACCELERATOR = 16, 2048

# GPUs and TPUs would cut what they multiply to 11 or 8 bits: errors of 1e-3.
_einsum = functools.partial(jnp.einsum, precision="highest")

# Two computations of one weight may round differently; weights this close to
# the K-th largest are told apart by their place in the list.
_SAME = 1e-6


class Residuals(NamedTuple):
  """What the backward pass needs, by tile in walking order, Q px per tile.

  Attributes:
    order: (G, g) int32 tiles in groups, T where padded.
    threshold: (G, g, Q) the K-th largest weight.
    place: (G, g, Q) int32 the place in the list where it stands.
    total: (G, g, Q) sum of the blended weights.
    image: (G, g, Q, C) what was drawn.
  """

  order: jax.Array
  threshold: jax.Array
  place: jax.Array
  total: jax.Array
  image: jax.Array


def check(spec: RasterSpec, platform: str) -> None:
  """Serves everything."""
  del spec, platform


def _group_tiles(bins: TileBins) -> jax.Array:
  """Tiles by falling length of list, in groups: (G, g) int32, T for padding."""
  tiles = bins.starts.shape[0] - 1
  cpu = jax.default_backend() == "cpu"
  group = min(tiles, _GROUP_CPU if cpu else _GROUP_ACCELERATOR)
  order = jnp.argsort(bins.starts[:-1] - bins.starts[1:]).astype(jnp.int32)
  order = jnp.pad(order, (0, -tiles % group), constant_values=tiles)
  return order.reshape(-1, group)


def _pixels(spec: RasterSpec):
  """Pixel centres from the tile's centre: x, y, (Q,) float32 each."""
  side = jnp.arange(spec.tile, dtype=jnp.float32) + (0.5 - spec.tile / 2)
  y, x = jnp.meshgrid(side, side, indexing="ij")
  return x.reshape(-1), y.reshape(-1)


class _Group(NamedTuple):
  """The lists of g tiles: starts, lengths (g,), centres (g, 2)."""

  start: jax.Array
  length: jax.Array
  centre: jax.Array
  num_blocks: jax.Array


def _group(spec: RasterSpec, cols: int, bins: TileBins, tiles) -> _Group:
  padded = tiles == bins.starts.shape[0] - 1
  tiles = jnp.where(padded, 0, tiles)
  start = bins.starts[tiles]
  length = jnp.where(padded, 0, bins.starts[tiles + 1] - start)
  corner = jnp.stack([tiles % cols, tiles // cols], axis=-1)
  centre = (corner.astype(jnp.float32) + 0.5) * spec.tile
  num_blocks = (jnp.max(length) + (_BLOCK - 1)) // _BLOCK
  return _Group(start, length, centre, num_blocks)


def _block(spec: RasterSpec, splats: Splats, bins: TileBins, group, index):
  """Weights of one block: ids, places (g, L), raw weights, weights (g, L, Q).

  Raw weights are exp(b - e), 0 past the end of a list.
  """
  place = index * _BLOCK + jnp.arange(_BLOCK, dtype=jnp.int32)
  slot = group.start[:, None] + place[None]
  ids = bins.ids[jnp.minimum(slot, bins.ids.shape[0] - 1)]
  listed = place[None] < group.length[:, None]
  log_weight = jnp.where(listed, splats.log_weight[ids], -jnp.inf)
  local = splats.mean[ids] - group.centre[:, None]
  x, y = (side[None, None] for side in _pixels(spec))
  e = evaluate_conic(
    splats.conic[ids][:, :, None], x - local[..., :1], y - local[..., 1:]
  )
  raw = jnp.exp(log_weight[..., None] - e)
  tau = jnp.exp(jnp.float32(-spec.cutoff))
  edge = tau if spec.edge == "smooth" else 0.0
  return ids, local, place, raw, jnp.where(raw > tau, raw - edge, 0.0)


def _largest(weight, place, top_k: int):
  """The top_k largest along axis 1 with their places, falling.

  One reduction finds a value and one its first place; each round looks only
  below the last find. On a CPU this is 20 times faster than lax.top_k, which
  sorts.

  Args:
    weight: (g, M, Q), >= 0.
    place: (g, M, Q) int32, ascending where weights are equal.
    top_k: How many.

  Returns:
    weight, place: (g, top_k, Q); weight 0 where there are no more.
  """
  last = jnp.full_like(weight[:, :1], jnp.inf)
  last_place = jnp.full_like(place[:, :1], -1)
  none = jnp.iinfo(jnp.int32).max
  weights, places = [], []
  for _ in range(top_k):
    below = (weight < last) | ((weight == last) & (place > last_place))
    candidate = jnp.where(below, weight, 0.0)
    last = jnp.max(candidate, axis=1, keepdims=True)
    last_place = jnp.min(
      jnp.where(below & (candidate == last), place, none), axis=1, keepdims=True
    )
    weights.append(last)
    places.append(last_place)
  return jnp.concatenate(weights, axis=1), jnp.concatenate(places, axis=1)


def _threshold(spec: RasterSpec, splats, bins, group):
  """The K-th largest weight of each pixel and its place: (g, Q) each."""
  shape = (group.start.shape[0], spec.top_k, spec.tile**2)
  if spec.blend == "sum" or spec.top_k == 0:
    return jnp.zeros(shape[::2]), jnp.zeros(shape[::2], jnp.int32)

  def body(index, found):
    _, _, place, _, weight = _block(spec, splats, bins, group, index)
    place = jnp.broadcast_to(place[None, :, None], weight.shape)
    return _largest(
      jnp.concatenate([found[0], weight], axis=1),
      jnp.concatenate([found[1], place], axis=1),
      spec.top_k,
    )

  found = (jnp.zeros(shape), jnp.full(shape, -1, jnp.int32))
  weight, place = jax.lax.fori_loop(0, group.num_blocks, body, found)
  return weight[:, -1], place[:, -1]


def _kept(weight, place, threshold, threshold_place):
  """1 where a weight is blended, else 0: (g, L, Q)."""
  low = (threshold * (1 - _SAME))[:, None]
  high = (threshold * (1 + _SAME))[:, None]
  first = place[None, :, None] <= threshold_place[:, None]
  kept = (weight > high) | ((weight >= low) & first)
  return (kept & (weight > 0)).astype(weight.dtype)


def _draw_group(spec: RasterSpec, cols: int, splats: Splats, bins, tiles):
  """Forward pass of g tiles."""
  group = _group(spec, cols, bins, tiles)
  threshold, place = _threshold(spec, splats, bins, group)

  def body(index, sums):
    ids, _, places, _, weight = _block(spec, splats, bins, group, index)
    weight *= _kept(weight, places, threshold, place)
    feature = splats.feature[ids]
    return (
      sums[0] + _einsum("glq,glc->gqc", weight, feature),
      sums[1] + jnp.sum(weight, axis=1),
    )

  channels = splats.feature.shape[1]
  sums = (jnp.zeros((*threshold.shape, channels)), jnp.zeros(threshold.shape))
  image, total = jax.lax.fori_loop(0, group.num_blocks, body, sums)
  if spec.blend == "norm":
    image /= (total + spec.epsilon)[..., None]
  return threshold, place, total, image


def _to_tiles(image: jax.Array, tile: int) -> jax.Array:
  """(H, W, C) to (T, Q, C), padded with zeros."""
  height, width, channels = image.shape
  image = jnp.pad(image, ((0, -height % tile), (0, -width % tile), (0, 0)))
  rows, cols = num_tiles(height, width, tile)
  image = image.reshape(rows, tile, cols, tile, channels)
  return image.swapaxes(1, 2).reshape(rows * cols, tile * tile, channels)


def _from_tiles(tiles: jax.Array, size: tuple[int, int], tile: int):
  """(T, Q, C) to (H, W, C)."""
  rows, cols = num_tiles(*size, tile)
  image = tiles.reshape(rows, cols, tile, tile, -1).swapaxes(1, 2)
  return image.reshape(rows * tile, cols * tile, -1)[: size[0], : size[1]]


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
  rows, cols = num_tiles(*size, spec.tile)
  order = _group_tiles(bins)
  draw = functools.partial(_draw_group, spec, cols, splats, bins)
  threshold, place, total, image = jax.lax.map(draw, order)
  tiles = jnp.zeros((rows * cols, *image.shape[2:]))
  tiles = tiles.at[order].set(image, mode="drop", unique_indices=False)
  residuals = Residuals(order, threshold, place, total, image)
  return _from_tiles(tiles, size, spec.tile), residuals if keep else None


def _pair_gradients(spec, splats, ids, local, raw, kept, scaled, offset):
  """Gradients per pair: (g, L, 6 + C).

  Args:
    spec: Uses `tile`.
    splats: N splats.
    ids: (g, L).
    local: (g, L, 2) centres from the tile's centre, px.
    raw: (g, L, Q) exp(b - e).
    kept: (g, L, Q) weights that were blended (0 where not).
    scaled: (g, Q, C) cotangent over the sum of weights.
    offset: (g, Q) inner product of `scaled` and the picture (norm).

  Returns:
    d mean (2), d conic (3), d log_weight, d feature (C) side by side.
  """
  d_weight = _einsum("gqc,glc->glq", scaled, splats.feature[ids])
  d_weight = jnp.where(kept > 0, d_weight - offset[:, None], 0.0)
  d_feature = _einsum("glq,gqc->glc", kept, scaled)
  # dw/de = -exp(b - e) = -dw/db; the subtracted tau is constant.
  d_exponent = -d_weight * raw
  x, y = _pixels(spec)
  monomials = jnp.stack([jnp.ones_like(x), x, y, x * x, x * y, y * y], -1)
  s, sx, sy, sxx, sxy, syy = jnp.moveaxis(
    _einsum("glq,qm->glm", d_exponent, monomials), -1, 0
  )
  mx, my = local[..., 0], local[..., 1]
  # Moments about the splat's centre from those about the tile's centre.
  sxx += mx * (mx * s - 2 * sx)
  sxy += mx * my * s - mx * sy - my * sx
  syy += my * (my * s - 2 * sy)
  sx -= mx * s
  sy -= my * s
  a, b, c = jnp.moveaxis(splats.conic[ids], -1, 0)
  rows = [-a * sx - b * sy, -b * sx - c * sy, 0.5 * sxx, sxy, 0.5 * syy, -s]
  return jnp.concatenate([jnp.stack(rows, axis=-1), d_feature], axis=-1)


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
  cols = num_tiles(*size, spec.tile)[1]
  cotangent = _to_tiles(cotangent, spec.tile)

  def step(gradient, saved: Residuals):
    group = _group(spec, cols, bins, saved.order)
    scaled = jnp.take(cotangent, saved.order, axis=0, mode="clip")
    offset = jnp.zeros_like(saved.total)
    if spec.blend == "norm":
      scaled = scaled / (saved.total + spec.epsilon)[..., None]
      offset = jnp.sum(scaled * saved.image, axis=-1)

    def body(index, gradient):
      ids, local, place, raw, weight = _block(spec, splats, bins, group, index)
      kept = weight * _kept(weight, place, saved.threshold, saved.place)
      pairs = _pair_gradients(
        spec, splats, ids, local, raw, kept, scaled, offset
      )
      return gradient.at[ids].add(pairs)

    return jax.lax.fori_loop(0, group.num_blocks, body, gradient), None

  num_gaussians, channels = splats.feature.shape
  gradient = jnp.zeros((num_gaussians, 6 + channels))
  gradient, _ = jax.lax.scan(step, gradient, residuals)
  mean, con, log_weight, feature = jnp.split(gradient, [2, 5, 6], axis=-1)
  return Splats(mean, con, log_weight[:, 0], feature)
