"""What the Triton kernels of the rasteriser share.

A splat comes as a row of a table of 16-byte pieces: centre (x, y), numbers (-p,
q, r) for its conic, and log-weight, such that the base-2 logarithm of its
weight is log_weight - p dx^2 - (q dx + r dy)^2; then its features. The last row
is of no splat and has weight 0.

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005

import triton
import triton.language as tl
from jaxgs.kernels import triton_call

if triton_call.interpreted():

  @triton.jit
  def exp2(x):
    """2^x."""
    return tl.exp2(x)

  @triton.jit
  def load4(pointer):
    """Four floats from a 16-byte boundary on."""
    return (
      tl.load(pointer),
      tl.load(pointer + 1),
      tl.load(pointer + 2),
      tl.load(pointer + 3),
    )

  @triton.jit
  def load2(pointer):
    """Two floats from an 8-byte boundary on."""
    return tl.load(pointer), tl.load(pointer + 1)

  @triton.jit
  def row_of(table, n, R: tl.constexpr):
    """Pointer to row n of the table."""
    return table + n.to(tl.int64) * R

  @triton.jit
  def less_square(x, root):
    """Returns x - root^2, rounded once."""
    return tl.fma(-root, root, x)

else:

  @triton.jit
  def exp2(x):
    """2^x, 0 for what would be denormal: tl.exp2 spends a third on them."""
    return tl.inline_asm_elementwise(
      "ex2.approx.ftz.f32 $0, $1;",
      "=f,f",
      [x],
      dtype=tl.float32,
      is_pure=True,
      pack=1,
    )

  @triton.jit
  def load4(pointer):
    """Four floats from a 16-byte boundary on, in one instruction."""
    return tl.inline_asm_elementwise(
      "ld.global.nc.v4.f32 {$0, $1, $2, $3}, [$4];",
      "=f,=f,=f,=f,l",
      [pointer.to(tl.int64)],
      dtype=(tl.float32, tl.float32, tl.float32, tl.float32),
      is_pure=True,
      pack=1,
    )

  @triton.jit
  def load2(pointer):
    """Two floats from an 8-byte boundary on, in one instruction."""
    return tl.inline_asm_elementwise(
      "ld.global.nc.v2.f32 {$0, $1}, [$2];",
      "=f,=f,l",
      [pointer.to(tl.int64)],
      dtype=(tl.float32, tl.float32),
      is_pure=True,
      pack=1,
    )

  @triton.jit
  def row_of(table, n, R: tl.constexpr):
    """Pointer to row n of the table, in one instruction instead of three."""
    size: tl.constexpr = 4 * R
    row = tl.inline_asm_elementwise(
      "mad.wide.s32 $0, $1, $2, $3;",
      "=l,r,r,l",
      [n, size, table.to(tl.int64)],
      dtype=tl.int64,
      is_pure=True,
      pack=1,
    )
    return row.to(tl.pointer_type(tl.float32))

  @triton.jit
  def less_square(x, root):
    """Returns x - root^2, rounded once: the sign takes no instruction so."""
    return tl.inline_asm_elementwise(
      "{.reg .f32 t; neg.f32 t, $2; fma.rn.f32 $0, t, $2, $1;}",
      "=f,f,f",
      [x, root],
      dtype=tl.float32,
      is_pure=True,
      pack=1,
    )


@triton.jit
def as_int(x):
  """The int32 with the bits of x: `load4` takes all for floats."""
  return x.to(tl.int32, bitcast=True)


@triton.jit
def filled(value, count: tl.constexpr):
  """A tuple of `count` times the value."""
  values = (value,)
  for _ in tl.static_range(1, count):
    values = values + (value,)
  return values


@triton.jit
def load_row(row, COUNT: tl.constexpr):
  """The first COUNT floats of a splat's row, at least 6, and no more.

  All lanes get the same: what is loaded is what the cache has to hand out 32
  times.
  """
  values = load4(row)
  for k in tl.static_range(4, COUNT - 3, 4):
    values = values + load4(row + k)
  if COUNT % 4 >= 2:
    values = values + load2(row + COUNT // 4 * 4)
  if COUNT % 2 == 1:
    values = values + (tl.load(row + COUNT - 1),)
  return values


@triton.jit
def log2_weight(column, q_dx, r, dy):
  """log_weight - p dx^2 (given as a sum) - (q dx + r dy)^2.

  Never over the log-weight, for the ellipse comes as a sum of squares. Every
  kernel must get the same bits here, or a weight that equals the threshold
  would be blended in one and not in the other. So additions are fused with
  multiplications by hand, and none is left to the compiler.
  """
  return less_square(column, tl.fma(r, dy, q_dx))


@triton.jit
def length_class(starts, tile, mask, T: tl.constexpr):
  """How long a tile's list is: 2 long, 1 longer than most, 0 others.

  The last tiles keep a GPU waiting, and one with a long list for longest, so
  these go first. (At 768x512 with N = 10000 the mean list has 19 entries, the
  longest 89.)

  Arrays and constants:
    starts: (T + 1,), of one image.
    tile: Tiles to ask about.
    mask: No load, and -1, where this is false.
  """
  first = tl.load(starts + tile, mask=mask, other=0)
  last = tl.load(starts + tile + 1, mask=mask, other=0)
  mean = tl.load(starts + T) // T
  length = last - first
  # Where all lists are long, few are longer than others.
  long = length > tl.maximum(32, mean + mean // 2)
  kind = tl.where(long, 2, (length > mean).to(tl.int32))
  if T >= 2097152:
    # See `length_counts`: of so many tiles none keeps a GPU waiting.
    kind = tl.minimum(kind, 1)
  return tl.where(mask, kind, -1)


@triton.jit
def length_counts(kind, T: tl.constexpr):
  """One tile, to be added to the count of its class; 0 for class -1.

  The counts stand side by side in 64 bits: one addition serves all.
  """
  bits: tl.constexpr = 21 if T < 2097152 else 31
  one = tl.full(kind.shape, 1, tl.int64) << (bits * tl.maximum(kind, 0))
  return tl.where(kind < 0, 0, one)


@triton.jit
def length_count(counts, kind, T: tl.constexpr):
  """How many tiles of a class there are, of a sum of `length_counts`."""
  bits: tl.constexpr = 21 if T < 2097152 else 31
  mask: tl.constexpr = 2097151 if T < 2097152 else 2147483647
  return ((counts >> (bits * kind)) & mask).to(tl.int32)
