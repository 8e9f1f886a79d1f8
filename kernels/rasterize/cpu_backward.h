// The backward pass of one tile; after cpu_tile.h, see cpu_kernel.h.

// The pixels of a tile as the backward pass needs them, by vector.
struct Pixels {
  float* scaled;     // V, C, 16: the cotangent over the sum of weights,
  float* offset;     // V, 16: less its inner product with the picture (norm),
  float* threshold;  // V, 16,
  float* place;      // V, 16.
};

// Returns whether equal weights had to be told apart.
JAXGS_INLINE bool GatherPixels(const Spec& spec, const Scene& scene,
                               const Grid& grid, int64_t tile,
                               const Cotangent& in, float* image,
                               const Pixels& pixels) {
  const int64_t channels = scene.channels;
  const F no_ties = Splat(kNoTies);
  bool ties = false;
  for (int v = 0; v < grid.vectors; ++v) {
    const Runs runs(spec, scene, tile, v);
    float* scaled = pixels.scaled + v * channels * kLanes;
    Deinterleave(runs, scene, in.cotangent, scaled);
    F offset = Splat(0.0f), threshold = Splat(kLeast), place = no_ties;
    if (spec.norm) {
      const int64_t first = (tile * grid.vectors + v) * kLanes;
      Deinterleave(runs, scene, in.image, image);
      F total = Load(in.total + first) + Splat(spec.epsilon);
      // Where nothing is blended nothing has a gradient, and 0 / 0 is none.
      const F scale = Select(Greater(total, Splat(0.0f)), Splat(1.0f) / total,
                             Splat(0.0f));
      for (int64_t c = 0; c < channels; ++c) {
        const F g = Load(scaled + c * kLanes) * scale;
        Store(g, scaled + c * kLanes);
        offset = offset - g * Load(image + c * kLanes);
      }
      threshold = Load(in.threshold + first);
      float lanes[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        lanes[i] = static_cast<float>(in.place[first + i]);
      }
      place = Load(lanes);
      ties |= Any(Greater(no_ties, place));
    }
    Store(offset, pixels.offset + v * kLanes);
    Store(threshold, pixels.threshold + v * kLanes);
    Store(place, pixels.place + v * kLanes);
  }
  return ties;
}

// The gradient of one splat of the list from the pixels of the tile, 6 + C
// values. C = 0 takes the number of channels from the scene, and `sums` holds
// that many vectors.
template <int C, bool Ties>
JAXGS_INLINE void PairGradient(const Scene& scene, const Grid& grid,
                               const Edge& edge, const Local& s, int64_t index,
                               const Pixels& pixels, float* sums, float* out) {
  const int64_t channels = C ? C : scene.channels;
  const float* feature = scene.feature + s.id * scene.channels;
  F sum[C ? C : 1];
  for (int c = 0; c < C; ++c) sum[c] = Splat(0.0f);
  if constexpr (C == 0) std::memset(sums, 0, channels * kLanes * sizeof(float));
  F m0 = Splat(0.0f), mx = m0, my = m0, mxx = m0, mxy = m0, myy = m0;
  for (uint64_t bits = s.reached; bits; bits &= bits - 1) {
    const int v = __builtin_ctzll(bits);
    const F dx = Load(grid.x[v]) - Splat(s.x);
    const F dy = Load(grid.y[v]) - Splat(s.y);
    F raw;
    const F w = Weight(s, edge, dx, dy, &raw);
    const F threshold = Load(pixels.threshold + v * kLanes);
    Mask kept = AtLeast(w, threshold);
    if constexpr (Ties) {
      const F place = Load(pixels.place + v * kLanes);
      kept = kept & (Greater(w, threshold) |
                     AtMost(Splat(static_cast<float>(index)), place));
    }
    const F blended = Select(kept, w, Splat(0.0f));
    const float* scaled = pixels.scaled + v * channels * kLanes;
    // dw/de = -exp(b - e) = -dw/db; what the edge subtracts is constant.
    F d_weight = Load(pixels.offset + v * kLanes);
    if constexpr (C > 0) {
      for (int c = 0; c < C; ++c) {
        const F g = Load(scaled + c * kLanes);
        d_weight = Fma(g, Splat(feature[c]), d_weight);
        sum[c] = Fma(blended, g, sum[c]);
      }
    } else {
      for (int64_t c = 0; c < channels; ++c) {
        const F g = Load(scaled + c * kLanes);
        d_weight = Fma(g, Splat(feature[c]), d_weight);
        Store(Fma(blended, g, Load(sums + c * kLanes)), sums + c * kLanes);
      }
    }
    const F d = Select(kept, d_weight * raw, Splat(0.0f));
    const F d_x = d * dx, d_y = d * dy;
    m0 = m0 + d;
    mx = mx + d_x;
    my = my + d_y;
    mxx = Fma(d_x, dx, mxx);
    mxy = Fma(d_x, dy, mxy);
    myy = Fma(d_y, dy, myy);
  }
  const float sx = Sum(mx), sy = Sum(my);
  const float* conic = scene.conic + int64_t{3} * s.id;
  out[0] = conic[0] * sx + conic[1] * sy;
  out[1] = conic[1] * sx + conic[2] * sy;
  out[2] = -0.5f * Sum(mxx);
  out[3] = -Sum(mxy);
  out[4] = -0.5f * Sum(myy);
  out[5] = Sum(m0);
  for (int64_t c = 0; c < channels; ++c) {
    out[6 + c] = Sum(C ? sum[C ? c : 0] : Load(sums + c * kLanes));
  }
}

template <int C, bool Ties>
void PairGradients(const Scene& scene, const Grid& grid, const Edge& edge,
                   const List& list, const Pixels& pixels, float* sums,
                   float* out) {
  for (int64_t i = 0; i < list.size; ++i, out += 6 + scene.channels) {
    const Local& s = list.splats[i];
    if (s.reached) {
      PairGradient<C, Ties>(scene, grid, edge, s, i, pixels, sums, out);
    } else {
      std::fill(out, out + 6 + scene.channels, 0.0f);
    }
  }
}

// The gradients of one tile's pairs.
inline void BackwardTile(const Spec& spec, const Scene& scene, const Grid& grid,
                         int64_t tile, const Cotangent& in) {
  int64_t begin, end;
  scene.List(tile, &begin, &end);
  const int64_t size = end - begin, channels = scene.channels;
  if (size == 0) return;
  const int64_t lanes = grid.vectors * kLanes;
  Pieces pieces{ThreadArena().Reserve(
      Pieces::Bytes<Local>(size) + Pieces::Bytes<float>(lanes * channels) +
      3 * Pieces::Bytes<float>(lanes) +
      2 * Pieces::Bytes<float>(channels * kLanes))};
  List list{pieces.Take<Local>(size), size};
  const Edge edge(spec);
  Gather(spec, edge, scene, grid, tile, begin, &list);
  const Pixels pixels{pieces.Take<float>(lanes * channels),
                      pieces.Take<float>(lanes), pieces.Take<float>(lanes),
                      pieces.Take<float>(lanes)};
  float* sums = pieces.Take<float>(channels * kLanes);
  float* image = pieces.Take<float>(channels * kLanes);
  const bool ties = GatherPixels(spec, scene, grid, tile, in, image, pixels);
  float* out = in.pairs + begin * (6 + channels);
  const auto run = [&](auto pair_gradients) {
    pair_gradients(scene, grid, edge, list, pixels, sums, out);
  };
  if (ties) {  // Seldom: not worth a copy per number of channels.
    run(PairGradients<0, true>);
  } else if (channels == 1) {
    run(PairGradients<1, false>);
  } else if (channels == 3) {
    run(PairGradients<3, false>);
  } else if (channels == 4) {
    run(PairGradients<4, false>);
  } else {
    run(PairGradients<0, false>);
  }
}

// Tiles [first, last) of a picture.
void BackwardTiles(const Spec& spec, const Scene& scene, int64_t first,
                   int64_t last, const Cotangent& in) {
  const Grid grid(spec.tile);
  for (int64_t tile = first; tile < last; ++tile) {
    BackwardTile(spec, scene, grid, tile, in);
  }
}
