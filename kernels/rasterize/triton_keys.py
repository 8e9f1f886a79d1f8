"""Two numbers of 16 bits in a register, for the search of the K-th weight.

A minimum of two floats takes two issue slots of a GPU, and so does one of two
pairs of short integers.

The largest key is MOST: 65535 for pairs of integers, on sm_90, and 31743 for
pairs of halves, whose order is that of their bits if they are positive.

Only imported once a kernel is needed: this needs the package triton.
"""

import triton
import triton.language as tl
from jaxgs.kernels import triton_call

# Logarithms up to here have keys of their own; those above share one. (Of fits
# of photographs the 10th largest of a pixel is under 0 in 99 of 100.)
_TOP = tl.constexpr(1.0)


@triton.jit
def logarithm(key, LIMIT: tl.constexpr, MOST: tl.constexpr):
  """The middle of what has a key; of key 3 it is LIMIT."""
  step: tl.constexpr = (_TOP - LIMIT) / (MOST - 3)
  return LIMIT + (key - 3).to(tl.float32) * step


@triton.jit
def keys(v0, v1, LIMIT: tl.constexpr, MOST: tl.constexpr):
  """The keys of two logarithms: round((v - LIMIT) / step) + 3, bounded.

  What is computed here and in `logarithm` is wrong by less than a hundredth of
  a step.
  """
  scale: tl.constexpr = (1.0 - 3.0 / MOST) / (_TOP - LIMIT)
  shift: tl.constexpr = 3.0 / MOST - LIMIT * scale
  return _keys(v0, v1, scale, shift, MOST)


@triton.jit
def both_keys(pair):
  """(...,) pairs as (..., 2) int32."""
  return tl.join(pair & 65535, (pair >> 16) & 65535)


if triton_call.interpreted():

  @triton.jit
  def _keys(v0, v1, scale, shift, MOST: tl.constexpr):
    """The keys of two logarithms: rounded, 0 at least, MOST at most."""
    v0 = tl.minimum(tl.maximum(v0 * scale + shift, 0.0), 1.0) * MOST
    v1 = tl.minimum(tl.maximum(v1 * scale + shift, 0.0), 1.0) * MOST
    k0, k1 = (v0 + 0.5).to(tl.int32), (v1 + 0.5).to(tl.int32)
    return k0 | (k1 << 16)

  @triton.jit
  def larger(a, b, MOST: tl.constexpr):
    """The larger numbers of two pairs."""
    return tl.maximum(a & 65535, b & 65535) | (
      tl.maximum((a >> 16) & 65535, (b >> 16) & 65535) << 16
    )

  @triton.jit
  def smaller(a, b, MOST: tl.constexpr):
    """The smaller numbers of two pairs."""
    return tl.minimum(a & 65535, b & 65535) | (
      tl.minimum((a >> 16) & 65535, (b >> 16) & 65535) << 16
    )

else:

  @triton.jit
  def _keys(v0, v1, scale, shift, MOST: tl.constexpr):
    """The keys of two logarithms: rounded, 0 at least, MOST at most.

    A float from 128 to 256 has the fraction of 1 in its last 16 bits.
    """
    factor: tl.constexpr = MOST / 65536
    return tl.inline_asm_elementwise(
      "{.reg .f32 x, y;"
      " fma.rn.sat.f32 x, $1, $3, $4; fma.rn.f32 x, x, $5, 0f43000000;"
      " fma.rn.sat.f32 y, $2, $3, $4; fma.rn.f32 y, y, $5, 0f43000000;"
      " prmt.b32 $0, x, y, 0x5410;}",
      "=r,f,f,f,f,f",
      [v0, v1, scale, shift, factor],
      dtype=tl.int32,
      is_pure=True,
      pack=1,
    )

  @triton.jit
  def _packed(
    a, b, WIDE: tl.constexpr, NARROW: tl.constexpr, MOST: tl.constexpr
  ):
    """One of two instructions on pairs."""
    return tl.inline_asm_elementwise(
      WIDE if MOST > 32767 else NARROW,
      "=r,r,r",
      [a, b],
      dtype=tl.int32,
      is_pure=True,
      pack=1,
    )

  @triton.jit
  def larger(a, b, MOST: tl.constexpr):
    """The larger numbers of two pairs."""
    return _packed(a, b, "max.u16x2 $0, $1, $2;", "max.f16x2 $0, $1, $2;", MOST)

  @triton.jit
  def smaller(a, b, MOST: tl.constexpr):
    """The smaller numbers of two pairs."""
    return _packed(a, b, "min.u16x2 $0, $1, $2;", "min.f16x2 $0, $1, $2;", MOST)
