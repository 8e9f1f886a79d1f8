"""Adam in Triton, against xla; and a fit's step with all kernels.

Without a GPU as in triton_test.py.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxgs.kernels import load, triton_call

from jaxgs import optim
from jaxgs.config import FitConfig, RasterSpec
from jaxgs.fit import fit_chunk
from jaxgs.state import init_fit
from jaxgs.step import fit_step
from jaxgs.types import Gaussians2D
from tests.kernels.scenes import random_gaussians
from tests.kernels.triton_without_gpu import (
  compile_for,
  needs_compiler,
  needs_interpreter,
  needs_kernels,
  run_interpreted,
)

# Splats take more than one program per field, and do not fill the last.
NUM = 300
CORNER = (41, 33)
CASES = {
  "rates of fields": {},
  "rates of splats": {"per_splat": True},
  "one channel": {"channels": 1},
  "no weights": {"use_weight": False},
  "weights at a bound": {"use_weight": False, "log_weight_range": (0.5, 2.0)},
  "other scales": {"scale_parameter": "inverse"},
}


def config_of(backend, **settings):
  return FitConfig(
    num_gaussians=NUM, raster=RasterSpec(backend=backend), **settings
  )


def rates_of(per_splat, n=NUM):
  """Large, so that bounds are reached."""
  rates = Gaussians2D(*(jnp.float32(x) for x in (9.0, 2.0, 0.3, 2.0, 1.0)))
  if not per_splat:
    return rates
  factors = np.random.default_rng(2).random((5, n)).astype(np.float32)
  factors[:, ::7] = 0.0
  fields = zip(rates._fields, rates, factors, strict=True)
  return Gaussians2D(
    **{
      name: rate * (x if name in ("angle", "log_weight") else x[:, None])
      for name, rate, x in fields
    }
  )


def gradients(count, channels=3, n=NUM):
  """Of all sizes, 0 among them; one per step."""
  rng = np.random.default_rng(3)
  like = random_gaussians(0, n=n, channels=channels)
  sizes = 10.0 ** rng.uniform(-9, 1, n)
  sizes[::11] = 0.0

  def noise(x):
    noise = rng.normal(size=(count, *x.shape)) * sizes.reshape(
      -1, *(1,) * (x.ndim - 1)
    )
    return jnp.asarray(noise, jnp.float32)

  return jax.tree.map(noise, like)


def run(config, gaussians, steps, rates, moments=None):
  """Some steps of `optim.update`."""
  corner = jnp.array(CORNER, jnp.float32)
  if moments is None:
    moments = optim.init_optimizer(gaussians)

  def step(carry, gradient):
    carry = optim.update(
      carry[0], gradient, carry[1], rates, corner=corner, config=config
    )
    return carry, None

  return jax.lax.scan(step, (gaussians, moments), steps)[0]


def assert_alike(got, want):
  """Parameters and moments, to rounding."""
  (fields, moments), (wanted, wanted_moments) = got, want
  np.testing.assert_array_equal(moments.count, wanted_moments.count)
  for a, b in zip(fields, wanted, strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-5)
  for a, b in zip(moments.nu, wanted_moments.nu, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-6)
  # First moments may cancel: what counts is their share of the other.
  for a, b, size in zip(
    moments.mu, wanted_moments.mu, wanted_moments.nu, strict=True
  ):
    assert (np.abs(a - b) <= 4e-6 * np.sqrt(size)).all()


def check(case, count=5):
  settings = dict(CASES[case])
  channels = settings.pop("channels", 3)
  rates = rates_of(settings.pop("per_splat", False))
  gaussians = random_gaussians(0, n=NUM, channels=channels)
  gaussians = jax.tree.map(jnp.asarray, gaussians)
  steps = gradients(count, channels)
  got, want = (
    run(config_of(backend, **settings), gaussians, steps, rates)
    for backend in ("triton", "xla")
  )
  assert_alike(got, want)
  config = config_of("triton", **settings)
  low, high = config.log_weight_range
  bounds = {
    "mean": (0.0, np.float32([CORNER])),
    "log_scale": config.log_scale_range,
    "feature": config.feature_range,
    "log_weight": (low, high) if config.use_weight else (max(low, 0.0),) * 2,
  }
  for name, (least, most) in bounds.items():
    found = np.asarray(getattr(got[0], name))
    assert (found >= least).all(), name
    assert (found <= most).all(), name
    # A bound that nobody reaches tests nothing.
    for bound in (least, most):
      assert (found == bound).any(axis=0).all(), name


def check_batch():
  """Under two maps: each with counts and rates of its own."""
  n, shape = 40, (2, 3)
  gaussians = random_gaussians(0, n=6 * n)
  many = jax.tree.map(
    lambda x: jnp.asarray(x).reshape(*shape, n, *x.shape[1:]), gaussians
  )
  moments = jax.vmap(jax.vmap(optim.init_optimizer))(many)
  moments = moments._replace(
    count=jnp.arange(6, dtype=jnp.int32).reshape(shape),
    mu=jax.tree.map(lambda x: 0.1 * x, many),
    nu=jax.tree.map(jnp.square, many),
  )
  steps = gradients(2, n=n)
  factors = jnp.float32([1.0, 0.5, 2.0])
  for per_splat in (False, True):
    base = rates_of(per_splat, n)

    def one(gaussians, moments, factor, backend):
      rates = jax.tree.map(lambda rate: factor * rate, base)  # noqa: B023
      return run(config_of(backend), gaussians, steps, rates, moments)

    got, want = (
      jax.vmap(
        jax.vmap(lambda *x: one(*x, backend)),  # noqa: B023
        in_axes=(0, 0, None),
      )(many, moments, factors)
      for backend in ("triton", "xla")
    )
    assert_alike(got, want)


def check_other_types():
  """What the kernel is not for goes where it was."""
  with jax.enable_x64(True):
    gaussians, steps = (
      jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)
      for tree in (random_gaussians(0, n=NUM), gradients(2))
    )
    rates = jax.tree.map(lambda x: jnp.float64(x), rates_of(False))
    with jax.numpy_dtype_promotion("standard"):
      got = run(config_of("triton"), gaussians, steps, rates)
  assert got[0].mean.dtype == np.float64


def small_fit(backend):
  config = FitConfig(
    num_gaussians=6,
    num_steps=10,
    chunk_steps=2,
    growth_rounds=0,
    relocate_ratio=0.0,
    raster=RasterSpec(backend=backend, tile=8, max_pairs=64, top_k=4),
  )
  y, x = np.mgrid[:7, :10] / 4.0
  image = np.stack([0.5 + 0.4 * np.sin(x + k * y) for k in (1, 2)], -1)
  image = jnp.asarray(image, jnp.float32)
  return config, image, init_fit(jax.random.key(0), image, config)


def check_fit():
  """Two steps of a fit, all of it in kernels."""
  found = []
  for backend in ("triton", "xla"):
    config, image, state = small_fit(backend)
    # Round splats have no angle: its slope would be 0, or a rounding error,
    # and that as good as any other for Adam.
    log_scale = state.gaussians.log_scale + jnp.float32([[0.3, -0.2]])
    state = state._replace(
      gaussians=state.gaussians._replace(log_scale=log_scale),
      active=jnp.arange(6) != 4,
    )
    found.append(fit_chunk(state, image, config))
  got, want = found
  np.testing.assert_allclose(got.mse, want.mse, rtol=1e-4)
  for a, b in zip(got.gaussians, want.gaussians, strict=True):
    # A hundredth of a step: small slopes, which the rasterisers round
    # otherwise, count as much as large ones.
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=4e-4)


@needs_kernels
@pytest.mark.parametrize("case", CASES)
def test_against_xla(case):
  check(case)


@needs_kernels
def test_a_batch():
  check_batch()


@needs_kernels
def test_other_types():
  check_other_types()


@needs_kernels
def test_a_fit():
  check_fit()


@needs_interpreter
def test_arithmetic_in_the_interpreter():
  run_interpreted("""
from tests.kernels import triton_adam_test as t
for case in t.CASES:
  t.check(case)
t.check_batch()
t.check_other_types()
t.check_fit()
""")


@needs_compiler
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("per_splat", [False, True])
def test_compiles_without_a_gpu(monkeypatch, tmp_path, per_splat, capability):
  # Another number than above, of which jax-triton may have the kernel.
  n = NUM + 10
  gaussians = random_gaussians(0, n=n)
  config = config_of("xla")

  def step(gaussians, gradient, moments, rates, corner):
    return load("triton", "adam").update(
      gaussians,
      gradient,
      moments,
      rates,
      corner=corner,
      scale_parameter="log",
      log_scale_range=config.log_scale_range,
      log_weight_range=config.log_weight_range,
      feature_range=config.feature_range,
    )

  calls, compiled = compile_for(
    capability,
    step,
    (
      gaussians,
      gaussians,
      optim.init_optimizer(gaussians),
      rates_of(per_splat, n),
      jnp.array(CORNER, jnp.float32),
    ),
    monkeypatch=monkeypatch,
    folder=tmp_path,
  )
  assert calls == len(compiled) == 1


@needs_compiler
def test_a_step_calls_each_kernel_once(monkeypatch):
  monkeypatch.setattr(triton_call, "refusal", lambda platform: None)
  config, image, state = small_fit("triton")
  rates = optim.rates_of(config, 1.0)
  with triton_call.compiling_for(80):
    program = str(
      jax.make_jaxpr(lambda state: fit_step(state, image, config, rates=rates))(
        state
      )
    )
  found = re.findall(r"\bname=(\w+_kernel)\b", program)
  for name in ("project_kernel", "gradient_kernel", "adam_kernel"):
    assert found.count(name) == 1, found
