"""Strictness for every test."""

import jax

# A test that only works by accident of promotion is a bug waiting for a user.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
