"""The true coded size inside a traced program."""

import concurrent.futures
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxgs import codec


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
