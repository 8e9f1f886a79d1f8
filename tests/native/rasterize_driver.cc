// Sources: kernels/binning/cpu.cc
//
// Drives binning and rasteriser under the sanitizers: forward and backward,
// every tile size, sizes that no tile divides, several threads, then splats,
// lists and residuals of garbage, all in buffers of the exact size.

#include "rasterize/cpu.cc"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace jaxgs {
namespace {

uint64_t random_state = 88172645463325252u;

uint64_t Random() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

int64_t Below(int64_t n) { return static_cast<int64_t>(Random() % n); }

float Uniform(float low, float high) {
  return low + (high - low) * static_cast<float>(Below(1 << 20)) / (1 << 20);
}

template <size_t N>
int64_t Pick(const int64_t (&choices)[N]) {
  return choices[Below(N)];
}

void Check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "wrong: %s\n", what);
  std::exit(1);
}

// Runs `work` in a thread of its own: its scratch memory is new, so no larger
// than asked for.
template <typename Work>
void Afresh(const Work& work) {
  std::thread(work).join();
}

bool Same(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  return a.empty() ||
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct Problem {
  Spec spec;
  int64_t count, channels, height, width;
  std::vector<float> mean, conic, log_weight, feature, cotangent;
  std::vector<int32_t> ids, starts;

  Problem(const Spec& spec, int64_t count, int64_t channels, int64_t height,
          int64_t width)
      : spec(spec),
        count(count),
        channels(channels),
        height(height),
        width(width) {
    for (int64_t i = 0; i < count; ++i) {
      mean.push_back(Uniform(-9.0f, width + 9.0f));
      mean.push_back(Uniform(-9.0f, height + 9.0f));
      const float a = std::exp(Uniform(-6, 2)), c = std::exp(Uniform(-6, 2));
      conic.push_back(a);
      conic.push_back(Uniform(-1, 1) * std::sqrt(a * c));
      conic.push_back(c);
      log_weight.push_back(static_cast<float>(Below(4)));
      for (int64_t k = 0; k < channels; ++k) feature.push_back(Uniform(-1, 2));
    }
    // Equals next to each other.
    for (int64_t i = 1; i < count; i += 3) {
      std::copy_n(&mean[2 * i - 2], 2, &mean[2 * i]);
      std::copy_n(&conic[3 * i - 3], 3, &conic[3 * i]);
      log_weight[i] = log_weight[i - 1];
    }
    for (int64_t i = 0; i < height * width * channels; ++i) {
      cotangent.push_back(Uniform(-1, 1));
    }
    starts.assign(Tiles() + 1, 0);
  }

  int64_t Tiles() const {
    return (height + spec.tile - 1) / spec.tile *
           ((width + spec.tile - 1) / spec.tile);
  }
  Ellipses Shapes() const {
    return {mean.data(), conic.data(), log_weight.data(), count,
            height,      width,        spec.tile,         spec.cutoff};
  }
  Scene View() const {
    return {mean.data(),    conic.data(), log_weight.data(),
            feature.data(), count,        channels,
            height,         width,        ids.data(),
            starts.data(),  static_cast<int64_t>(ids.size())};
  }
  void Bin(const Executor& executor) {
    std::vector<int32_t> grown;
    BinSplats(Shapes(), executor, 1 << 30, nullptr, &grown, starts.data());
    ids = std::vector<int32_t>(grown.begin(), grown.end());
  }
};

struct Result {
  std::vector<float> image, threshold, total, pairs;
  std::vector<int32_t> place;
  std::vector<float> mean, conic, log_weight, feature;

  explicit Result(const Problem& p)
      : image(p.cotangent.size(), NAN),
        threshold(Kept(p), NAN),
        total(Kept(p), NAN),
        pairs(p.ids.size() * (6 + p.channels), NAN),
        place(Kept(p), -1),
        mean(p.mean.size(), NAN),
        conic(p.conic.size(), NAN),
        log_weight(p.log_weight.size(), NAN),
        feature(p.feature.size(), NAN) {}

  static int64_t Kept(const Problem& p) {
    return p.spec.norm ? p.Tiles() * p.spec.tile * p.spec.tile : 0;
  }

  void Draw(const Problem& p, const Executor& executor) {
    Forward(p.spec, executor, {p.View()},
            {{image.data(), threshold.data(), place.data(),
              p.spec.norm ? total.data() : nullptr}});
  }

  void Differentiate(const Problem& p, const Executor& executor) {
    Backward(p.spec, executor, {p.View()},
             {{p.cotangent.data(), image.data(), threshold.data(),
               place.data(), total.data(), pairs.data()}},
             {{mean.data(), conic.data(), log_weight.data(), feature.data()}});
  }
};

Problem RandomProblem(int64_t most) {
  const Spec spec{Below(2) == 0,
                  static_cast<int32_t>(Pick({0, 1, 2, 10, 11, 40, 255})),
                  Uniform(1.0f, 8.0f),
                  Below(2) == 0,
                  1e-4f,
                  static_cast<int32_t>(Pick({4, 8, 16, 32}))};
  // One tile often: its list needs all the memory there is.
  const int64_t side = Below(2) ? spec.tile : 70;
  return Problem(spec, Below(most), Pick({0, 1, 2, 3, 4, 5, 17}),
                 1 + Below(side), 1 + Below(side));
}

void ThreadsAgree() {
  for (int round = 0; round < 60; ++round) {
    Problem one = RandomProblem(200), many = one;
    one.Bin(Executor(1));
    many.Bin(Executor(3));
    Check(one.ids == many.ids && one.starts == many.starts, "lists");
    Check(Valid(one.View(), one.Tiles()), "lists are valid");
    Result a(one), b(one);
    Afresh([&] {
      a.Draw(one, Executor(1));
      b.Draw(one, Executor(3));
    });
    Afresh([&] {
      a.Differentiate(one, Executor(1));
      b.Differentiate(one, Executor(3));
    });
    Check(Same(a.image, b.image) && Same(a.total, b.total), "picture");
    Check(Same(a.mean, b.mean) && Same(a.conic, b.conic) &&
              Same(a.log_weight, b.log_weight) && Same(a.feature, b.feature),
          "gradient");
    for (float x : a.image) Check(std::isfinite(x), "picture is finite");
    for (float x : a.mean) Check(std::isfinite(x), "gradient is finite");
    const Spec& spec = one.spec;
    std::vector<float> drawn(one.cotangent.size(), NAN);
    Check(jaxgs_draw(one.mean.data(), one.conic.data(), one.log_weight.data(),
                     one.feature.data(), one.count, one.channels, one.height,
                     one.width, !spec.norm, spec.top_k, spec.cutoff,
                     spec.smooth_edge, spec.epsilon, spec.tile, 2,
                     drawn.data()) == 0,
          "draw");
    Check(Same(a.image, drawn), "drawn without lists from outside");
  }
}

void LongList() {
  for (int64_t tile : {4, 32}) {
    const Spec spec{true, 10, 6.0f, true, 1e-4f, static_cast<int32_t>(tile)};
    Problem problem(spec, 20000, 3, tile, tile);
    problem.Bin(Executor(1));
    Result result(problem);
    Afresh([&] { result.Draw(problem, Executor(1)); });
    Afresh([&] { result.Differentiate(problem, Executor(1)); });
    Check(std::isfinite(result.image[0]), "picture of a long list");
  }
}

// Lists that have no room, from several threads.
void Overflow() {
  const Problem problem({true, 10, 6.0f, true, 1e-4f, 8}, 4000, 1, 70, 50);
  const int64_t most = INT64_C(1) << 40;
  std::vector<int32_t> all, starts(problem.Tiles() + 1);
  const int64_t pairs = BinSplats(problem.Shapes(), Executor(1), most, nullptr,
                                  &all, starts.data());
  Check(pairs <= CountBoxes(problem.Shapes()), "bound of the pairs");
  for (int64_t capacity : {int64_t{0}, int64_t{1}, pairs / 2, pairs - 1}) {
    std::vector<int32_t> ids[2], found[2];
    for (int k = 0; k < 2; ++k) {
      ids[k].assign(capacity, -1);
      found[k].assign(problem.Tiles() + 1, -1);
      Check(BinSplats(problem.Shapes(), Executor(1 + 2 * k), capacity,
                      ids[k].data(), nullptr, found[k].data()) > capacity,
            "overflow is told");
      Check(std::is_sorted(found[k].begin(), found[k].end()) &&
                found[k].back() == capacity,
            "starts of an overflow");
      for (int32_t id : ids[k]) Check(id >= 0 && id < 4000, "ids");
    }
    Check(ids[0] == ids[1] && found[0] == found[1], "overflow by threads");
  }
}

void Spoil(std::vector<float>* values) {
  const float choices[] = {NAN,    INFINITY, -INFINITY, 0.0f,  -0.0f,  1e-40f,
                           -1e-40f, 3e38f,   -3e38f,    1e20f, -1e-20f, -1.0f};
  for (float& value : *values) {
    if (Below(4) == 0) value = choices[Below(12)];
  }
}

void Spoil(std::vector<int32_t>* values, int64_t bound) {
  for (int32_t& value : *values) {
    if (Below(4)) continue;
    value = static_cast<int32_t>(
        Pick({-1, 0, bound - 1, bound, INT32_MIN, INT32_MAX}));
  }
}

void Garbage() {
  for (int round = 0; round < 300; ++round) {
    Problem problem = RandomProblem(60);
    for (auto* leaf : {&problem.mean, &problem.conic, &problem.log_weight,
                       &problem.feature, &problem.cotangent}) {
      if (Below(2)) Spoil(leaf);
    }
    CountBoxes(problem.Shapes());
    problem.Bin(Executor(1 + Below(2)));
    for (int32_t id : problem.ids) Check(id < problem.count, "garbage's ids");
    if (Below(2)) {
      // Lists that hold everything, whatever the binning thinks of it.
      problem.ids.resize(Below(200));
      for (int32_t& id : problem.ids) {
        id = static_cast<int32_t>(Below(problem.count + 2));
      }
      for (int32_t& start : problem.starts) {
        start = static_cast<int32_t>(Below(problem.ids.size() + 1));
      }
      std::sort(problem.starts.begin(), problem.starts.end());
    }
    Spoil(&problem.ids, problem.count);
    if (Below(4) == 0) Spoil(&problem.starts, problem.ids.size());
    // What the handlers do with starts that do not ascend.
    if (!Valid(problem.View(), problem.Tiles())) continue;
    const Executor executor(1 + Below(3));
    Result result(problem);
    Afresh([&] { result.Draw(problem, executor); });
    for (auto* leaf : {&result.image, &result.threshold, &result.total}) {
      if (Below(4) == 0) Spoil(leaf);
    }
    Spoil(&result.place, INT32_MAX);
    Afresh([&] { result.Differentiate(problem, executor); });
  }
}

void BadStarts() {
  Problem problem({true, 10, 6.0f, true, 1e-4f, 8}, 50, 1, 30, 30);
  problem.Bin(Executor(1));
  const int64_t tiles = problem.Tiles();
  const std::vector<int32_t> good = problem.starts;
  for (int64_t place : {int64_t{0}, int64_t{3}, tiles}) {
    for (int32_t wrong : {-1, INT32_MIN, INT32_MAX}) {
      problem.starts = good;
      problem.starts[place] = wrong;
      Check(!Valid(problem.View(), tiles), "wrong starts are found");
    }
  }
}

// Threads that come too late, or never, and work that throws.
void Executors() {
  std::vector<std::function<void()>> late;
  {
    std::vector<int> done(100, 0);
    Executor(4, [&](std::function<void()> task) {
      late.push_back(std::move(task));
    }).For(100, [&](int64_t i) { ++done[i]; });
    Check(done == std::vector<int>(100, 1), "work of absent threads");
  }
  Check(late.size() == 3, "threads asked for");
  for (const auto& task : late) task();
  for (int threads : {1, 4}) {
    bool thrown = false;
    try {
      Executor(threads).For(100, [](int64_t i) {
        if (i % 10 == 3) throw std::runtime_error("work");
      });
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    Check(thrown, "an exception arrives");
  }
  std::atomic<int> done{0};
  Executor(4, [&](std::function<void()> task) {
    if (done >= 0) throw std::bad_alloc();
    task();
  }).For(100, [&](int64_t) { ++done; });
  Check(done == 100, "no thread to be had");
}

}  // namespace
}  // namespace jaxgs

int main() {
  jaxgs::ThreadsAgree();
  jaxgs::LongList();
  jaxgs::Overflow();
  jaxgs::Garbage();
  jaxgs::BadStarts();
  jaxgs::Executors();
  return 0;
}
