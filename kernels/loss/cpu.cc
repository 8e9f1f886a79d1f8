// The loss and its gradient for a CPU, block by block.

#include "cpu.h"

#include "../native/ffi.h"
#include "../native/isa.h"

namespace jaxgs {
namespace {

#define JAXGS_KERNEL "../loss/cpu_block.h"
#include "../native/foreach_isa.h"

// Rows and floats of a block: with the windows' margins its rings stay in the
// second-level cache, and the margins stay a small part of the work. The sums
// depend on this cut, so it does not depend on the number of threads.
constexpr int64_t kBlockRows = 256, kBlockColumns = 768;

// Scratch memory of a thread, in whole vectors.
float* Scratch(int64_t floats) {
  struct alignas(64) Vector {
    float lane[16];
  };
  static thread_local std::vector<Vector> memory;
  memory.resize(std::max<size_t>(memory.size(), floats / 16 + 1));
  return memory.data()->lane;
}

LossSums Evaluate(const LossTask& task, const Executor& executor) {
  const Taps taps;
  const int64_t length = task.width * task.channels;
  // Whole pixels and whole vectors: only the last block of a row has lanes past
  // its end, and there the mask is 0.
  const int64_t whole = 16 * task.channels;
  const int64_t wide = std::max<int64_t>(kBlockColumns / whole, 1) * whole;
  const int64_t across = (length + wide - 1) / wide;
  const int64_t down = (task.height + kBlockRows - 1) / kBlockRows;
  std::vector<LossSums> parts(across * down);
  executor.For(across * down, [&](int64_t item) {
    const int64_t top = item / across * kBlockRows;
    const int64_t first = item % across * wide;
    const int64_t bottom = std::min(top + kBlockRows, task.height);
    const int64_t count = std::min(wide, length - first);
    float* memory =
        Scratch(JAXGS_DISPATCH(Block::Size, count, task.channels));
    parts[item] = JAXGS_DISPATCH(LossOfBlock, task, taps, top, bottom, first,
                                 count, memory);
  });
  LossSums sums;
  for (const LossSums& part : parts) {
    sums.l1 += part.l1;
    sums.l2 += part.l2;
    sums.ssim += part.ssim;
  }
  return sums;
}

// What the means divide by: the sum of the mask, or 1 if that is 0.
double Total(const float* mask, int64_t pixels, int64_t channels) {
  double sum = static_cast<double>(pixels);
  if (mask) {
    sum = 0.0;
    for (int64_t i = 0; i < pixels; ++i) sum += mask[i];
  }
  return sum > 0.0 ? sum * channels : 1.0;
}

ffi::Error LossHandler(ffi::ThreadPool pool, FloatIn rendered, FloatIn target,
                       FloatIn mask, FloatOut loss, FloatOut mse,
                       FloatOut gradient, float l1, float l2, float ssim) {
  return Guarded([&] {
    const Executor executor = PoolExecutor(pool);
    const int64_t height = Axis(rendered, 3), width = Axis(rendered, 2);
    const int64_t channels = Axis(rendered, 1), pixels = height * width;
    const int64_t size = pixels * channels;
    for (int64_t b = 0; b < BatchOf(rendered, 3); ++b) {
      const float* weights =
          mask.element_count() ? mask.typed_data() + b * pixels : nullptr;
      float* slope = gradient->element_count()
                         ? gradient->typed_data() + b * size
                         : nullptr;
      const double total = Total(weights, pixels, channels);
      const LossTask task{rendered.typed_data() + b * size,
                          target.typed_data() + b * size,
                          weights,
                          slope,
                          height,
                          width,
                          channels,
                          static_cast<float>(l1 / total),
                          static_cast<float>(l2 / total),
                          static_cast<float>(ssim / total)};
      const LossSums sums = Evaluate(task, executor);
      // The mean of 1 - SSIM: what the mask leaves of 1, less the sum.
      double ones = static_cast<double>(size);
      if (weights) {
        ones = 0.0;
        for (int64_t i = 0; i < pixels; ++i) ones += weights[i];
        ones *= channels;
      }
      double value = l1 * sums.l1 + l2 * sums.l2;
      if (ssim > 0.0f) value += ssim * (ones - sums.ssim);
      loss->typed_data()[b] = static_cast<float>(value / total);
      mse->typed_data()[b] = static_cast<float>(sums.l2 / total);
    }
    return ffi::Error::Success();
  });
}

}  // namespace
}  // namespace jaxgs

#pragma GCC visibility push(default)
extern "C" {

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxgs_ffi_image_loss, jaxgs::LossHandler,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Ret<jaxgs::FloatIn>()
                                  .Ret<jaxgs::FloatIn>()
                                  .Ret<jaxgs::FloatIn>()
                                  .Attr<float>("l1")
                                  .Attr<float>("l2")
                                  .Attr<float>("ssim"));

}  // extern "C"
#pragma GCC visibility pop
