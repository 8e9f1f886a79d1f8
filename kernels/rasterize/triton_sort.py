"""Keeps the largest values of a stream sorted, in registers.

Networks of minima and maxima over tuples of tensors of `triton_keys`, element
by element. For 11 values kept of a long list this takes 10 operations per value
instead of the 22 of insertion one by one.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005

import triton
import triton.language as tl
from jaxgs.kernels.rasterize.triton_keys import larger, smaller


@triton.jit
def _order(t, i: tl.constexpr, j: tl.constexpr, MOST: tl.constexpr):
  """Puts the larger of t[i] and t[j] at i; i < j."""
  high, low = larger(t[i], t[j], MOST), smaller(t[i], t[j], MOST)
  return t[:i] + (high,) + t[i + 1 : j] + (low,) + t[j + 1 :]


@triton.jit
def _order2(
  t,
  i: tl.constexpr,
  j: tl.constexpr,
  k: tl.constexpr,
  m: tl.constexpr,
  MOST: tl.constexpr,
):
  """Two steps of a network."""
  return _order(_order(t, i, j, MOST), k, m, MOST)


@triton.jit
def sort8(t, MOST: tl.constexpr):
  """Sorts a tuple of 8, falling: the network of 19 comparisons."""
  t = _order2(_order2(t, 0, 2, 1, 3, MOST), 4, 6, 5, 7, MOST)
  t = _order2(_order2(t, 0, 4, 1, 5, MOST), 2, 6, 3, 7, MOST)
  t = _order2(_order2(t, 0, 1, 2, 3, MOST), 4, 5, 6, 7, MOST)
  t = _order2(_order2(t, 2, 4, 3, 5, MOST), 1, 4, 3, 6, MOST)
  return _order(_order2(t, 1, 2, 3, 4, MOST), 5, 6, MOST)


@triton.jit
def keep_largest(
  top, new, COUNT: tl.constexpr, SIZE: tl.constexpr, MOST: tl.constexpr
):
  """The COUNT largest of two falling tuples, falling.

  Arrays and constants:
    top: COUNT values.
    new: 8 values.
    COUNT: How many.
    SIZE: COUNT rounded up to a power of two.
  """
  # The larger ones, first falling, then rising: a bitonic sequence. In front
  # of it imagine SIZE - COUNT infinite values, which comparisons leave there.
  PAD: tl.constexpr = SIZE - COUNT
  merged = (larger(top[0], new[COUNT - 1], MOST) if COUNT <= 8 else top[0],)
  for k in tl.static_range(1, COUNT):
    if COUNT - 1 - k < 8:
      merged = merged + (larger(top[k], new[COUNT - 1 - k], MOST),)
    else:
      merged = merged + (top[k],)
  for level in tl.static_range(5):
    for i in tl.static_range(SIZE):
      # Partners at distance 16, 8, 4, 2, 1, as far as SIZE has them.
      if (16 >> level) < SIZE and (i & (16 >> level)) == 0 and i >= PAD:
        merged = _order(merged, i - PAD, i - PAD + (16 >> level), MOST)
  return merged


@triton.jit
def nth_largest(top, new, N: tl.constexpr, MOST: tl.constexpr):
  """The N-th largest of two falling tuples; the first has N or more values.

  It is the largest of all min(top[a - 1], new[b - 1]) with a + b = N.

  Arrays and constants:
    top: N values or more.
    new: 8 values.
    N: From 1 on.
  """
  best = top[N - 1]
  for b in tl.static_range(1, 9):
    if b < N:
      both = smaller(top[N - 1 - b], new[b - 1], MOST)
      best = larger(best, both, MOST)
    if b == N:
      best = larger(best, new[b - 1], MOST)
  return best
