"""Which backend draws: argument, context, environment or platform."""

import dataclasses
import os

import jax

from jaxgs import kernels
from jaxgs.config import RasterSpec

# Part of jit's cache key, so a jitted caller is traced again when it changes.
_backend_context = jax.make_user_context(None)


def use_backend(name: str):
  """Context manager: the backend of specs that say "auto".

  Args:
    name: A name of `kernels.BACKENDS`.

  Returns:
    A context manager.

  Raises:
    ValueError: The name is unknown.
  """
  kernels.check_name(name)
  return _backend_context(name)


def requested_backend() -> str:
  """What stands for "auto": use_backend(), JAXGS_BACKEND, or else "auto"."""
  asked = _backend_context.value or os.environ.get("JAXGS_BACKEND")
  return asked or "auto"


def resolve_backend(spec: RasterSpec) -> RasterSpec:
  """Replaces backend="auto" by a name, and tile=0 by what suits it.

  Args:
    spec: Any spec.

  Returns:
    The spec with a concrete backend and tile.

  Raises:
    ValueError: A name is unknown.
    NotImplementedError: The backend named cannot serve the spec; says why.
  """
  name = spec.backend
  if name == "auto":
    name = requested_backend()
  name = kernels.choose(name, spec, jax.default_backend())
  tile = spec.tile or kernels.default_tile(name)
  return dataclasses.replace(spec, backend=name, tile=tile)
