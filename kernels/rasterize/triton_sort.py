"""Keeps the largest values of a stream sorted, in registers.

Networks of minima and maxima over tuples of tensors, element by element. For
11 values kept of a long list this takes 10 operations per value instead of
the 22 of insertion one by one.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005

import triton
import triton.language as tl


@triton.jit
def _order(t, i: tl.constexpr, j: tl.constexpr):
  """Puts the larger of t[i] and t[j] at i; i < j."""
  high, low = tl.maximum(t[i], t[j]), tl.minimum(t[i], t[j])
  return t[:i] + (high,) + t[i + 1 : j] + (low,) + t[j + 1 :]


@triton.jit
def sort8(t):
  """Sorts a tuple of 8, falling: the network of 19 comparisons."""
  t = _order(_order(_order(_order(t, 0, 2), 1, 3), 4, 6), 5, 7)
  t = _order(_order(_order(_order(t, 0, 4), 1, 5), 2, 6), 3, 7)
  t = _order(_order(_order(_order(t, 0, 1), 2, 3), 4, 5), 6, 7)
  t = _order(_order(_order(_order(t, 2, 4), 3, 5), 1, 4), 3, 6)
  return _order(_order(_order(t, 1, 2), 3, 4), 5, 6)


@triton.jit
def keep_largest(top, new, COUNT: tl.constexpr, SIZE: tl.constexpr):
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
  merged = (tl.maximum(top[0], new[COUNT - 1]) if COUNT <= 8 else top[0],)
  for k in tl.static_range(1, COUNT):
    if COUNT - 1 - k < 8:
      merged = merged + (tl.maximum(top[k], new[COUNT - 1 - k]),)
    else:
      merged = merged + (top[k],)
  for level in tl.static_range(5):
    for i in tl.static_range(SIZE):
      # Partners at distance 16, 8, 4, 2, 1, as far as SIZE has them.
      if (16 >> level) < SIZE and (i & (16 >> level)) == 0 and i >= PAD:
        merged = _order(merged, i - PAD, i - PAD + (16 >> level))
  return merged


@triton.jit
def nth_largest(top, new, N: tl.constexpr):
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
      best = tl.maximum(best, tl.minimum(top[N - 1 - b], new[b - 1]))
    if b == N:
      best = tl.maximum(best, new[b - 1])
  return best
