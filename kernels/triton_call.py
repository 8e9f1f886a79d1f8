"""Calls Triton kernels from JAX: the one place that knows jax-triton.

jax-triton 0.3 (jax 0.10, Python 3.11) and 0.4 (jax 0.11 and later) differ in
how outputs are asked for. With TRITON_INTERPRET=1 the kernels run in Triton's
interpreter on the host, which needs neither a GPU nor jax-triton: slow, for
tests.
"""

import contextlib
import contextvars
import functools
import importlib.util
import inspect
import os

import jax
import jax.numpy as jnp
import numpy as np

# The compute capability that kernels are compiled for; None: that of GPU 0.
_capability = contextvars.ContextVar("capability", default=None)

# Below it Triton has no asynchronous copies and is not tested.
_LEAST_CAPABILITY = 80


def interpreted() -> bool:
  """Whether kernels run in Triton's interpreter."""
  return os.environ.get("TRITON_INTERPRET") == "1"


@contextlib.contextmanager
def compiling_for(capability: int):
  """Kernels traced and lowered inside are compiled for this capability.

  Args:
    capability: 80, 90, ...; the GPU need not be there.
  """
  token = _capability.set(capability)
  # What JAX has traced for another capability it would use again.
  jax.clear_caches()
  try:
    yield
  finally:
    _capability.reset(token)
    jax.clear_caches()


def capability() -> int:
  """The compute capability that kernels are compiled for, 80 or more.

  In the interpreter 90.
  """
  if interpreted():
    return 90
  return _capability.get() or _digits(jax.devices()[0])


def _digits(device) -> int:
  """The compute capability of a GPU, 90 for 9.0; 0 if it has none."""
  digits = str(getattr(device, "compute_capability", "")).replace(".", "")
  return int(digits) if digits.isdigit() else 0


def refusal(platform: str) -> str | None:
  """Why no Triton kernel can run here; None if it can.

  Args:
    platform: "cpu", "gpu" or "tpu".
  """
  if importlib.util.find_spec("triton") is None:
    return "the package triton is not installed"
  if interpreted():
    return None
  if platform != "gpu":
    return f"needs an NVIDIA GPU, the platform is {platform}"
  digits = _digits(jax.devices()[0])
  if not digits:
    return "needs an NVIDIA GPU, this one is another"
  if digits < _LEAST_CAPABILITY:
    return (
      "needs compute capability 8.0 or more, this GPU has"
      f" {digits // 10}.{digits % 10}"
    )
  try:
    _jax_triton()
  except ImportError as error:
    return f"jax-triton cannot be imported ({error})"
  return None


@functools.cache
def _jax_triton():
  import jax_triton

  return jax_triton


@functools.cache
def _has_refs() -> bool:
  """jax-triton 0.4 or later: outputs to be zeroed are passed as refs."""
  call = _jax_triton().triton_call
  return "out_type" in inspect.signature(call).parameters


def call(
  kernel,
  *arrays: jax.Array,
  out: tuple[jax.ShapeDtypeStruct, ...],
  grid: tuple[int, ...],
  zeroed: int = 0,
  updated: int = 0,
  num_warps: int = 4,
  **constants,
) -> tuple[jax.Array, ...]:
  """Runs a kernel.

  Args:
    kernel: A function under `triton.jit`. Its parameters are the arrays, the
      outputs, then constexprs.
    *arrays: Inputs, one or more; the kernel must not write to them.
    out: Shapes and dtypes of the outputs.
    grid: Number of programs along up to three axes.
    zeroed: So many of the first outputs are filled with 0 before the kernel
      starts; the others hold anything.
    updated: So many of the last inputs are updated: as many of the first
      outputs hold them when the kernel starts, in the same memory where nobody
      else needs the input. The kernel has parameters for both, and must use
      those of the outputs only. Without `zeroed`.
    num_warps: Warps of 32 threads per program.
    **constants: Values of the constexprs.

  Returns:
    The outputs.
  """
  if interpreted():
    return _interpret(kernel, arrays, out, grid, zeroed, updated, constants)
  settings = dict(
    kernel=kernel,
    grid=grid,
    num_warps=num_warps,
    # The loops hold no asynchronous copies: there is nothing to pipeline.
    num_stages=1,
    compute_capability=_capability.get(),
    name=kernel.fn.__name__,
    **constants,
  )
  triton_call = _jax_triton().triton_call
  first = len(arrays) - updated
  if not _has_refs():
    return triton_call(
      *arrays,
      out_shape=out,
      zeroed_outputs=tuple(range(zeroed)),
      input_output_aliases={first + i: i for i in range(updated)},
      **settings,
    )
  begun = [jnp.zeros(o.shape, o.dtype) for o in out[:zeroed]]
  refs = [jax.new_ref(x) for x in (*begun, *arrays[first:])]
  # A ref is one parameter. The one that is not used must not hold the array
  # itself, which XLA would have to copy then.
  arrays = arrays[:first] + updated * arrays[:1]
  rest = triton_call(*arrays, *refs, out_type=out[len(refs) :], **settings)
  return (*(ref[...] for ref in refs), *rest)


class _HostTensor:
  """What Triton's interpreter asks of a tensor, over a numpy array."""

  def __init__(self, array: np.ndarray):
    self.array = array
    self.dtype = np.dtype(array.dtype).name

  def data_ptr(self) -> int:
    return self.array.ctypes.data

  def untyped_storage(self):
    return self

  def cpu(self):
    return self

  def new_empty(self, size, device):
    del size, device
    return _HostTensor(self.array)

  def set_(self, storage, offset, size, stride):
    del offset, size, stride
    self.array = storage.array

  def storage_offset(self) -> int:
    return 0

  def size(self):
    return self.array.shape

  def stride(self):
    return self.array.strides

  def copy_(self, other):
    assert other.array is self.array


@functools.cache
def _mend_interpreter():
  """Lets Triton 3.6 interpret with NumPy 2.4.

  To use a tensor as a Python number it converts an array of shape (1,), which
  NumPy no longer does.
  """
  from triton.runtime import interpreter

  patch = interpreter._patch_lang_tensor

  def mended(tensor, scope):
    patch(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda x: int(x.handle.data.item()))

  interpreter._patch_lang_tensor = mended


def _poison(dtype):
  """What must not be read: NaN shows wherever it gets."""
  return np.nan if np.issubdtype(dtype, np.floating) else 12345


def _interpret(kernel, arrays, out, grid, zeroed, updated, constants):
  """`call` in Triton's interpreter."""
  _mend_interpreter()

  def on_host(*inputs):
    # Outputs that the kernel must write start as poison: a place in a list that
    # is read without having been written lets all of them in.
    outputs = [
      np.zeros(o.shape, o.dtype)
      if i < zeroed
      else np.full(o.shape, _poison(o.dtype), o.dtype)
      for i, o in enumerate(out)
    ]
    if updated:
      outputs[:updated] = map(np.array, inputs[-updated:])
    tensors = [np.ascontiguousarray(x) for x in inputs] + outputs
    with np.errstate(all="ignore"):
      kernel[tuple(grid)](*map(_HostTensor, tensors), **constants)
    return tuple(outputs)

  return jax.pure_callback(on_host, tuple(out), *arrays)


def fold_batches(function):
  """Makes a function over arrays with a leading axis B work under vmap.

  Args:
    function: Arrays (B, ...), or None, to a tuple of arrays (B, ...).

  Returns:
    The same function; a mapped axis is folded into B and the function called
    again, so nested maps work too.
  """

  @jax.custom_batching.custom_vmap
  def folded(*arrays):
    return tuple(function(*arrays))

  @folded.def_vmap
  def rule(axis_size, in_batched, *arrays):
    def fold(x, mapped):
      if not mapped:
        x = jnp.broadcast_to(x[None], (axis_size, *x.shape))
      return x.reshape(-1, *x.shape[2:])

    outputs = folded(*jax.tree.map(fold, arrays, tuple(in_batched)))
    outputs = tuple(y.reshape(axis_size, -1, *y.shape[1:]) for y in outputs)
    return outputs, (True,) * len(outputs)

  return folded
