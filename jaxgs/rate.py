"""Size inside a traced program: the true one, and one with a gradient."""

import concurrent.futures
import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgs import codec
from jaxgs.dequantize import Transform, triples_of
from jaxgs.quantize import rgb_to_ycocg
from jaxgs.types import Gaussians2D


def _coded_bits_host(header: codec.Header, symbols, active) -> np.ndarray:
  """Encodes each member of the leading axes; numpy only, as callbacks must."""
  symbols = codec.Symbols(*(np.asarray(leaf) for leaf in symbols))
  active = np.asarray(active)
  # vmap puts axes of size 1 in front of what it does not map.
  trailing = codec.Symbols(2, 2, 1, 1, 2)
  lead = np.broadcast_shapes(
    active.shape[:-1],
    *(
      leaf.shape[: leaf.ndim - n]
      for leaf, n in zip(symbols, trailing, strict=True)
    ),
  )

  def flat(leaf, n):
    leaf = np.broadcast_to(leaf, lead + leaf.shape[leaf.ndim - n :])
    return leaf.reshape(-1, *leaf.shape[len(lead) :])

  columns = [flat(x, n) for x, n in zip(symbols, trailing, strict=True)]
  masks = flat(active, 1)

  def bits(index: int) -> int:
    mask = masks[index]
    if not mask.any():
      return 0
    one = codec.Symbols(*(column[index][mask] for column in columns))
    sized = dataclasses.replace(header, num_gaussians=int(mask.sum()))
    return 8 * len(codec.encode(sized, one))

  if len(masks) == 1:
    sizes = [bits(0)]
  else:
    with concurrent.futures.ThreadPoolExecutor() as pool:
      sizes = list(pool.map(bits, range(len(masks))))
  return np.array(sizes, np.int32).reshape(lead)


def coded_bits(
  symbols: codec.Symbols,
  header: codec.Header,
  *,
  active: jax.Array | None = None,
) -> jax.Array:
  """Bits of the file that these symbols make: 8 len(encode(...)).

  Works under jit and vmap through a callback to the host, where a batch is
  spread over threads. For logging, tests and rate control: it has no gradient
  and takes milliseconds per thousand splats.

  Args:
    symbols: (N, ...) int32 leaves, see `codec.Symbols`.
    header: Static; its number of Gaussians is replaced.
    active: (N,) bool, those that are written; all when None.

  Returns:
    () int32; 0 if none is active.
  """
  if active is None:
    active = jnp.ones(symbols.angle.shape, bool)
  return jax.pure_callback(
    functools.partial(_coded_bits_host, header),
    jax.ShapeDtypeStruct((), jnp.int32),
    jax.lax.stop_gradient(symbols),
    active,
    vmap_method="expand_dims",
  )


class Expected(NamedTuple):
  """What a coder may expect of the values of a splat, from those around it.

  Columns: log scale of the long axis, log of the axis ratio, log-weight,
  features in the space in which they are stored.

  Attributes:
    centre: (N, 3 + C) float32.
    spread: (3 + C,) float32, mean absolute deviation from it.
  """

  centre: jax.Array
  spread: jax.Array


def expect(
  gaussians: Gaussians2D, active: jax.Array, *, transform: Transform = "none"
) -> Expected:
  """Expects of each splat what those around it have, as far as that is right.

  Around are the two before and the two after on a Morton curve. Per column the
  best of three is taken: their mean, the mean of all, and halfway.

  Args:
    gaussians: N Gaussians.
    active: (N,) bool.
    transform: Of the features, see `dequantize.Transform`.

  Returns:
    Expected, without gradient.
  """
  gaussians = jax.lax.stop_gradient(gaussians)
  values = _columns(gaussians, transform)
  place = jnp.where(active, _morton(gaussians.mean), jnp.uint32(0xFFFFFFFF))
  order = jnp.argsort(place)
  on = active.astype(jnp.float32)[:, None]
  count = jnp.maximum(jnp.sum(on), 1.0)
  # Inactive splats are last, and around nobody.
  last = count.astype(jnp.int32) - 1
  index = jnp.arange(len(order), dtype=jnp.int32)
  near = [order[jnp.clip(index + k, 0, last)] for k in (-2, -1, 1, 2)]
  around = 0.25 * sum(values[splats] for splats in near)
  around = jnp.zeros_like(values).at[order].set(around)
  mean = jnp.sum(on * values, axis=0, keepdims=True) / count
  guesses = jnp.stack([mean + k * (around - mean) for k in (0.0, 0.5, 1.0)])
  spread = jnp.sum(on[None] * jnp.abs(values[None] - guesses), axis=1) / count
  best = jnp.argmin(spread, axis=0)
  centre = jnp.take_along_axis(guesses, best[None, None], axis=0)[0]
  return Expected(centre, jnp.min(spread, axis=0) + 1e-6)


def estimated_bits(
  gaussians: Gaussians2D,
  active: jax.Array,
  expected: Expected,
  *,
  transform: Transform = "none",
) -> jax.Array:
  """Bits of scales, weights and features, up to a constant; has a gradient.

  Deviations from what is expected count as Laplace distributed: |x| / (b ln 2)
  bits each, rounded off where they are small against their spread b.

  Args:
    gaussians: N Gaussians.
    active: (N,) bool.
    expected: See `expect`; may be some steps old.
    transform: As in `expect`.

  Returns:
    () float32.
  """
  away = _columns(gaussians, transform) - expected.centre
  away = away / expected.spread[None]
  smooth = jnp.sqrt(jnp.square(away) + 0.01)
  on = active.astype(jnp.float32)[:, None]
  return jnp.sum(on * smooth) / math.log(2)


def _columns(gaussians: Gaussians2D, transform: Transform) -> jax.Array:
  first, second = gaussians.log_scale[:, 0], gaussians.log_scale[:, 1]
  feature = gaussians.feature
  for triple in triples_of(transform):
    feature = rgb_to_ycocg(feature, triple)
  shape = [jnp.maximum(first, second), jnp.abs(first - second)]
  columns = jnp.stack([*shape, gaussians.log_weight], axis=-1)
  return jnp.concatenate([columns, feature], axis=-1)


def _morton(mean: jax.Array) -> jax.Array:
  """Places of centres on a Z-shaped curve over cells of 4 px, (N,) uint32."""
  cell = jnp.clip(0.25 * mean, 0.0, 65535.0).astype(jnp.uint32)
  for shift, keep in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333)):
    cell = (cell | (cell << shift)) & jnp.uint32(keep)
  cell = (cell | (cell << 1)) & jnp.uint32(0x55555555)
  return cell[:, 0] | (cell[:, 1] << 1)
