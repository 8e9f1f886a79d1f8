// Sources:
//
// Drives the loss under the sanitizers: sizes around its windows, vectors and
// blocks, several threads, and pictures of garbage, all in buffers of the exact
// size.

#include "loss/cpu.cc"

#include <cstdio>
#include <cstdlib>
#include <thread>

namespace jaxgs {
namespace {

uint64_t random_state = 88172645463325252u;

float Random() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return static_cast<float>(random_state >> 40) / (1 << 24);
}

void Check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "wrong: %s\n", what);
  std::exit(1);
}

struct Shape {
  int64_t height, width, channels;
};

void Evaluated(const Shape& shape, bool masked, bool ssim, bool garbage) {
  const int64_t size = shape.height * shape.width * shape.channels;
  std::vector<float> rendered, target, mask;
  const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, 1e-40f, 1e20f};
  for (int64_t i = 0; i < size; ++i) {
    rendered.push_back(Random());
    target.push_back(Random());
    if (garbage && Random() < 0.1f) {
      rendered.back() = odd[static_cast<int>(Random() * 6)];
    }
  }
  if (masked) {
    mask.resize(shape.height * shape.width);
    for (float& weight : mask) weight = std::max(Random() * 2 - 1, 0.0f);
  }
  LossSums sums[2];
  std::vector<float> gradient[2];
  for (int k = 0; k < 2; ++k) {
    gradient[k].assign(size, NAN);
    const LossTask task{rendered.data(),
                        target.data(),
                        masked ? mask.data() : nullptr,
                        gradient[k].data(),
                        shape.height,
                        shape.width,
                        shape.channels,
                        0.8f,
                        0.5f,
                        ssim ? 0.2f : 0.0f};
    // A new thread has new scratch memory, no larger than asked for.
    std::thread([&] { sums[k] = Evaluate(task, Executor(1 + 2 * k)); }).join();
    LossTask value = task;
    value.gradient = nullptr;
    const LossSums again = Evaluate(value, Executor(1));
    Check(std::memcmp(&again, &sums[k], sizeof(again)) == 0,
          "value without the gradient");
  }
  Check(std::memcmp(&sums[0], &sums[1], sizeof(sums[0])) == 0, "threads: sums");
  Check(std::memcmp(gradient[0].data(), gradient[1].data(),
                    size * sizeof(float)) == 0,
        "threads: gradient");
  if (garbage) return;
  Check(std::isfinite(sums[0].l1 + sums[0].l2 + sums[0].ssim), "value");
  for (float x : gradient[0]) Check(std::isfinite(x), "gradient is written");
}

}  // namespace
}  // namespace jaxgs

int main() {
  for (const jaxgs::Shape& shape : {jaxgs::Shape{1, 1, 1},
                                    {5, 3, 4},
                                    {11, 16, 1},
                                    {3, 300, 3},
                                    {7, 257, 3},
                                    {270, 6, 1},
                                    {2, 5, 90}}) {
    for (int k = 0; k < 8; ++k) jaxgs::Evaluated(shape, k & 1, k & 2, k & 4);
  }
  return 0;
}
