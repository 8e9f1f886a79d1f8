"""Strictness for every test, and less time in the compiler."""

import os
import pathlib
import tempfile

# Most of the time goes into compiling programs that then run for milliseconds:
# without LLVM's optimisations the suite takes a quarter less. Before jax is
# imported; processes that tests start inherit it.
os.environ["XLA_FLAGS"] = " ".join(
  [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=0"]
)

# The CUDA plugin of jax is there to compile kernels: kernels/triton_test.py.
# Without NVIDIA's driver it would report an error in every program.
if not any(map(os.path.exists, ("/dev/nvidia0", "/proc/driver/nvidia"))):
  os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Programs keep what they compile in the user's cache: not those of tests.
if "JAXGS_TEST_CACHE" not in os.environ:  # The workers inherit it.
  _cache = tempfile.TemporaryDirectory()
  os.environ["JAXGS_TEST_CACHE"] = os.environ["XDG_CACHE_HOME"] = _cache.name

import jax

# A test that only works by accident of promotion is a bug waiting for a user.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Every compiled program takes a dozen mappings of memory, of which Linux allows
# a process 65 530; beyond, the compiler crashes.
_MAPS = pathlib.Path("/proc/self/maps")
_MOST_MAPS = 25_000
_finished = 0


def pytest_runtest_teardown():
  """Forgets compiled programs before there are too many."""
  global _finished
  _finished += 1
  # Counting takes some milliseconds.
  if _finished % 8 or not _MAPS.exists():
    return
  if _MAPS.read_bytes().count(b"\n") > _MOST_MAPS:
    jax.clear_caches()
