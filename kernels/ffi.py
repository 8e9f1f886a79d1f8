"""Calls of the native library from JAX programs on a CPU."""

import functools

import jax

from jaxgs import native


@functools.cache
def _register() -> None:
  """Tells XLA where the handlers are, and the library its threads."""
  library = native.library()
  for name in native.HANDLERS:
    capsule = jax.ffi.pycapsule(getattr(library, name))
    jax.ffi.register_ffi_target(name, capsule, platform="cpu")
  library.jaxgs_set_num_threads(native.num_threads())


def check(platform: str) -> None:
  """Raises NotImplementedError, with the reason, if the library cannot serve.

  Args:
    platform: "cpu", "gpu" or "tpu".
  """
  if platform != "cpu":
    raise NotImplementedError(f"runs on a CPU, not on a {platform.upper()}")
  if native.library() is None:
    native.announce_slow_path()
    raise NotImplementedError(native.reason())


def call(name: str, results, *arguments: jax.Array, **attributes):
  """Calls a handler; vmap puts its axes in front of all arrays.

  Args:
    name: Of the handler.
    results: jax.ShapeDtypeStruct, or a list of them.
    *arguments: Arrays.
    **attributes: Static; their types are the handler's.

  Returns:
    An array, or a list of them.
  """
  _register()
  function = jax.ffi.ffi_call(name, results, vmap_method="broadcast_all")
  return function(*arguments, **attributes)
