// One tile, forward. Compiled per instruction set: see
// native/foreach_isa.h.
//
// The pixels of a tile are taken in vectors of 16: a row of a tile of 16, half
// a row of one of 32, two rows of one of 8. Each splat of the list gets a bit
// per vector that its ellipse reaches; only those are evaluated.

// Less than any weight but 0.
constexpr float kLeast = std::numeric_limits<float>::min();
// The place of the last equal where all equals of the threshold are blended.
// Exact as a float; no list is as long. (Places over 2^24 are not exact: there,
// of two equals side by side, both may be taken.)
constexpr float kNoTies = 2147483520.0f;
constexpr float kLog2e = 1.44269504f;
constexpr int kMaxVectors = 32 * 32 / kLanes;

// Pixel centres of a tile from the tile's centre, by vector, and the boxes
// around them.
struct Grid {
  explicit Grid(int tile) : vectors(tile * tile / kLanes) {
    const float middle = 0.5f * tile;
    // Padding that no ellipse reaches: NaN compares false.
    std::fill(&low[0][0], &low[0][0] + 2 * kMaxVectors, std::nanf(""));
    std::fill(&high[0][0], &high[0][0] + 2 * kMaxVectors, std::nanf(""));
    for (int v = 0; v < vectors; ++v) {
      for (int i = 0; i < kLanes; ++i) {
        x[v][i] = (v * kLanes + i) % tile + 0.5f - middle;
        y[v][i] = (v * kLanes + i) / tile + 0.5f - middle;
      }
      low[0][v] = *std::min_element(x[v], x[v] + kLanes);
      high[0][v] = *std::max_element(x[v], x[v] + kLanes);
      low[1][v] = y[v][0];
      high[1][v] = y[v][kLanes - 1];
    }
    flat = tile >= kLanes;
  }

  int vectors;
  bool flat;  // Every vector lies in one row.
  alignas(64) float x[kMaxVectors][kLanes], y[kMaxVectors][kLanes];
  alignas(64) float low[2][kMaxVectors], high[2][kMaxVectors];
};

// A splat of the list: its centre from the tile's centre, and the logarithm to
// base 2 of its value at an offset, top + a dx^2 + b dx dy + c dy^2.
struct Local {
  float x, y, a, b, c, top;
  uint32_t id;
  uint64_t reached;  // Bit v: its ellipse reaches vector v.
};

// Values that every evaluation of a weight needs.
struct Edge {
  explicit Edge(const Spec& spec)
      : tau(std::exp(-spec.cutoff)),
        offset(spec.smooth_edge ? tau : 0.0f),
        // Rounding must not lose what an evaluation would draw.
        least(-spec.cutoff * kLog2e * 1.0001f - 2e-4f) {}
  float tau, offset, least;
};

// Which vectors the ellipse reaches. The exponent is concave, so its largest
// value over a box is at the centre if that is inside, else on an edge that
// faces it.
JAXGS_INLINE uint64_t Reached(const Edge& edge, const Grid& grid,
                              const Local& s) {
  const F zero = Splat(0.0f);
  const F slope_x = Splat(-0.5f * s.b / s.a);
  const F slope_y = Splat(-0.5f * s.b / s.c);
  const auto value = [&s](F x, F y) __attribute__((always_inline)) {
    return Fma(Fma(Splat(s.a), x, Splat(s.b) * y), x,
               Fma(Splat(s.c) * y, y, Splat(s.top)));
  };
  uint64_t reached = 0;
  for (int v = 0; v < grid.vectors; v += kLanes) {
    const F low_x = Load(grid.low[0] + v) - Splat(s.x);
    const F high_x = Load(grid.high[0] + v) - Splat(s.x);
    const F low_y = Load(grid.low[1] + v) - Splat(s.y);
    const F high_y = Load(grid.high[1] + v) - Splat(s.y);
    const F near_y = Clamp(zero, low_y, high_y);
    F largest = value(Clamp(slope_x * near_y, low_x, high_x), near_y);
    if (!grid.flat) {
      const F near_x = Clamp(zero, low_x, high_x);
      largest =
          Max(largest, value(near_x, Clamp(slope_y * near_x, low_y, high_y)));
    }
    reached |= static_cast<uint64_t>(Bits(AtLeast(largest, Splat(edge.least))))
               << v;
  }
  return reached;
}

// The list of a tile in scratch memory.
struct List {
  Local* splats;
  int64_t size;
};

// Reads the list of a tile; ids that are none are taken as reaching nothing.
JAXGS_INLINE void Gather(const Spec& spec, const Edge& edge,
                         const Scene& scene, const Grid& grid, int64_t tile,
                         int64_t begin, List* list) {
  const int64_t cols = scene.cols(spec);
  const float centre_x = (tile % cols + 0.5f) * spec.tile;
  const float centre_y = (tile / cols + 0.5f) * spec.tile;
  for (int64_t i = 0; i < list->size; ++i) {
    Local& s = list->splats[i];
    s.id = static_cast<uint32_t>(scene.ids[begin + i]);
    s.reached = 0;
    if (s.id >= static_cast<uint64_t>(scene.count)) continue;
    const float* mean = scene.mean + int64_t{2} * s.id;
    const float* conic = scene.conic + int64_t{3} * s.id;
    s.x = mean[0] - centre_x;
    s.y = mean[1] - centre_y;
    s.a = -0.5f * kLog2e * conic[0];
    s.b = -kLog2e * conic[1];
    s.c = -0.5f * kLog2e * conic[2];
    // So that a weight is finite. NaN stays, and reaches nothing.
    s.top = std::min(kLog2e * scene.log_weight[s.id], 126.0f);
    s.reached = Reached(edge, grid, s);
  }
}

// exp(b - e), and the weight: that less the edge, inside the support.
JAXGS_INLINE F Weight(const Local& s, const Edge& edge, F dx, F dy, F* raw) {
  F x = Fma(Fma(Splat(s.a), dx, Splat(s.b) * dy), dx,
            Fma(Splat(s.c) * dy, dy, Splat(s.top)));
  // Rounding may lift a needle over its top. NaN, the second argument of both,
  // becomes a weight of 0.
  x = Max(Min(Splat(s.top), x), Splat(-126.0f));
  *raw = Exp2(x);
  return Select(Greater(*raw, Splat(edge.tau)), *raw - Splat(edge.offset),
                Splat(0.0f));
}

// The K largest values seen, falling, lane by lane.
template <int K>
struct Largest {
  F value[K];
  Largest() {
    for (int k = 0; k < K; ++k) value[k] = Splat(0.0f);
  }
  __attribute__((always_inline)) void Insert(F x) {
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k) {
      const F high = Max(value[k], x);
      x = Min(value[k], x);
      value[k] = high;
    }
  }
};

// The K-th largest of each lane, or the least positive number where there are
// no K. K = 0 takes top_k from the argument.
template <int K>
JAXGS_INLINE F Threshold(const float* weights, int64_t count, int top_k) {
  const F least = Splat(kLeast);
  if constexpr (K > 0) {
    Largest<K> largest;
    for (int64_t i = 0; i < count; ++i) {
      largest.Insert(Load(weights + i * kLanes));
    }
    return Max(largest.value[K - 1], least);
  }
  F value[kMaxTopK];
  for (int k = 0; k < top_k; ++k) value[k] = Splat(0.0f);
  for (int64_t i = 0; i < count; ++i) {
    F x = Load(weights + i * kLanes);
    for (int k = 0; k < top_k && Any(Greater(x, Splat(0.0f))); ++k) {
      const F high = Max(value[k], x);
      x = Min(value[k], x);
      value[k] = high;
    }
  }
  return Max(value[top_k - 1], least);
}

// Sets weights under the threshold to 0 and adds up the others. Returns how
// many there are: more than K where several equal the threshold.
JAXGS_INLINE F Cut(float* weights, int64_t count, F threshold, F* total) {
  F sum = Splat(0.0f), kept = Splat(0.0f);
  for (int64_t i = 0; i < count; ++i) {
    F w = Load(weights + i * kLanes);
    const Mask large = AtLeast(w, threshold);
    w = Select(large, w, Splat(0.0f));
    kept = kept + Select(large, Splat(1.0f), Splat(0.0f));
    sum = sum + w;
    Store(w, weights + i * kLanes);
  }
  *total = sum;
  return kept;
}

// Of the weights that equal the threshold the first stay, so that K do.
// Returns the place in the list of the last that stays.
JAXGS_INLINE F BreakTies(float* weights, const uint32_t* row, int64_t count,
                         F threshold, F top_k, F* total) {
  F room = top_k, sum = Splat(0.0f), place = Splat(0.0f);
  for (int64_t i = 0; i < count; ++i) {
    const Mask above = Greater(Load(weights + i * kLanes), threshold);
    room = room - Select(above, Splat(1.0f), Splat(0.0f));
  }
  for (int64_t i = 0; i < count; ++i) {
    F w = Load(weights + i * kLanes);
    const Mask equal = Equal(w, threshold) & Greater(room, Splat(0.0f));
    room = room - Select(equal, Splat(1.0f), Splat(0.0f));
    place = Select(equal, Splat(static_cast<float>(row[i])), place);
    w = Select(Greater(w, threshold) | equal, w, Splat(0.0f));
    sum = sum + w;
    Store(w, weights + i * kLanes);
  }
  *total = sum;
  return place;
}

// Sums of weights times features of C channels from `first` on.
template <int C>
JAXGS_INLINE void Blend(const Scene& scene, const List& list,
                        const uint32_t* row, int64_t count,
                        const float* weights, int64_t first, F* sums) {
  F sum[C];
  for (int c = 0; c < C; ++c) sum[c] = Splat(0.0f);
  for (int64_t i = 0; i < count; ++i) {
    const F w = Load(weights + i * kLanes);
    const float* feature =
        scene.feature + list.splats[row[i]].id * scene.channels + first;
    for (int c = 0; c < C; ++c) sum[c] = Fma(w, Splat(feature[c]), sum[c]);
  }
  for (int c = 0; c < C; ++c) sums[c] = sum[c];
}

// Pixels of one vector: how many of each run are in the picture.
struct Runs {
  Runs(const Spec& spec, const Scene& scene, int64_t tile, int v) {
    const int64_t cols = scene.cols(spec);
    const int first = v * kLanes;
    length = std::min<int>(spec.tile, kLanes);
    x = tile % cols * spec.tile + first % spec.tile;
    y = tile / cols * spec.tile + first / spec.tile;
    inside = std::clamp<int64_t>(scene.width - x, 0, length);
    rows = std::clamp<int64_t>(scene.height - y, 0, kLanes / length);
  }
  int64_t x, y;    // Of the first pixel.
  int64_t length;  // Lanes per row.
  int64_t inside;  // Lanes per row that are in the picture.
  int64_t rows;    // Rows that are.
};

// Writes C planes of 16 lanes to the interleaved picture.
JAXGS_INLINE void Interleave(const Runs& runs, const Scene& scene,
                             const float* planes, float* image) {
  const int64_t channels = scene.channels;
  for (int64_t r = 0; r < runs.rows; ++r) {
    float* out = image + ((runs.y + r) * scene.width + runs.x) * channels;
    const float* from = planes + r * runs.length;
    if (channels == 3) {
      for (int64_t i = 0; i < runs.inside; ++i) {
        out[3 * i] = from[i];
        out[3 * i + 1] = from[kLanes + i];
        out[3 * i + 2] = from[2 * kLanes + i];
      }
      continue;
    }
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t i = 0; i < runs.inside; ++i) {
        out[i * channels + c] = from[c * kLanes + i];
      }
    }
  }
}

// The reverse; 0 outside of the picture.
JAXGS_INLINE void Deinterleave(const Runs& runs, const Scene& scene,
                               const float* image, float* planes) {
  const int64_t channels = scene.channels;
  std::memset(planes, 0, channels * kLanes * sizeof(float));
  for (int64_t r = 0; r < runs.rows; ++r) {
    const float* from =
        image + ((runs.y + r) * scene.width + runs.x) * channels;
    float* out = planes + r * runs.length;
    if (channels == 3) {
      for (int64_t i = 0; i < runs.inside; ++i) {
        out[i] = from[3 * i];
        out[kLanes + i] = from[3 * i + 1];
        out[2 * kLanes + i] = from[3 * i + 2];
      }
      continue;
    }
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t i = 0; i < runs.inside; ++i) {
        out[c * kLanes + i] = from[i * channels + c];
      }
    }
  }
}

// Scratch memory handed out piece by piece.
struct Pieces {
  char* next;
  template <typename T>
  T* Take(int64_t count) {
    T* piece = reinterpret_cast<T*>(next);
    next += Bytes<T>(count);
    return piece;
  }
  template <typename T>
  static size_t Bytes(int64_t count) {
    return (count * sizeof(T) + 63) / 64 * 64;
  }
};

// Draws one tile.
inline void ForwardTile(const Spec& spec, const Scene& scene, const Grid& grid,
                        int64_t tile, const Picture& out) {
  int64_t begin, end;
  scene.List(tile, &begin, &end);
  const int64_t size = end - begin, channels = scene.channels;
  Pieces pieces{ThreadArena().Reserve(
      Pieces::Bytes<Local>(size) +
      grid.vectors * Pieces::Bytes<uint32_t>(size) +
      Pieces::Bytes<float>(size * kLanes) +
      Pieces::Bytes<float>(channels * kLanes))};
  List list{pieces.Take<Local>(size), size};
  const Edge edge(spec);
  Gather(spec, edge, scene, grid, tile, begin, &list);

  uint32_t* rows[kMaxVectors];
  int64_t counts[kMaxVectors];
  for (int v = 0; v < grid.vectors; ++v) {
    rows[v] = pieces.Take<uint32_t>(size);
    counts[v] = 0;
  }
  for (int64_t i = 0; i < size; ++i) {
    for (uint64_t bits = list.splats[i].reached; bits; bits &= bits - 1) {
      const int v = __builtin_ctzll(bits);
      rows[v][counts[v]++] = static_cast<uint32_t>(i);
    }
  }

  float* weights = pieces.Take<float>(size * kLanes);
  float* planes = pieces.Take<float>(channels * kLanes);
  for (int v = 0; v < grid.vectors; ++v) {
    const Runs runs(spec, scene, tile, v);
    const F x = Load(grid.x[v]), y = Load(grid.y[v]);
    const uint32_t* row = rows[v];
    const int64_t count = counts[v];
    F total = Splat(0.0f);
    for (int64_t i = 0; i < count; ++i) {
      const Local& s = list.splats[row[i]];
      F raw;
      const F w = Weight(s, edge, x - Splat(s.x), y - Splat(s.y), &raw);
      Store(w, weights + i * kLanes);
      total = total + w;
    }
    F threshold = Splat(kLeast), place = Splat(kNoTies);
    if (spec.norm && spec.top_k > 0 && count > spec.top_k) {
      threshold = spec.top_k == 10
                      ? Threshold<10>(weights, count, 10)
                      : Threshold<0>(weights, count, spec.top_k);
      const F kept = Cut(weights, count, threshold, &total);
      const F top_k = Splat(static_cast<float>(spec.top_k));
      if (Any(Greater(kept, top_k))) {
        place = BreakTies(weights, row, count, threshold, top_k, &total);
      }
    }
    const F scale =
        spec.norm ? Splat(1.0f) / (total + Splat(spec.epsilon)) : Splat(1.0f);
    F sums[4];
    for (int64_t c = 0; c < channels; c += 4) {
      const int64_t group = std::min<int64_t>(4, channels - c);
      switch (group) {
        case 1: Blend<1>(scene, list, row, count, weights, c, sums); break;
        case 2: Blend<2>(scene, list, row, count, weights, c, sums); break;
        case 3: Blend<3>(scene, list, row, count, weights, c, sums); break;
        default: Blend<4>(scene, list, row, count, weights, c, sums);
      }
      for (int64_t i = 0; i < group; ++i) {
        Store(sums[i] * scale, planes + (c + i) * kLanes);
      }
    }
    Interleave(runs, scene, planes, out.image);
    if (out.total) {
      const int64_t first = (tile * grid.vectors + v) * kLanes;
      Store(total, out.total + first);
      Store(threshold, out.threshold + first);
      float lanes[kLanes];
      Store(place, lanes);
      for (int i = 0; i < kLanes; ++i) {
        out.place[first + i] = static_cast<int32_t>(lanes[i]);
      }
    }
  }
}

// Tiles [first, last) of a picture.
void ForwardTiles(const Spec& spec, const Scene& scene, int64_t first,
                  int64_t last, const Picture& out) {
  const Grid grid(spec.tile);
  for (int64_t tile = first; tile < last; ++tile) {
    ForwardTile(spec, scene, grid, tile, out);
  }
}
