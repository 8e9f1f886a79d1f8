// Which instruction set to use.
#ifndef JAXGS_NATIVE_ISA_H_
#define JAXGS_NATIVE_ISA_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#if defined(__x86_64__)
// Its registers of any content are meant to be so.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace jaxgs {

enum class Isa { kBaseline, kAvx2, kAvx512 };

// The best that the machine has, or a lesser one that JAXGS_ISA names
// ("baseline", "avx2"): for tests.
inline Isa ChooseIsa() {
#if defined(__x86_64__)
  const char* asked = std::getenv("JAXGS_ISA");
  if (asked && std::strcmp(asked, "baseline") == 0) return Isa::kBaseline;
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw");
  if (avx512 && !(asked && std::strcmp(asked, "avx2") == 0)) {
    return Isa::kAvx512;
  }
  if (avx2) return Isa::kAvx2;
#endif
  return Isa::kBaseline;
}

inline Isa BestIsa() {
  static const Isa isa = ChooseIsa();
  return isa;
}

}  // namespace jaxgs

// Calls `function`, of the namespace that suits the machine.
#if defined(__x86_64__)
#define JAXGS_DISPATCH(function, ...)                       \
  (::jaxgs::BestIsa() == ::jaxgs::Isa::kAvx512              \
       ? isa_avx512::function(__VA_ARGS__)                  \
   : ::jaxgs::BestIsa() == ::jaxgs::Isa::kAvx2              \
       ? isa_avx2::function(__VA_ARGS__)                    \
       : isa_baseline::function(__VA_ARGS__))
#else
#define JAXGS_DISPATCH(function, ...) isa_baseline::function(__VA_ARGS__)
#endif

#endif  // JAXGS_NATIVE_ISA_H_
