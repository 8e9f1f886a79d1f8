// How many threads a call may use.
#ifndef JAXGS_NATIVE_THREADS_H_
#define JAXGS_NATIVE_THREADS_H_

#include <atomic>

namespace jaxgs {

// Set once by jaxgs.native from the cores that the process may use.
inline std::atomic<int>& NumThreads() {
  static std::atomic<int> threads{1};
  return threads;
}

}  // namespace jaxgs

#endif  // JAXGS_NATIVE_THREADS_H_
