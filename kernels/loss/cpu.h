// The loss's arguments as plain arrays.
#ifndef JAXGS_LOSS_CPU_H_
#define JAXGS_LOSS_CPU_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace jaxgs {

// Side of the window of SSIM, and how far it reaches.
constexpr int kWindow = 11, kReach = 5;

struct LossTask {
  const float* rendered;  // H, W, C.
  const float* target;    // H, W, C.
  const float* mask;      // H, W or null.
  float* gradient;        // H, W, C or null.
  int64_t height, width, channels;
  // Weights of the terms, each over the sum of the mask.
  float l1, l2, ssim;
};

// Sums over a part of the picture.
struct LossSums {
  double l1 = 0.0, l2 = 0.0, ssim = 0.0;
};

// The window's taps: a Gaussian of sigma 1.5 px whose sum is 1.
struct Taps {
  Taps() {
    double sum = 0.0, tap[kWindow];
    for (int k = 0; k < kWindow; ++k) {
      const double x = (k - kReach) / 1.5;
      sum += tap[k] = std::exp(-0.5 * x * x);
    }
    for (int k = 0; k < kWindow; ++k) {
      value[k] = static_cast<float>(tap[k] / sum);
    }
  }
  float value[kWindow];
};

}  // namespace jaxgs

#endif  // JAXGS_LOSS_CPU_H_
