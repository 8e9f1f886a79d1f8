// Compiles JAXGS_KERNEL, a file, once per instruction set, each in a namespace
// of its own; `Best` names the one that this machine runs fastest. No include
// guard: a source includes this once, from its own namespace.
//
// On x86 a function of a namespace may use what its pragma allows; the rest of
// the library runs anywhere.

#if defined(__x86_64__)

namespace isa_baseline {
#define JAXGS_BYTES 16
#define JAXGS_AVX2 0
#define JAXGS_AVX512 0
#include "simd.h"
#include JAXGS_KERNEL
#undef JAXGS_BYTES
#undef JAXGS_AVX2
#undef JAXGS_AVX512
}  // namespace isa_baseline

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
namespace isa_avx2 {
#define JAXGS_BYTES 32
#define JAXGS_AVX2 1
#define JAXGS_AVX512 0
#include "simd.h"
#include JAXGS_KERNEL
#undef JAXGS_BYTES
#undef JAXGS_AVX2
#undef JAXGS_AVX512
}  // namespace isa_avx2
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), \
    apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target( \
    "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,prefer-vector-width=512")
#endif
namespace isa_avx512 {
#define JAXGS_BYTES 64
#define JAXGS_AVX2 1
#define JAXGS_AVX512 1
#include "simd.h"
#include JAXGS_KERNEL
#undef JAXGS_BYTES
#undef JAXGS_AVX2
#undef JAXGS_AVX512
}  // namespace isa_avx512
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else  // Other processors have one set, with registers of 16 bytes (NEON).

namespace isa_baseline {
#define JAXGS_BYTES 16
#define JAXGS_AVX2 0
#define JAXGS_AVX512 0
#include "simd.h"
#include JAXGS_KERNEL
#undef JAXGS_BYTES
#undef JAXGS_AVX2
#undef JAXGS_AVX512
}  // namespace isa_baseline

#endif

#undef JAXGS_KERNEL
