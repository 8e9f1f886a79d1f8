"""Strictness for every test, and less time in the compiler."""

import os

# Most of the time goes into compiling programs that then run for milliseconds:
# without LLVM's optimisations the suite takes a quarter less. Before jax is
# imported; processes that tests start inherit it.
os.environ["XLA_FLAGS"] = " ".join(
  [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=0"]
)

import jax

# A test that only works by accident of promotion is a bug waiting for a user.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
