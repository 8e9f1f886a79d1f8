"""The kernel of Adam: a number per lane, so that memory is read in order.

Only imported once a kernel is needed: this needs the package triton.
"""

import triton
import triton.language as tl
from jaxgs.kernels.adam import xla
from jaxgs.kernels.project.triton_kernels import clip

_B1 = tl.constexpr(xla.B1)
_B2 = tl.constexpr(xla.B2)
_EPSILON = tl.constexpr(xla.EPSILON)
_INFINITY = tl.constexpr(float("inf"))


@triton.jit
def _advance(
  gradient,
  value,
  mu,
  nu,
  scalars,
  rates,
  i,
  least,
  most,
  FIELD: tl.constexpr,
  WIDTH: tl.constexpr,
  N: tl.constexpr,
  SCALARS: tl.constexpr,
  PER_SPLAT: tl.constexpr,
):
  """Numbers i of a field of (B, N, WIDTH), kept between least and most."""
  batch = tl.program_id(1).to(tl.int64)
  mask = i < N * WIDTH
  at = batch * (N * WIDTH) + i
  by = tl.load(gradient + at, mask=mask, other=0.0)
  x = tl.load(value + at, mask=mask, other=0.0)
  first = tl.load(mu + at, mask=mask, other=0.0)
  second = tl.load(nu + at, mask=mask, other=0.0)
  scalars += batch * SCALARS
  if PER_SPLAT:
    at_rate = rates + (batch * 5 + FIELD) * N + i // WIDTH
    rate = tl.load(at_rate, mask=mask, other=0.0)
  else:
    rate = tl.load(scalars + 4 + FIELD)
  first = _B1 * first + (1.0 - _B1) * by
  second = _B2 * second + (1.0 - _B2) * (by * by)
  tl.store(mu + at, first, mask=mask)
  tl.store(nu + at, second, mask=mask)
  below = tl.sqrt(second * tl.load(scalars + 1)) + _EPSILON
  x -= rate * (first * tl.load(scalars) / below)
  tl.store(value + at, clip(x, least, most), mask=mask)


@triton.jit
def adam_kernel(
  scalars,
  rates,
  by_mean,
  by_log_scale,
  by_angle,
  by_log_weight,
  by_feature,
  old_mean,
  old_log_scale,
  old_angle,
  old_log_weight,
  old_feature,
  old_mu_mean,
  old_mu_log_scale,
  old_mu_angle,
  old_mu_log_weight,
  old_mu_feature,
  old_nu_mean,
  old_nu_log_scale,
  old_nu_angle,
  old_nu_log_weight,
  old_nu_feature,
  mean,
  log_scale,
  angle,
  log_weight,
  feature,
  mu_mean,
  mu_log_scale,
  mu_angle,
  mu_log_weight,
  mu_feature,
  nu_mean,
  nu_log_scale,
  nu_angle,
  nu_log_weight,
  nu_feature,
  N: tl.constexpr,
  C: tl.constexpr,
  SCALARS: tl.constexpr,
  PER_SPLAT: tl.constexpr,
  LEAST_SCALE: tl.constexpr,
  MOST_SCALE: tl.constexpr,
  LEAST_WEIGHT: tl.constexpr,
  MOST_WEIGHT: tl.constexpr,
  LEAST_FEATURE: tl.constexpr,
  MOST_FEATURE: tl.constexpr,
  BLOCK: tl.constexpr,
):
  """One step: programs in a row share out one field after the other.

  Arrays and constants:
    scalars: (B, SCALARS): corrections of both moments; width and height, px;
      unless PER_SPLAT a rate per field.
    rates: (B, 5, N), read if PER_SPLAT.
    by_...: Gradient of each field, (B, N, 2), (B, N, 2), (B, N), (B, N),
      (B, N, C).
    old_...: Not used: see `updated` in `triton_call.call`.
    mean, ...: Parameters, of the same shapes, updated.
    mu_..., nu_...: Their moments, updated.
    LEAST_..., MOST_...: Bounds of the fields.
    BLOCK: Numbers of a program.
  """
  ONE: tl.constexpr = (N + BLOCK - 1) // BLOCK
  TWO: tl.constexpr = (2 * N + BLOCK - 1) // BLOCK
  block = tl.program_id(0)
  i = tl.arange(0, BLOCK)
  if block < TWO:
    # x, y, x, y, ...: blocks begin with x.
    corner = tl.load(scalars + tl.program_id(1) * SCALARS + 2 + i % 2)
    _advance(
      by_mean,
      mean,
      mu_mean,
      nu_mean,
      scalars,
      rates,
      i + block * BLOCK,
      0.0,
      corner,
      0,
      2,
      N,
      SCALARS,
      PER_SPLAT,
    )
  elif block < 2 * TWO:
    _advance(
      by_log_scale,
      log_scale,
      mu_log_scale,
      nu_log_scale,
      scalars,
      rates,
      i + (block - TWO) * BLOCK,
      LEAST_SCALE,
      MOST_SCALE,
      1,
      2,
      N,
      SCALARS,
      PER_SPLAT,
    )
  elif block < 2 * TWO + ONE:
    _advance(
      by_angle,
      angle,
      mu_angle,
      nu_angle,
      scalars,
      rates,
      i + (block - 2 * TWO) * BLOCK,
      -_INFINITY,
      _INFINITY,
      2,
      1,
      N,
      SCALARS,
      PER_SPLAT,
    )
  elif block < 2 * TWO + 2 * ONE:
    _advance(
      by_log_weight,
      log_weight,
      mu_log_weight,
      nu_log_weight,
      scalars,
      rates,
      i + (block - 2 * TWO - ONE) * BLOCK,
      LEAST_WEIGHT,
      MOST_WEIGHT,
      3,
      1,
      N,
      SCALARS,
      PER_SPLAT,
    )
  else:
    _advance(
      by_feature,
      feature,
      mu_feature,
      nu_feature,
      scalars,
      rates,
      i + (block - 2 * TWO - 2 * ONE) * BLOCK,
      LEAST_FEATURE,
      MOST_FEATURE,
      4,
      C,
      N,
      SCALARS,
      PER_SPLAT,
    )
