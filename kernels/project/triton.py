"""The projection in Triton, for NVIDIA GPUs: one kernel, one for its gradient.

XLA makes a dozen of it, whose launches take longer than their arithmetic.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxgs.kernels import triton_call
from jaxgs.kernels.project import xla

from jaxgs.math import footprint
from jaxgs.types import Gaussians2D, Splats

# Per program, one per lane.
_SPLATS = 128


def project(
  gaussians: Gaussians2D,
  *,
  active: jax.Array | None,
  scale: float,
  offset: tuple[float, float],
) -> Splats:
  """See `jaxgs.kernels`; other types than float32 go through xla.

  Differentiable in reverse mode only, and not with respect to the offset:
  that is the corner of a window, no variable.

  Args:
    gaussians: N Gaussians, arrays of jax.
    active: (N,) bool, or None.
    scale: Output pixels per fitted pixel.
    offset: (x, y) of the output's corner in output pixels; may be traced.

  Returns:
    N splats.
  """
  fields = tuple(gaussians[:4])
  if any(field.dtype != jnp.float32 for field in fields):
    return xla.project(gaussians, active=active, scale=scale, offset=offset)
  if active is not None:
    active = jnp.asarray(active, jnp.bool)
  if all(isinstance(x, (int, float)) and x == 0 for x in offset):
    offset = None
  else:
    offset = jnp.asarray(offset, jnp.float32)
  placed = _project(float(scale), fields, active, offset)
  return Splats(*placed, feature=gaussians.feature)


def _float(*shape: int) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def _settings(scale: float, angle, active, offset) -> dict:
  """Grid and constants of both kernels."""
  batch, num_gaussians = angle.shape
  return dict(
    grid=(math.ceil(num_gaussians / _SPLATS), batch),
    num_warps=_SPLATS // 32,
    N=num_gaussians,
    SCALE=scale,
    BLUR=footprint(scale),
    MASKED=active is not None,
    MOVED=offset is not None,
    S=_SPLATS,
  )


def _or_unread(array: jax.Array | None, other: jax.Array) -> jax.Array:
  """Where there is no array a kernel gets another one, and does not read it."""
  return other if array is None else array


@functools.cache
def _forward(scale: float):
  """Centres, conics and log-weights over arrays with a leading axis B."""

  def function(mean, log_scale, angle, log_weight, active, offset):
    from jaxgs.kernels.project.triton_kernels import project_kernel

    batch, num_gaussians = angle.shape
    return triton_call.call(
      project_kernel,
      mean,
      log_scale,
      angle,
      log_weight,
      _or_unread(active, angle),
      _or_unread(offset, angle),
      out=(
        _float(batch, num_gaussians, 2),
        _float(batch, num_gaussians, 3),
        _float(batch, num_gaussians),
      ),
      **_settings(scale, angle, active, offset),
    )

  return triton_call.fold_batches(function)


@functools.cache
def _backward(scale: float):
  """The gradient of four fields over arrays with a leading axis B."""

  def function(mean, log_scale, angle, active, offset, *cotangents):
    from jaxgs.kernels.project.triton_kernels import gradient_kernel

    batch, num_gaussians = angle.shape
    return triton_call.call(
      gradient_kernel,
      mean,
      log_scale,
      angle,
      _or_unread(active, angle),
      _or_unread(offset, angle),
      *cotangents,
      out=(
        _float(batch, num_gaussians, 2),
        _float(batch, num_gaussians, 2),
        _float(batch, num_gaussians),
        _float(batch, num_gaussians),
      ),
      **_settings(scale, angle, active, offset),
    )

  return triton_call.fold_batches(function)


def _with_batch(*arrays):
  return jax.tree.map(lambda x: x[None], arrays)


def _without_batch(arrays):
  return tuple(x[0] for x in arrays)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _project(scale, fields, active, offset):
  arrays = _with_batch(*fields, active, offset)
  return _without_batch(_forward(scale)(*arrays))


def _project_fwd(scale, fields, active, offset):
  saved = (*fields[:3], active, offset)
  return _project(scale, fields, active, offset), saved


def _project_bwd(scale, saved, cotangents):
  arrays = _with_batch(*saved, *cotangents)
  # Neither the mask nor the corner of the window is a variable.
  return _without_batch(_backward(scale)(*arrays)), None, None


_project.defvjp(_project_fwd, _project_bwd)
