"""The 32 lanes of a warp by hand: matrix products without a trip to memory.

In a program of n warps an array of shape (32 n,) is one register per lane, lane
i of warp k holding element 32 k + i. So the fragments of the tensor cores'
instructions (PTX ISA, "Matrix fragments for mma.m16n8k8") can be written down
as such arrays.
Of lane 4 g + t, in a product of a 16x8 matrix A and an 8x8 matrix B:

  a:   A[g, t], A[g + 8, t], A[g, t + 4], A[g + 8, t + 4]
  b:   B[t, g], B[t + 4, g]
  sum: S[g, 2 t], S[g, 2 t + 1], S[g + 8, 2 t], S[g + 8, 2 t + 1]

Only imported once a kernel is needed: this needs the package triton.
"""

# Triton unpacks no tuples: they are added.
# ruff: noqa: RUF005
import triton
import triton.language as tl
from jaxgs.kernels import triton_call

if triton_call.interpreted():

  @triton.jit
  def _as_read(x):
    """What the tensor cores take of x: the first 11 bits of its mantissa."""
    return (x.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)

  @triton.jit
  def split(x):
    """Two floats of sum x for the tensor cores, which take 11 bits of each.

    2^-22 of x is lost, and always to the same side.
    """
    high = _as_read(x)
    return high, x - high

  @triton.jit
  def split_evenly(x):
    """As `split`, but what is lost is as often on one side as on the other."""
    bits = (x.to(tl.int32, bitcast=True) + 4096) & -8192
    high = bits.to(tl.float32, bitcast=True)
    return high, x - high

  @triton.jit
  def greater(x, y):
    """1.0 where x > y, else 0.0."""
    return tl.where(x > y, 1.0, 0.0)

  @triton.jit
  def _product(a0, a1, b0, b1):
    """8 rows of the product: what a lane has of its row."""
    n: tl.constexpr = a0.shape[0] // 32
    a0, a1 = _as_read(a0), _as_read(a1)
    b0, b1 = _as_read(b0), _as_read(b1)
    a0, a1 = tl.reshape(a0, [n, 8, 1, 4]), tl.reshape(a1, [n, 8, 1, 4])
    b0, b1 = tl.reshape(b0, [n, 1, 8, 4]), tl.reshape(b1, [n, 1, 8, 4])
    both = tl.sum(a0 * b0 + a1 * b1, axis=3)
    even, odd = tl.split(tl.reshape(both, [n, 8, 4, 2]))
    return tl.reshape(even, [32 * n]), tl.reshape(odd, [32 * n])

  @triton.jit
  def multiply_add(total, a, b):
    """Returns total + A B: 16x8 by 8x8; 4, 4 and 2 arrays."""
    s0, s1 = _product(a[0], a[2], b[0], b[1])
    s2, s3 = _product(a[1], a[3], b[0], b[1])
    return total[0] + s0, total[1] + s1, total[2] + s2, total[3] + s3

  @triton.jit
  def multiply_add_half(total, a, b):
    """Returns total + A B: 16x4 by 4x8; 4, 2 arrays and 1."""
    zero = tl.zeros_like(b)
    return multiply_add(total, (a[0], a[1], zero, zero), (b, zero))

else:

  @triton.jit
  def split(x):
    """Two floats of sum x for the tensor cores, which take 11 bits of each.

    2^-22 of x is lost, and always to the same side. By hand: a compiler would
    fuse the difference with what makes x, which takes one instruction more.
    """
    return tl.inline_asm_elementwise(
      "and.b32 $0, $2, 0xffffe000; sub.rn.f32 $1, $2, $0;",
      "=&f,=f,f",
      [x],
      dtype=(tl.float32, tl.float32),
      is_pure=True,
      pack=1,
    )

  @triton.jit
  def split_evenly(x):
    """As `split`, but what is lost is as often on one side as on the other."""
    return tl.inline_asm_elementwise(
      "add.u32 $0, $2, 4096; and.b32 $0, $0, 0xffffe000;"
      " sub.rn.f32 $1, $2, $0;",
      "=&f,=f,f",
      [x],
      dtype=(tl.float32, tl.float32),
      is_pure=True,
      pack=1,
    )

  @triton.jit
  def greater(x, y):
    """1.0 where x > y, else 0.0: one instruction, not two."""
    return tl.inline_asm_elementwise(
      "set.gt.f32.f32 $0, $1, $2;",
      "=f,f,f",
      [x, y],
      dtype=tl.float32,
      is_pure=True,
      pack=1,
    )

  @triton.jit
  def multiply_add(total, a, b):
    """Returns total + A B: 16x8 by 8x8; 4, 4 and 2 arrays."""
    return tl.inline_asm_elementwise(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
      " {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};",
      "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f",
      [
        a[0].to(tl.int32, bitcast=True),
        a[1].to(tl.int32, bitcast=True),
        a[2].to(tl.int32, bitcast=True),
        a[3].to(tl.int32, bitcast=True),
        b[0].to(tl.int32, bitcast=True),
        b[1].to(tl.int32, bitcast=True),
        total[0],
        total[1],
        total[2],
        total[3],
      ],
      dtype=(tl.float32, tl.float32, tl.float32, tl.float32),
      is_pure=True,
      pack=1,
    )

  @triton.jit
  def multiply_add_half(total, a, b):
    """Returns total + A B: 16x4 by 4x8; 4, 2 arrays and 1."""
    return tl.inline_asm_elementwise(
      "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32"
      " {$0, $1, $2, $3}, {$4, $5}, {$6}, {$7, $8, $9, $10};",
      "=f,=f,=f,=f,r,r,r,f,f,f,f",
      [
        a[0].to(tl.int32, bitcast=True),
        a[1].to(tl.int32, bitcast=True),
        b.to(tl.int32, bitcast=True),
        total[0],
        total[1],
        total[2],
        total[3],
      ],
      dtype=(tl.float32, tl.float32, tl.float32, tl.float32),
      is_pure=True,
      pack=1,
    )


@triton.jit
def as_factor(total, EVENLY: tl.constexpr):
  """A sum as the first factor of a product, in the two parts of `split`.

  Its columns become rows of the second factor in the order 0, 2, 4, 6, 1, 3, 5,
  7, as a lane has them. If EVENLY the parts are those of `split_evenly`.
  """
  high, low = (), ()
  for k in tl.static_range(4):
    # 0, 2, 1, 3.
    value = total[k % 2 * 2 + k // 2]
    both = split_evenly(value) if EVENLY else split(value)
    high, low = high + (both[0],), low + (both[1],)
  return high, low
