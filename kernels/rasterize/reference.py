"""The definition: every splat at every pixel, in plain JAX.

Differentiable by autodiff, in the dtype of the splats (float64 too). Slow and
hungry: rows of pixels one after the other, each against all N splats.
"""

import functools

import jax
import jax.numpy as jnp

from jaxgs.config import RasterSpec
from jaxgs.math import evaluate_conic
from jaxgs.types import Splats, TileBins


def check(spec: RasterSpec, platform: str) -> None:
  """Serves everything."""
  del spec, platform


def weights(spec: RasterSpec, splats: Splats, x, y) -> jax.Array:
  """Weights of all splats at points.

  With tau = exp(-cutoff): exp(b - e), less tau if the edge is smooth, where
  exp(b - e) > tau; else 0.

  Args:
    spec: Uses `cutoff` and `edge`.
    splats: N splats.
    x: (Q,) px.
    y: (Q,) px.

  Returns:
    (Q, N).
  """
  dx = x[:, None] - splats.mean[None, :, 0]
  dy = y[:, None] - splats.mean[None, :, 1]
  e = evaluate_conic(splats.conic[None], dx, dy)
  raw = jnp.exp(splats.log_weight[None] - e)
  tau = jnp.exp(jnp.asarray(-spec.cutoff, raw.dtype))
  edge = tau if spec.edge == "smooth" else 0.0
  return jnp.where(raw > tau, raw - edge, 0.0)


def _row(spec: RasterSpec, width: int, splats: Splats, y) -> jax.Array:
  """One row of pixels: (W, C)."""
  # GPUs and TPUs would cut what they multiply to 11 or 8 bits.
  einsum = functools.partial(jnp.einsum, precision="highest")
  x = jnp.arange(width, dtype=splats.mean.dtype) + 0.5
  weight = weights(spec, splats, x, jnp.full_like(x, y))
  if spec.blend == "sum":
    return einsum("qn,nc->qc", weight, splats.feature)
  if 0 < spec.top_k < weight.shape[1]:
    # lax.top_k is stable: among equals the lower index comes first.
    weight, ids = jax.lax.top_k(weight, spec.top_k)
    total = einsum("qk,qkc->qc", weight, splats.feature[ids])
  else:
    total = einsum("qn,nc->qc", weight, splats.feature)
  return total / (jnp.sum(weight, axis=-1, keepdims=True) + spec.epsilon)


def draw(spec: RasterSpec, size: tuple[int, int], splats: Splats) -> jax.Array:
  """The picture.

  Args:
    spec: Blend, top_k, cutoff, epsilon.
    size: (height, width), px.
    splats: N splats.

  Returns:
    (H, W, C) in the dtype of the splats.
  """
  height, width = size
  splats = jax.tree.map(jnp.asarray, splats)
  rows = jnp.arange(height, dtype=splats.mean.dtype) + 0.5
  return jax.lax.map(lambda y: _row(spec, width, splats, y), rows)


def forward(
  spec: RasterSpec,
  size: tuple[int, int],
  splats: Splats,
  bins: TileBins,
  *,
  keep: bool = True,
):
  """See `jaxgs.kernels`; the bins are not used."""
  del bins, keep
  return draw(spec, size, splats), None


def backward(spec, size, splats, bins, residuals, cotangent) -> Splats:
  """See `jaxgs.kernels`: the VJP that autodiff gives."""
  del bins, residuals
  _, vjp = jax.vjp(lambda s: draw(spec, size, s), splats)
  return vjp(cotangent)[0]
