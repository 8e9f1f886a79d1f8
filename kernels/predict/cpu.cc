// The sequential loops of jaxgs/codec/columns.py and angles.py: a value is
// predicted from values before it. What is wrong is found and said there; the
// functions here only return nonzero, whatever they are given.

#include <cstdint>

namespace {

constexpr int kNumNeighbours = 4;
constexpr int64_t kResidualMax = int64_t{1} << 50;
constexpr int64_t kStepMax = int64_t{1} << 28;

bool AllBefore(const int64_t* near, int64_t i, int64_t count) {
  for (int64_t k = 0; k < count; ++k) {
    if (near[k] < 0 || near[k] >= i) return false;
  }
  return true;
}

}  // namespace

#define JAXGS_EXPORT extern "C" __attribute__((visibility("default")))

// values[i] = residual[i] + floor((guess + (steps[i] >> 1)) / steps[i]) with
// guess = (sum of taps * values[near[i]] * steps[near[i]] + 8) >> 4, the first
// without prediction. Fails where a value times its step reaches the limit.
JAXGS_EXPORT int32_t jaxgs_restore(const int64_t* residual, const int64_t* near,
                                   const int64_t* taps, const int64_t* steps,
                                   int64_t count, int64_t limit,
                                   int64_t* values) {
  // So that no sum overflows.
  if (limit > kResidualMax) return 1;
  for (int k = 0; k < kNumNeighbours; ++k) {
    if (taps[k] < -256 || taps[k] > 256) return 1;
  }
  for (int64_t i = 0; i < count; ++i) {
    int64_t value = residual[i];
    if (value < -kResidualMax || value > kResidualMax) return 1;
    const int64_t step = steps[i];
    if (step < 1 || step > kStepMax) return 1;
    if (i > 0) {
      const int64_t* source = near + kNumNeighbours * i;
      if (!AllBefore(source, i, kNumNeighbours)) return 1;
      int64_t sum = 8;
      for (int k = 0; k < kNumNeighbours; ++k) {
        sum += taps[k] * values[source[k]] * steps[source[k]];
      }
      // Division rounds towards zero, the rule down.
      const int64_t guess = (sum >> 4) + (step >> 1);
      value += guess / step - (guess % step < 0);
    }
    // In this order: the product of what passes does not overflow.
    if (value <= -limit || value >= limit) return 1;
    if (value > (limit - 1) / step || value < -((limit - 1) / step)) return 1;
    values[i] = value;
  }
  return 0;
}

// values[i] = (turned[i] + values[s] * levels[i] / levels[s]) mod levels[i]
// with s = source[i * stride]; the first is turned[0] mod levels[0].
JAXGS_EXPORT int32_t jaxgs_restore_angles(const int64_t* turned,
                                          const int64_t* levels,
                                          const int64_t* source, int64_t stride,
                                          int64_t count, int64_t* values) {
  for (int64_t i = 0; i < count; ++i) {
    int64_t value = turned[i];
    if (levels[i] < 1 || levels[i] > (int64_t{1} << 30)) return 1;
    if (value < -kResidualMax || value > kResidualMax) return 1;
    if (i > 0) {
      const int64_t s = source[i * stride];
      if (s < 0 || s >= i) return 1;
      value += values[s] * levels[i] / levels[s];
    }
    value %= levels[i];
    values[i] = value < 0 ? value + levels[i] : value;
  }
  return 0;
}
