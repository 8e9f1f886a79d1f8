"""The step in Triton, for NVIDIA GPUs: all fields in one kernel.

XLA makes one and more per field, whose launches take longer than their
arithmetic.
"""

import functools
import math

import jax
import jax.numpy as jnp
import optax
from jaxgs.kernels import triton_call
from jaxgs.kernels.adam import xla

from jaxgs.types import Gaussians2D

# Numbers per program of four warps.
_BLOCK = 256


def update(
  gaussians: Gaussians2D,
  gradient: Gaussians2D,
  moments: optax.ScaleByAdamState,
  rates: Gaussians2D,
  *,
  corner: jax.Array,
  scale_parameter: str,
  log_scale_range: tuple[float, float],
  log_weight_range: tuple[float, float],
  feature_range: tuple[float, float],
) -> tuple[Gaussians2D, optax.ScaleByAdamState]:
  """See `jaxgs.kernels`.

  Other types than float32, and other scale parameters than "log", go through
  xla.

  Args:
    gaussians: Parameters.
    gradient: Of the same shapes.
    moments: Of the steps before.
    rates: () per field, or (N,) or (N, 1) per field.
    corner: (2,) float32, (width, height): centres are within.
    scale_parameter: What moves: "log" s, "inverse" 1 / s, or "linear" s.
    log_scale_range: Lowest and highest, static.
    log_weight_range: As `log_scale_range`.
    feature_range: As `log_scale_range`.

  Returns:
    New parameters and moments.
  """
  ranges = {
    "log_scale_range": log_scale_range,
    "log_weight_range": log_weight_range,
    "feature_range": feature_range,
  }
  if scale_parameter != "log" or gaussians.mean.dtype != jnp.float32:
    return xla.update(
      gaussians,
      gradient,
      moments,
      rates,
      corner=corner,
      scale_parameter=scale_parameter,
      **ranges,
    )
  count = optax.safe_increment(moments.count)
  scalars = [*_corrections(count), corner[0], corner[1]]
  per_splat = None
  if any(rate.ndim for rate in rates):
    num_gaussians = gaussians.angle.shape
    per_splat = jnp.stack(
      [jnp.broadcast_to(jnp.ravel(rate), num_gaussians) for rate in rates]
    )[None]
  else:
    scalars += rates
  arrays = (*gaussians, *moments.mu, *moments.nu)
  updated = _update(tuple(ranges.values()))(
    jnp.stack(scalars)[None],
    per_splat,
    *(x[None] for x in (*gradient, *arrays)),
  )
  gaussians, mu, nu = (
    Gaussians2D(*(x[0] for x in updated[i : i + 5])) for i in (0, 5, 10)
  )
  return gaussians, moments._replace(count=count, mu=mu, nu=nu)


def _corrections(count: jax.Array) -> list[jax.Array]:
  """What both moments are multiplied by: they began at 0."""
  # optax raises a float to an int32 power: not for a strict caller.
  with jax.numpy_dtype_promotion("standard"):
    return [
      optax.tree.bias_correction(jnp.float32(1.0), decay, count)
      for decay in (xla.B1, xla.B2)
    ]


@functools.cache
def _update(ranges: tuple):
  """Parameters and moments over arrays with a leading axis B."""

  def function(scalars, rates, *arrays):
    from jaxgs.kernels.adam.triton_kernels import adam_kernel

    gradient, arrays = arrays[:5], arrays[5:]
    batch, num_gaussians, channels = gradient[4].shape
    one, two, rest = (
      math.ceil(num_gaussians * width / _BLOCK) for width in (1, 2, channels)
    )
    return triton_call.call(
      adam_kernel,
      scalars,
      # Without rates per splat the kernel reads none.
      scalars if rates is None else rates,
      *gradient,
      *arrays,
      out=tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays),
      updated=len(arrays),
      grid=(2 * one + 2 * two + rest, batch),
      N=num_gaussians,
      C=channels,
      SCALARS=scalars.shape[1],
      PER_SPLAT=rates is not None,
      LEAST_SCALE=ranges[0][0],
      MOST_SCALE=ranges[0][1],
      LEAST_WEIGHT=ranges[1][0],
      MOST_WEIGHT=ranges[1][1],
      LEAST_FEATURE=ranges[2][0],
      MOST_FEATURE=ranges[2][1],
      BLOCK=_BLOCK,
    )

  return triton_call.fold_batches(function)
