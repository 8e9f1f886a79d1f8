// What the XLA FFI handlers share.
#ifndef JAXGS_NATIVE_FFI_H_
#define JAXGS_NATIVE_FFI_H_

#include <cstdint>
#include <exception>
#include <functional>
#include <new>
#include <string>
#include <utility>

#include "parallel.h"
#include "threads.h"
#include "xla/ffi/api/ffi.h"

namespace jaxgs {

namespace ffi = ::xla::ffi;

using FloatIn = ffi::Buffer<ffi::F32>;
using IntIn = ffi::Buffer<ffi::S32>;
using FloatOut = ffi::Result<ffi::Buffer<ffi::F32>>;
using IntOut = ffi::Result<ffi::Buffer<ffi::S32>>;

// An executor over XLA's threads.
inline Executor PoolExecutor(ffi::ThreadPool pool) {
  return Executor(NumThreads(), [pool](std::function<void()> task) mutable {
    pool.Schedule(std::move(task));
  });
}

// The product of all axes but the last `inner`: vmap puts its axes in front.
template <typename B>
int64_t BatchOf(const B& buffer, int inner) {
  const auto dimensions = buffer.dimensions();
  int64_t batch = 1;
  for (size_t i = 0; i + inner < dimensions.size(); ++i) batch *= dimensions[i];
  return batch;
}

// The axis counted from the last.
template <typename B>
int64_t Axis(const B& buffer, int from_last) {
  const auto dimensions = buffer.dimensions();
  return dimensions[dimensions.size() - from_last];
}

// Runs `work`; no exception may leave a handler.
template <typename Work>
ffi::Error Guarded(const Work& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                      "jaxgs: out of memory");
  } catch (const std::exception& error) {
    return ffi::Error::Internal(std::string("jaxgs: ") + error.what());
  }
}

}  // namespace jaxgs

#endif  // JAXGS_NATIVE_FFI_H_
