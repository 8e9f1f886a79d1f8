"""What can be had of Triton kernels without a GPU: PTX, and the interpreter."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import jax
import pytest
from jaxgs.kernels import triton_call

ROOT = pathlib.Path(__file__).parents[2]

REFUSAL = triton_call.refusal(jax.default_backend())
needs_kernels = pytest.mark.skipif(REFUSAL is not None, reason=str(REFUSAL))


def needs_interpreter(test):
  """Marks a test that calls `run_interpreted`."""
  for condition, reason in (
    (triton_call.interpreted(), "runs in a subprocess"),
    (
      importlib.util.find_spec("triton") is None,
      "the package triton is not installed",
    ),
  ):
    test = pytest.mark.skipif(condition, reason=reason)(test)
  return test


def run_interpreted(code):
  """Runs a program whose kernels run in Triton's interpreter."""
  environment = os.environ | {
    "TRITON_INTERPRET": "1",
    "JAX_PLATFORMS": "cpu",
    "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
  }
  out = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert out.returncode == 0, out.stderr[-4000:]


def has_cuda_plugin() -> bool:
  try:
    import jax_triton  # noqa: F401
  except ImportError:
    return False
  return True


def needs_compiler(test):
  """Marks a test that calls `compile_for`."""
  for mark in (
    pytest.mark.skipif(
      not has_cuda_plugin(),
      reason="jax-triton or the CUDA plugin of jax is not installed",
    ),
    pytest.mark.skipif(triton_call.interpreted(), reason="nothing is compiled"),
    # Triton 3.8 does what Python 3.15 will refuse.
    pytest.mark.filterwarnings("ignore:AnnAssign:DeprecationWarning"),
  ):
    test = mark(test)
  return test


def assemble(ptx, target, folder):
  """Has Triton's ptxas look at it: inline assembly is checked nowhere else."""
  from triton import knobs

  (folder / "a.ptx").write_text(ptx)
  done = subprocess.run(
    [knobs.nvidia.ptxas.path, f"-arch={target}", "a.ptx"],
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr


def compile_for(capability, function, arrays, *, monkeypatch, folder):
  """Compiles and assembles all kernels of a function.

  Args:
    capability: 80, 90, ...
    function: Of the arrays.
    arrays: Or their shapes and dtypes.
    monkeypatch: Of the test.
    folder: For files.

  Returns:
    How often kernels are called; the PTX of those not compiled before.
  """
  from triton.backends.nvidia import compiler

  compiled, make_ptx = [], compiler.CUDABackend.make_ptx

  def listen(*args):
    compiled.append(make_ptx(*args))
    return compiled[-1]

  monkeypatch.setattr(compiler.CUDABackend, "make_ptx", listen)
  with triton_call.compiling_for(capability):
    traced = jax.jit(function).trace(*arrays)
    lowered = traced.lower(lowering_platforms=("cuda",)).as_text()
  for ptx in compiled:
    target = re.search(r"\.target (\w+)", ptx)[1]
    assert target.removesuffix("a") == f"sm_{capability}"
    assemble(ptx, target, folder)
  return lowered.count("custom_call @triton_kernel_call"), compiled
