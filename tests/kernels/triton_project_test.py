"""The projection in Triton, against `place` in float64.

Without a GPU as in triton_test.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxgs.kernels import load

from jaxgs.placement import place
from jaxgs.project import project
from jaxgs.types import Gaussians2D
from tests.kernels.scenes import random_gaussians
from tests.kernels.triton_without_gpu import (
  compile_for,
  needs_compiler,
  needs_interpreter,
  needs_kernels,
  run_interpreted,
)

CASES = {
  "plain": {},
  "active": {"masked": True},
  "small": {"scale": 0.5, "masked": True},
  "window": {"scale": 2.0, "offset": (30.0, -4.5)},
  "small_window": {"scale": 0.25, "offset": (3.0, 1.5)},
}


def scene(n=300):
  """Gaussians of all kinds: needles, turned often, beyond the bounds."""
  gaussians = random_gaussians(0, n=n)
  rng = np.random.default_rng(1)
  gaussians.log_scale[:60, 0] = rng.uniform(3, 6, 60)
  gaussians.log_scale[:60, 1] = -1.2
  gaussians.angle[30:90] = rng.uniform(-1e4, 1e4, 60)
  gaussians.angle[90:93] = [0.0, 3e5, -2e6]
  gaussians.log_scale[93:97, 0] = [-6.0, -30.0, 12.5, 90.0]
  gaussians.mean[97:99] = [[1e10, 5.0], [7.0, -3e9]]
  return gaussians


def cotangents_of(n):
  rng = np.random.default_rng(2)
  return [
    rng.normal(size=shape).astype(np.float32) for shape in ((n, 2), (n, 3), n)
  ]


def values_and_gradients(function, gaussians, cotangents):
  """Centres, conics, log-weights; the gradient of four fields."""
  splats, vjp = jax.vjp(
    lambda fields: tuple(function(Gaussians2D(*fields, gaussians.feature))[:3]),
    tuple(gaussians[:4]),
  )
  return splats, vjp(tuple(cotangents))[0]


def exact(gaussians, cotangents, options):
  """The same in float64, with the sizes that errors are measured by."""
  with jax.enable_x64(True):
    wide = Gaussians2D(*(jnp.asarray(x, jnp.float64) for x in gaussians))
    cotangents = [jnp.asarray(x, jnp.float64) for x in cotangents]
    values, gradients = values_and_gradients(
      functools.partial(place, **options), wide, cotangents
    )
  values, gradients = jax.tree.map(np.asarray, (values, gradients))
  largest = np.abs(values[1]).max(axis=1)
  # What a slope is summed of may cancel: those of turns and scales are as exact
  # as the largest of it.
  by_conic = np.abs(cotangents[1]).max(axis=1) * largest
  by_weight = np.abs(cotangents[2])
  sizes = (
    (1e2 + np.abs(values[0]), largest[:, None], 1.0),
    (1.0, (by_conic + by_weight)[:, None], by_conic, 1.0),
  )
  return (values, gradients), sizes


def assert_close(got, want, sizes, tolerance):
  """Errors of each array, in units of its size."""
  for i, (a, b, size) in enumerate(zip(got, want, sizes, strict=True)):
    a = np.float64(a)
    hidden = np.isneginf(b)
    np.testing.assert_array_equal(np.isneginf(a), hidden)
    a, b = np.where(hidden, 0.0, a), np.where(hidden, 0.0, b)
    error = np.max(np.abs(a - b) / size)
    assert error < tolerance, (i, error)


def options_of(case, n):
  options = {"masked": False, "scale": 1.0, "offset": (0.0, 0.0)} | CASES[case]
  masked = options.pop("masked")
  return options | {"active": np.arange(n) % 3 > 0 if masked else None}


def check(case, n=300):
  """Values and gradients of a case."""
  options = options_of(case, n)
  gaussians, cotangents = scene(n), cotangents_of(n)
  want, sizes = exact(gaussians, cotangents, options)
  got = values_and_gradients(
    functools.partial(project, backend="triton", **options),
    jax.tree.map(jnp.asarray, gaussians),
    cotangents,
  )
  # In the interpreter, with numpy's functions: 2.5e-7 and 4.5e-7.
  assert_close(got[0], want[0], sizes[0], 1e-6)
  assert_close(got[1], want[1], sizes[1], 2e-6)


def check_batch(n=7):
  """Under two maps, of which not all have all arrays, as without."""
  gaussians, active = jax.tree.map(jnp.asarray, scene()), np.arange(n) % 2 > 0
  scenes = jax.tree.map(lambda x: x[: 6 * n].reshape(2, 3, n, -1), gaussians)
  scenes = scenes._replace(
    angle=scenes.angle[..., 0], log_weight=scenes.log_weight[..., 0]
  )
  offsets = jnp.float32([[1, 2], [3, 4], [-5, 6]])
  cotangents = cotangents_of(n)

  def one(gaussians, offset):
    place_one = functools.partial(
      project, active=active, scale=0.5, offset=offset, backend="triton"
    )
    return values_and_gradients(place_one, gaussians, cotangents)

  many = jax.vmap(jax.vmap(one), in_axes=(0, None))(scenes, offsets)
  for i, j in np.ndindex(2, 3):
    single = one(jax.tree.map(lambda x: x[i, j], scenes), offsets[j])  # noqa: B023
    for a, b in zip(
      jax.tree.leaves(many), jax.tree.leaves(single), strict=True
    ):
      np.testing.assert_array_equal(a[i, j], b)


def check_what_is_broken():
  """NaN is not hidden, and stays where it is."""
  gaussians = random_gaussians(0, n=5)
  gaussians.mean[1, 0] = gaussians.log_scale[2, 1] = np.nan
  splats = project(gaussians, backend="triton")
  np.testing.assert_array_equal(np.isnan(splats.mean), np.isnan(gaussians.mean))
  np.testing.assert_array_equal(
    np.isnan(splats.conic).any(axis=1), np.arange(5) == 2
  )


@needs_kernels
@pytest.mark.parametrize("case", CASES)
def test_against_float64(case):
  check(case)


@needs_kernels
def test_a_batch():
  check_batch()


@needs_kernels
def test_what_is_broken():
  check_what_is_broken()


@needs_interpreter
def test_arithmetic_in_the_interpreter():
  run_interpreted("""
from tests.kernels import triton_project_test as t
for case in t.CASES:
  t.check(case)
t.check_batch()
t.check_what_is_broken()
""")


@needs_compiler
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("case", CASES)
def test_compiles_without_a_gpu(monkeypatch, tmp_path, case, capability):
  # Another number than above, of which jax-triton may have the kernels.
  n = 310
  options = options_of(case, n)
  function = functools.partial(load("triton", "project").project, **options)

  def gradient(gaussians, *cotangents):
    return values_and_gradients(function, gaussians, cotangents)

  calls, compiled = compile_for(
    capability,
    gradient,
    (scene(n), *cotangents_of(n)),
    monkeypatch=monkeypatch,
    folder=tmp_path,
  )
  assert calls == len(compiled) == 2
  for ptx in compiled:
    # Their error grows with the angle.
    assert "sin.approx" not in ptx
    assert "cos.approx" not in ptx
