// Sixteen floats at once, whatever the registers hold: one of 64 bytes, two of
// 32 or four of 16. No include guard: foreach_isa.h includes this file once
// per instruction set, inside a namespace of its own.
//
// JAXGS_BYTES is the size of a register, JAXGS_AVX512 and JAXGS_AVX2 tell the
// instruction set.

#define JAXGS_INLINE static inline __attribute__((always_inline))

constexpr int kLanes = 16;
constexpr int kParts = 64 / JAXGS_BYTES;

typedef float Part __attribute__((vector_size(JAXGS_BYTES)));
typedef int32_t IntPart __attribute__((vector_size(JAXGS_BYTES)));

struct F {
  Part part[kParts];
};

// Unrolled by hand, so that the parts stay in registers: the compiler takes
// arrays apart only where it sees constant indices early.
#define JAXGS_DO(k, ...)   \
  {                        \
    constexpr int i = k;   \
    __VA_ARGS__            \
  }
#if JAXGS_BYTES == 64
#define JAXGS_EACH(...) JAXGS_DO(0, __VA_ARGS__)
#elif JAXGS_BYTES == 32
#define JAXGS_EACH(...) JAXGS_DO(0, __VA_ARGS__) JAXGS_DO(1, __VA_ARGS__)
#else
#define JAXGS_EACH(...)                             \
  JAXGS_DO(0, __VA_ARGS__) JAXGS_DO(1, __VA_ARGS__) \
  JAXGS_DO(2, __VA_ARGS__) JAXGS_DO(3, __VA_ARGS__)
#endif

JAXGS_INLINE F Splat(float x) {
  F out;
  // Not 0 + x: that would have to turn -0 into 0.
  JAXGS_EACH(out.part[i] = x - Part{};)
  return out;
}

JAXGS_INLINE F Load(const float* from) {
  F out;
  JAXGS_EACH(std::memcpy(&out.part[i], from + i * kLanes / kParts,
                         sizeof(Part));)
  return out;
}

JAXGS_INLINE void Store(F x, float* to) {
  JAXGS_EACH(std::memcpy(to + i * kLanes / kParts, &x.part[i], sizeof(Part));)
}

#define JAXGS_OPERATOR(op)                                       \
  JAXGS_INLINE F operator op(F a, F b) {                         \
    JAXGS_EACH(a.part[i] = a.part[i] op b.part[i];)               \
    return a;                                                    \
  }
JAXGS_OPERATOR(+)
JAXGS_OPERATOR(-)
JAXGS_OPERATOR(*)
JAXGS_OPERATOR(/)
#undef JAXGS_OPERATOR

// a b + c, rounded once where the machine can. The compiler contracts nothing
// by itself (-ffp-contract=off): two places that evaluate one weight must agree
// to the last bit.
JAXGS_INLINE F Fma(F a, F b, F c) {
#if JAXGS_AVX512
  a.part[0] = (Part)_mm512_fmadd_ps((__m512)a.part[0], (__m512)b.part[0],
                                    (__m512)c.part[0]);
#elif JAXGS_AVX2
  JAXGS_EACH(a.part[i] = (Part)_mm256_fmadd_ps(
                 (__m256)a.part[i], (__m256)b.part[i], (__m256)c.part[i]);)
#elif defined(__aarch64__)
  JAXGS_EACH(a.part[i] = (Part)vfmaq_f32((float32x4_t)c.part[i],
                                         (float32x4_t)a.part[i],
                                         (float32x4_t)b.part[i]);)
#else
  a = a * b + c;
#endif
  return a;
}

// The second argument where one is NaN.
JAXGS_INLINE F Max(F a, F b) {
#if JAXGS_AVX512
  a.part[0] = (Part)_mm512_max_ps((__m512)a.part[0], (__m512)b.part[0]);
#elif JAXGS_AVX2
  JAXGS_EACH(a.part[i] =
      (Part)_mm256_max_ps((__m256)a.part[i], (__m256)b.part[i]);)
#else
  JAXGS_EACH(a.part[i] = a.part[i] > b.part[i] ? a.part[i] : b.part[i];)
#endif
  return a;
}

JAXGS_INLINE F Min(F a, F b) {
#if JAXGS_AVX512
  a.part[0] = (Part)_mm512_min_ps((__m512)a.part[0], (__m512)b.part[0]);
#elif JAXGS_AVX2
  JAXGS_EACH(a.part[i] =
      (Part)_mm256_min_ps((__m256)a.part[i], (__m256)b.part[i]);)
#else
  JAXGS_EACH(a.part[i] = a.part[i] < b.part[i] ? a.part[i] : b.part[i];)
#endif
  return a;
}

#if JAXGS_AVX512

struct Mask {
  __mmask16 bits;
};

#define JAXGS_COMPARE(name, op)                                           \
  JAXGS_INLINE Mask name(F a, F b) {                                      \
    return {_mm512_cmp_ps_mask((__m512)a.part[0], (__m512)b.part[0], op)}; \
  }
JAXGS_COMPARE(Greater, _CMP_GT_OQ)
JAXGS_COMPARE(AtMost, _CMP_LE_OQ)
JAXGS_COMPARE(AtLeast, _CMP_GE_OQ)
JAXGS_COMPARE(Equal, _CMP_EQ_OQ)
#undef JAXGS_COMPARE

JAXGS_INLINE Mask operator&(Mask a, Mask b) {
  return {static_cast<__mmask16>(a.bits & b.bits)};
}
JAXGS_INLINE Mask operator|(Mask a, Mask b) {
  return {static_cast<__mmask16>(a.bits | b.bits)};
}
JAXGS_INLINE F Select(Mask mask, F a, F b) {
  b.part[0] = (Part)_mm512_mask_mov_ps((__m512)b.part[0], mask.bits,
                                       (__m512)a.part[0]);
  return b;
}
JAXGS_INLINE uint32_t Bits(Mask mask) { return mask.bits; }

#else

struct Mask {
  IntPart part[kParts];
};

#define JAXGS_COMPARE(name, op)                                        \
  JAXGS_INLINE Mask name(F a, F b) {                                   \
    Mask out;                                                          \
    JAXGS_EACH(out.part[i] = (IntPart)(a.part[i] op b.part[i]);)        \
    return out;                                                        \
  }
JAXGS_COMPARE(Greater, >)
JAXGS_COMPARE(AtMost, <=)
JAXGS_COMPARE(AtLeast, >=)
JAXGS_COMPARE(Equal, ==)
#undef JAXGS_COMPARE

JAXGS_INLINE Mask operator&(Mask a, Mask b) {
  JAXGS_EACH(a.part[i] &= b.part[i];)
  return a;
}
JAXGS_INLINE Mask operator|(Mask a, Mask b) {
  JAXGS_EACH(a.part[i] |= b.part[i];)
  return a;
}
JAXGS_INLINE F Select(Mask mask, F a, F b) {
  JAXGS_EACH(b.part[i] = (Part)((mask.part[i] & (IntPart)a.part[i]) |
                                (~mask.part[i] & (IntPart)b.part[i]));)
  return b;
}
JAXGS_INLINE uint32_t Bits(Mask mask) {
  uint32_t bits = 0;
#if JAXGS_AVX2
  JAXGS_EACH(bits |= static_cast<uint32_t>(_mm256_movemask_ps(
                         (__m256)mask.part[i]))
                     << (8 * i);)
#else
  int32_t lane[kLanes];
  std::memcpy(lane, &mask, sizeof(lane));
  for (int i = 0; i < kLanes; ++i) bits |= (lane[i] & 1u) << i;
#endif
  return bits;
}

#endif  // JAXGS_AVX512

JAXGS_INLINE bool Any(Mask mask) { return Bits(mask) != 0; }

JAXGS_INLINE F Clamp(F x, F low, F high) { return Min(Max(x, low), high); }

// Lanes added in a fixed order.
JAXGS_INLINE float Sum(F x) {
  typedef float Four __attribute__((vector_size(16)));
  alignas(64) float lanes[kLanes];
  Store(x, lanes);
  Four quarter[4];
  std::memcpy(quarter, lanes, sizeof(lanes));
  const Four sum = (quarter[0] + quarter[1]) + (quarter[2] + quarter[3]);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// 2^x, relative error under 2.5e-7, for x in [-126, 127]: the nearest integer
// goes to the exponent, and the minimax polynomial of degree 5 (fitted by
// iteratively reweighted least squares) takes the rest.
JAXGS_INLINE F Exp2(F x) {
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  const F magic = Splat(12582912.0f);
  const F shifted = x + magic;
  const F r = x - (shifted - magic);
  F y = Splat(0.0013276472f);
  y = Fma(y, r, Splat(0.009675541f));
  y = Fma(y, r, Splat(0.05550713f));
  y = Fma(y, r, Splat(0.2402212f));
  y = Fma(y, r, Splat(0.69314694f));
  y = Fma(y, r, Splat(1.0000001f));
  JAXGS_EACH(y.part[i] = (Part)((IntPart)y.part[i] +
                                ((IntPart)shifted.part[i] << 23));)
  return y;
}

#undef JAXGS_EACH
#undef JAXGS_DO
