// The rasteriser's arguments as plain arrays, and scratch memory.
#ifndef JAXGS_RASTERIZE_CPU_H_
#define JAXGS_RASTERIZE_CPU_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

namespace jaxgs {

constexpr int kMaxTopK = 255;

// How splats become pixels: see jaxgs.config.RasterSpec.
struct Spec {
  bool norm;
  int32_t top_k;   // 0 to kMaxTopK; 0: all.
  float cutoff;
  bool smooth_edge;
  float epsilon;
  int32_t tile;    // 4, 8, 16 or 32.
};

// One picture: N splats and their lists by tile.
struct Scene {
  const float* mean;        // N, 2.
  const float* conic;       // N, 3.
  const float* log_weight;  // N.
  const float* feature;     // N, C.
  int64_t count;            // N.
  int64_t channels;         // C.
  int64_t height, width;
  const int32_t* ids;       // P.
  const int32_t* starts;    // T + 1.
  int64_t capacity;         // P.

  int64_t cols(const Spec& spec) const {
    return (width + spec.tile - 1) / spec.tile;
  }
  int64_t num_tiles(const Spec& spec) const {
    return cols(spec) * ((height + spec.tile - 1) / spec.tile);
  }
  // The list of a tile. The caller's arrays may hold anything.
  void List(int64_t tile, int64_t* begin, int64_t* end) const {
    *begin = std::clamp<int64_t>(starts[tile], 0, capacity);
    *end = std::clamp<int64_t>(starts[tile + 1], *begin, capacity);
  }
};

// What `forward` draws; all but the image may be null. Q = tile^2 pixels per
// tile, row by row.
struct Picture {
  float* image;      // H, W, C.
  float* threshold;  // T, Q: the K-th largest weight of the pixel,
  int32_t* place;    // T, Q: and where in the list it stands.
  float* total;      // T, Q: the sum of the blended weights.
};

// What `backward` reads besides the scene, and the gradient of each pair.
struct Cotangent {
  const float* cotangent;  // H, W, C.
  const float* image;
  const float* threshold;
  const int32_t* place;
  const float* total;
  // P, 6 + C: centre (2), conic (3), log-weight, feature (C).
  float* pairs;
};

// Memory that grows and is used again: one per thread.
class Arena {
 public:
  ~Arena() { Free(); }

  // Room for `bytes`, uninitialised, aligned to 64 bytes; valid until the next
  // call. Throws std::bad_alloc.
  char* Reserve(size_t bytes) {
    // What a monstrous list needed is not kept for ever.
    if (bytes > size_ || size_ > kKeep + bytes) {
      Free();
      data_ = static_cast<char*>(
          ::operator new(bytes, std::align_val_t(64)));
      size_ = bytes;
    }
    return data_;
  }

 private:
  static constexpr size_t kKeep = size_t{64} << 20;

  void Free() {
    if (data_) ::operator delete(data_, std::align_val_t(64));
    data_ = nullptr;
    size_ = 0;
  }

  char* data_ = nullptr;
  size_t size_ = 0;
};

inline Arena& ThreadArena() {
  static thread_local Arena arena;
  return arena;
}

}  // namespace jaxgs

#endif  // JAXGS_RASTERIZE_CPU_H_
