// The rasteriser for a CPU: who draws which tile, and the ways in from XLA and
// from plain C.

#include "cpu.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "../binning/cpu.h"
#include "../native/ffi.h"
#include "../native/isa.h"

namespace jaxgs {
namespace {

#define JAXGS_KERNEL "../rasterize/cpu_kernel.h"
#include "../native/foreach_isa.h"

// Calls work(picture, first tile, last tile) for all tiles of all pictures.
template <typename Work>
void ForTiles(const Executor& executor, int64_t batch, int64_t tiles,
              const Work& work) {
  // Small enough to share evenly, large enough to make handing out cheap.
  const int64_t share = std::clamp<int64_t>(
      batch * tiles / (16 * executor.threads()), 1, 64);
  const int64_t chunks = (tiles + share - 1) / share;
  executor.For(batch * chunks, [&](int64_t item) {
    const int64_t first = item % chunks * share;
    work(item / chunks, first, std::min(first + share, tiles));
  });
}

void Forward(const Spec& spec, const Executor& executor,
             const std::vector<Scene>& scenes,
             const std::vector<Picture>& pictures) {
  ForTiles(executor, scenes.size(), scenes[0].num_tiles(spec),
           [&](int64_t b, int64_t first, int64_t last) {
             JAXGS_DISPATCH(ForwardTiles, spec, scenes[b], first, last,
                            pictures[b]);
           });
}

// The gradient of one picture's splats, as arrays like the splats'.
struct Gradient {
  float *mean, *conic, *log_weight, *feature;
};

// Adds up the pairs of splats [first, last), pair after pair: the order, and
// with it the last bit, depends on the lists alone.
void SumPairs(const Scene& scene, int64_t tiles, const float* pairs,
              int64_t first, int64_t last, const Gradient& out) {
  const int64_t channels = scene.channels, stride = 6 + channels;
  std::fill(out.mean + 2 * first, out.mean + 2 * last, 0.0f);
  std::fill(out.conic + 3 * first, out.conic + 3 * last, 0.0f);
  std::fill(out.log_weight + first, out.log_weight + last, 0.0f);
  std::fill(out.feature + channels * first, out.feature + channels * last,
            0.0f);
  // The pairs of no tile hold anything.
  const int64_t end = scene.starts[tiles];
  for (int64_t p = scene.starts[0]; p < end; ++p) {
    const int64_t id = scene.ids[p];
    if (id < first || id >= last) continue;
    const float* pair = pairs + p * stride;
    for (int64_t i = 0; i < 2; ++i) out.mean[2 * id + i] += pair[i];
    for (int64_t i = 0; i < 3; ++i) out.conic[3 * id + i] += pair[2 + i];
    out.log_weight[id] += pair[5];
    for (int64_t c = 0; c < channels; ++c) {
      out.feature[channels * id + c] += pair[6 + c];
    }
  }
}

void Backward(const Spec& spec, const Executor& executor,
              const std::vector<Scene>& scenes,
              const std::vector<Cotangent>& inputs,
              const std::vector<Gradient>& gradients) {
  const int64_t tiles = scenes[0].num_tiles(spec), n = scenes[0].count;
  ForTiles(executor, scenes.size(), tiles,
           [&](int64_t b, int64_t first, int64_t last) {
             JAXGS_DISPATCH(BackwardTiles, spec, scenes[b], first, last,
                            inputs[b]);
           });
  const int64_t parts = std::clamp<int64_t>(n / 1024, 1, executor.threads());
  executor.For(scenes.size() * parts, [&](int64_t item) {
    const int64_t b = item / parts, part = item % parts;
    SumPairs(scenes[b], tiles, inputs[b].pairs, n * part / parts,
             n * (part + 1) / parts, gradients[b]);
  });
}

// Starts that do not ascend within the list would mix up the tiles' pairs.
bool Valid(const Scene& scene, int64_t tiles) {
  if (scene.starts[0] < 0 || scene.starts[tiles] > scene.capacity) return false;
  return std::is_sorted(scene.starts, scene.starts + tiles + 1);
}

Spec MakeSpec(int64_t norm, int64_t top_k, float cutoff, int64_t smooth_edge,
              float epsilon, int64_t tile) {
  const bool known = tile == 4 || tile == 8 || tile == 16 || tile == 32;
  if (!known || top_k < 0 || top_k > kMaxTopK) {
    throw std::invalid_argument("tile must be 4, 8, 16 or 32, top_k 0 to 255");
  }
  return {norm != 0,        static_cast<int32_t>(top_k), cutoff,
          smooth_edge != 0, epsilon, static_cast<int32_t>(tile)};
}

// The scenes of a batch; empty if the lists are no lists.
std::vector<Scene> Scenes(const Spec& spec, int64_t height, int64_t width,
                          const FloatIn& mean, const FloatIn& conic,
                          const FloatIn& log_weight, const FloatIn& feature,
                          const IntIn& ids, const IntIn& starts) {
  const int64_t n = Axis(mean, 2), channels = Axis(feature, 1);
  const int64_t capacity = Axis(ids, 1), tiles = Axis(starts, 1) - 1;
  std::vector<Scene> scenes;
  for (int64_t b = 0; b < BatchOf(mean, 2); ++b) {
    const Scene scene{mean.typed_data() + b * n * 2,
                      conic.typed_data() + b * n * 3,
                      log_weight.typed_data() + b * n,
                      feature.typed_data() + b * n * channels,
                      n,
                      channels,
                      height,
                      width,
                      ids.typed_data() + b * capacity,
                      starts.typed_data() + b * (tiles + 1),
                      capacity};
    if (scene.num_tiles(spec) != tiles || !Valid(scene, tiles)) return {};
    scenes.push_back(scene);
  }
  return scenes;
}

const char kBadBins[] =
    "jaxgs: bins.starts must ascend within bins.ids, one more than tiles";

ffi::Error ForwardHandler(ffi::ThreadPool pool, FloatIn mean, FloatIn conic,
                          FloatIn log_weight, FloatIn feature, IntIn ids,
                          IntIn starts, FloatOut image, FloatOut threshold,
                          IntOut place, FloatOut total, int64_t height,
                          int64_t width, int64_t norm, int64_t top_k,
                          float cutoff, int64_t smooth_edge, float epsilon,
                          int64_t tile) {
  return Guarded([&] {
    const Spec spec =
        MakeSpec(norm, top_k, cutoff, smooth_edge, epsilon, tile);
    const std::vector<Scene> scenes = Scenes(
        spec, height, width, mean, conic, log_weight, feature, ids, starts);
    if (scenes.empty()) {
      return BatchOf(mean, 2) ? ffi::Error::InvalidArgument(kBadBins)
                              : ffi::Error::Success();
    }
    const int64_t pixels = height * width * scenes[0].channels;
    // The sum blend has nothing to remember: its residuals are empty.
    const int64_t kept = norm ? scenes[0].num_tiles(spec) * tile * tile : 0;
    std::vector<Picture> pictures;
    for (size_t b = 0; b < scenes.size(); ++b) {
      pictures.push_back({image->typed_data() + b * pixels,
                          threshold->typed_data() + b * kept,
                          place->typed_data() + b * kept,
                          norm ? total->typed_data() + b * kept : nullptr});
    }
    Forward(spec, PoolExecutor(pool), scenes, pictures);
    return ffi::Error::Success();
  });
}

ffi::Error BackwardHandler(ffi::ThreadPool pool, FloatIn mean, FloatIn conic,
                           FloatIn log_weight, FloatIn feature, IntIn ids,
                           IntIn starts, FloatIn image, FloatIn threshold,
                           IntIn place, FloatIn total, FloatIn cotangent,
                           FloatOut d_mean, FloatOut d_conic,
                           FloatOut d_log_weight, FloatOut d_feature,
                           FloatOut pairs, int64_t height, int64_t width,
                           int64_t norm, int64_t top_k, float cutoff,
                           int64_t smooth_edge, float epsilon, int64_t tile) {
  return Guarded([&] {
    const Spec spec =
        MakeSpec(norm, top_k, cutoff, smooth_edge, epsilon, tile);
    const std::vector<Scene> scenes = Scenes(
        spec, height, width, mean, conic, log_weight, feature, ids, starts);
    if (scenes.empty()) {
      return BatchOf(mean, 2) ? ffi::Error::InvalidArgument(kBadBins)
                              : ffi::Error::Success();
    }
    const int64_t n = scenes[0].count, channels = scenes[0].channels;
    const int64_t pixels = height * width * channels;
    const int64_t kept = norm ? scenes[0].num_tiles(spec) * tile * tile : 0;
    const int64_t rows = scenes[0].capacity * (6 + channels);
    std::vector<Cotangent> inputs;
    std::vector<Gradient> gradients;
    for (size_t b = 0; b < scenes.size(); ++b) {
      inputs.push_back({cotangent.typed_data() + b * pixels,
                        image.typed_data() + b * pixels,
                        threshold.typed_data() + b * kept,
                        place.typed_data() + b * kept,
                        total.typed_data() + b * kept,
                        pairs->typed_data() + b * rows});
      gradients.push_back({d_mean->typed_data() + b * n * 2,
                           d_conic->typed_data() + b * n * 3,
                           d_log_weight->typed_data() + b * n,
                           d_feature->typed_data() + b * n * channels});
    }
    Backward(spec, PoolExecutor(pool), scenes, inputs, gradients);
    return ffi::Error::Success();
  });
}

}  // namespace
}  // namespace jaxgs

#define JAXGS_SPEC_ATTRIBUTES      \
  .Attr<int64_t>("height")         \
      .Attr<int64_t>("width")      \
      .Attr<int64_t>("norm")       \
      .Attr<int64_t>("top_k")      \
      .Attr<float>("cutoff")       \
      .Attr<int64_t>("smooth_edge") \
      .Attr<float>("epsilon")      \
      .Attr<int64_t>("tile")

#pragma GCC visibility push(default)
extern "C" {

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxgs_ffi_rasterize_forward,
                              jaxgs::ForwardHandler,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::IntIn>()
                                  .Arg<jaxgs::IntIn>()
                                  .Ret<jaxgs::FloatIn>()
                                  .Ret<jaxgs::FloatIn>()
                                  .Ret<jaxgs::IntIn>()
                                  .Ret<jaxgs::FloatIn>()
                                      JAXGS_SPEC_ATTRIBUTES);

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxgs_ffi_rasterize_backward,
                              jaxgs::BackwardHandler,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::IntIn>()
                                  .Arg<jaxgs::IntIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::IntIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Ret<jaxgs::FloatIn>()
                                  .Ret<jaxgs::FloatIn>()
                                  .Ret<jaxgs::FloatIn>()
                                  .Ret<jaxgs::FloatIn>()
                                  .Ret<jaxgs::FloatIn>()
                                      JAXGS_SPEC_ATTRIBUTES);

void jaxgs_set_num_threads(int32_t threads) {
  jaxgs::NumThreads() = std::clamp(threads, 1, 1024);
}

// "avx512", "avx2" or "baseline".
const char* jaxgs_isa() {
  switch (jaxgs::BestIsa()) {
    case jaxgs::Isa::kAvx512: return "avx512";
    case jaxgs::Isa::kAvx2: return "avx2";
    default: return "baseline";
  }
}

// Draws without XLA: what `jaxgs decode` calls. `blend` is 0 for norm, 1 for
// sum. Returns 0, or 1 where memory ran out or the spec is none.
int32_t jaxgs_draw(
    const float* mean, const float* conic, const float* log_weight,
    const float* feature, int64_t n, int64_t channels, int64_t height,
    int64_t width, int32_t blend, int32_t top_k, float cutoff,
    int32_t smooth_edge, float epsilon, int32_t tile, int32_t threads,
    float* image) {
  using namespace jaxgs;
  try {
    const Spec spec =
        MakeSpec(blend == 0, top_k, cutoff, smooth_edge, epsilon, tile);
    const Executor executor(threads);
    const Ellipses ellipses{mean,   conic, log_weight, n,
                            height, width, tile,       cutoff};
    std::vector<int32_t> ids;
    std::vector<int32_t> starts(ellipses.cols() * ellipses.rows() + 1);
    const int64_t most = std::numeric_limits<int32_t>::max();
    if (BinSplats(ellipses, executor, most, nullptr, &ids, starts.data()) >
        most) {
      return 1;
    }
    const Scene scene{mean,       conic,    log_weight,
                      feature,    n,        channels,
                      height,     width,    ids.data(),
                      starts.data(), static_cast<int64_t>(ids.size())};
    Forward(spec, executor, {scene}, {{image, nullptr, nullptr, nullptr}});
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}

}  // extern "C"
#pragma GCC visibility pop
