// One block of the picture. Compiled per instruction set: see
// native/foreach_isa.h.
//
// A row of pixels is taken as W C floats; the window's taps lie C floats apart.
// Rows stream through two rings of eleven: the four windowed moments of SSIM,
// horizontally first, then its three derivatives, which the same window carries
// back to the pixels. So the picture is read once, and what is in between stays
// in the cache.

// Columns [first, first + count) of the floats of a row.
struct Columns {
  int64_t first, count;
  Columns Wider(int64_t by) const { return {first - by, count + 2 * by}; }
};

// Vectors may read and write so far past the end of a row.
constexpr int64_t kSlack = 4 * kLanes;

// A row of the two pictures.
struct Row {
  float *x, *y;
};

// Which of the row's places are in the picture.
JAXGS_INLINE Columns Inside(const LossTask& task, int64_t y, Columns columns) {
  const int64_t length = task.width * task.channels;
  if (y < 0 || y >= task.height) return {0, 0};
  const int64_t begin = std::clamp<int64_t>(-columns.first, 0, columns.count);
  return {begin, std::clamp<int64_t>(length - columns.first - begin, 0,
                                     columns.count - begin)};
}

// Reads the mask of row `y`: 1 without one, 0 outside of the picture.
JAXGS_INLINE void ReadMask(const LossTask& task, int64_t y, Columns columns,
                           float* mask) {
  const Columns inside = Inside(task, y, columns);
  const int64_t begin = inside.first, end = begin + inside.count;
  std::fill(mask, mask + begin, 0.0f);
  std::fill(mask + begin, mask + end, 1.0f);
  std::fill(mask + end, mask + columns.count + kSlack, 0.0f);
  if (!task.mask) return;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t column = (columns.first + i) / task.channels;
    const float weight = task.mask[y * task.width + column];
    mask[i] = weight > 0.0f ? weight : 0.0f;
  }
}

// Reads row `y`, 0 outside of the picture and where the mask is 0.
JAXGS_INLINE void Read(const LossTask& task, int64_t y, Columns columns,
                       const float* mask, const Row& row) {
  const Columns inside = Inside(task, y, columns);
  const int64_t begin = inside.first, end = begin + inside.count;
  const int64_t from = y * task.width * task.channels + columns.first;
  const float* images[2] = {task.rendered, task.target};
  float* rows[2] = {row.x, row.y};
  for (int p = 0; p < 2; ++p) {
    std::fill(rows[p], rows[p] + begin, 0.0f);
    std::fill(rows[p] + end, rows[p] + columns.count + kSlack, 0.0f);
    std::copy(images[p] + from + begin, images[p] + from + end,
              rows[p] + begin);
  }
  if (!task.mask) return;
  for (int64_t i = begin; i < end; ++i) {
    // What is masked may be NaN.
    if (!(mask[i] > 0.0f)) row.x[i] = row.y[i] = 0.0f;
  }
}

#if JAXGS_AVX512

// Sixteen floats from place `at` on of three vectors in a row.
template <int at>
JAXGS_INLINE F Shifted(const F* in) {
  constexpr int shift = at % kLanes;
  if constexpr (shift == 0) return in[at / kLanes];
  F out = in[at / kLanes];
  out.part[0] = (Part)_mm512_alignr_epi32((__m512i)in[at / kLanes + 1].part[0],
                                          (__m512i)out.part[0], shift);
  return out;
}

// Convolve for a stride of at most 4, and `in` aligned: every load but the
// first two would straddle cache lines, so vectors are put together from
// registers.
template <int stride>
JAXGS_INLINE void ConvolveAligned(const F* taps, const float* in, int64_t count,
                                  float* out) {
  // The last tap may end in a fourth vector.
  F v[4] = {Load(in), Load(in + kLanes), Load(in + 2 * kLanes), {}};
  for (int64_t i = 0; i < count; i += kLanes) {
    v[3] = Load(in + i + 3 * kLanes);
    F sum = taps[5] * Shifted<5 * stride>(v);
    sum = Fma(taps[0], Shifted<0>(v) + Shifted<10 * stride>(v), sum);
    sum = Fma(taps[1], Shifted<stride>(v) + Shifted<9 * stride>(v), sum);
    sum = Fma(taps[2], Shifted<2 * stride>(v) + Shifted<8 * stride>(v), sum);
    sum = Fma(taps[3], Shifted<3 * stride>(v) + Shifted<7 * stride>(v), sum);
    sum = Fma(taps[4], Shifted<4 * stride>(v) + Shifted<6 * stride>(v), sum);
    Store(sum, out + i);
    v[0] = v[1];
    v[1] = v[2];
    v[2] = v[3];
  }
}

#endif  // JAXGS_AVX512

// out[i] = sum_k taps[k] in[i + k stride]. Writes up to the next 16, reads up
// to 48 more.
JAXGS_INLINE void Convolve(const F* taps, const float* in, int64_t stride,
                           int64_t count, float* out) {
#if JAXGS_AVX512
  if (stride == 3) return ConvolveAligned<3>(taps, in, count, out);
  if (stride == 1) return ConvolveAligned<1>(taps, in, count, out);
#endif
  for (int64_t i = 0; i < count; i += kLanes) {
    F sum = taps[kReach] * Load(in + i + kReach * stride);
    for (int k = 0; k < kReach; ++k) {
      const F pair =
          Load(in + i + k * stride) + Load(in + i + (kWindow - 1 - k) * stride);
      sum = Fma(taps[k], pair, sum);
    }
    Store(sum, out + i);
  }
}

// Eleven rows, the oldest first, down one column of sixteen.
JAXGS_INLINE F ConvolveDown(const F* taps, const float* const* rows,
                            int64_t i) {
  F sum = taps[kReach] * Load(rows[kReach] + i);
  for (int k = 0; k < kReach; ++k) {
    sum = Fma(taps[k], Load(rows[k] + i) + Load(rows[kWindow - 1 - k] + i),
              sum);
  }
  return sum;
}

// Eleven rows that follow each other; row y replaces row y - 11.
struct Ring {
  float* data;
  int64_t stride;
  float* Row(int64_t y) const {
    return data + ((y % kWindow + kWindow) % kWindow) * stride;
  }
  void Around(int64_t y, const float** rows) const {
    for (int k = 0; k < kWindow; ++k) rows[k] = Row(y + k - kReach);
  }
};

// SSIM of one vector and its derivatives by the windowed moments: the mean of
// the picture, the mean of both squares, the mean of the product.
struct Ssim {
  F value, by_mean, by_square, by_product;
};

JAXGS_INLINE Ssim SsimOf(F x, F y, F square, F product) {
  const F two = Splat(2.0f), c1 = Splat(1e-4f), c2 = Splat(9e-4f);
  const F xy = x * y, xx_yy = Fma(x, x, y * y);
  const F a1 = Fma(two, xy, c1), a2 = Fma(two, product - xy, c2);
  const F b1 = xx_yy + c1, b2 = square - xx_yy + c2;
  const F inverse = Splat(1.0f) / (b1 * b2);
  const F value = a1 * a2 * inverse;
  // 1 / b2 - 1 / b1 = (b1 - b2) / (b1 b2).
  const F by_mean = two * inverse * (y * (a2 - a1) + x * value * (b1 - b2));
  return {value, by_mean, Splat(0.0f) - value * b1 * inverse,
          two * a1 * inverse};
}

// The rings of one block, and rows to work on.
struct Block {
  Block(const LossTask& task, Columns columns, float* memory)
      : columns(columns), reach(kReach * task.channels) {
    const auto take = [&memory](int64_t count) {
      float* piece = memory;
      memory += Round(count);
      return piece;
    };
    // Whole vectors, so that no row of a ring straddles cache lines.
    const int64_t inner = Round(columns.count + 2 * reach + kSlack);
    const int64_t outer = Round(inner + 2 * reach);
    row = {take(outer), take(outer)};
    for (Ring& ring : pixels) ring = {take(kWindow * outer), outer};
    mask = take(outer);
    // Without a mask all rows of the picture have the same.
    if (!task.mask) ReadMask(task, 0, columns.Wider(2 * reach), mask);
    square = take(outer);
    product = take(outer);
    value = take(inner);
    for (Ring& ring : moments) ring = {take(kWindow * inner), inner};
    for (float*& line : derivative) line = take(inner);
    const int64_t narrow = Round(columns.count + kSlack);
    for (Ring& ring : carried) ring = {take(kWindow * narrow), narrow};
    gradient = take(narrow);
  }

  static int64_t Round(int64_t count) {
    return (count + kLanes - 1) / kLanes * kLanes;
  }

  // The mask of row `y` of the picture, over columns wider by so many floats.
  const float* Mask(const LossTask& task, int64_t y, int64_t wider) const {
    if (!task.mask) return mask + 2 * reach - wider;
    ReadMask(task, y, columns.Wider(wider), mask);
    return mask;
  }

  // Floats that the constructor takes, at most.
  static int64_t Size(int64_t columns, int64_t channels) {
    const int64_t outer =
        columns + 4 * kReach * channels + kSlack + 3 * kLanes;
    return outer * (5 + 2 * (kWindow + 1) + 1 + 4 * (kWindow + 1) + 3 + 3 * (kWindow + 1) + 1);
  }

  Columns columns;
  int64_t reach;  // Of the window along a row, in floats.
  Row row;
  float *mask, *square, *product, *value, *derivative[3], *gradient;
  Ring pixels[2], moments[4], carried[3];
};

// Windows row `y` of the four moments horizontally.
JAXGS_INLINE void EnterRow(const LossTask& task, const F* taps, int64_t y,
                           const Block& block) {
  const int64_t reach = block.reach, inner = block.columns.count + 2 * reach;
  if (y < 0 || y >= task.height) {
    for (const Ring& ring : block.moments) {
      std::fill(ring.Row(y), ring.Row(y) + ring.stride, 0.0f);
    }
    return;
  }
  const Row row{block.pixels[0].Row(y), block.pixels[1].Row(y)};
  const float* mask = block.Mask(task, y, 2 * reach);
  Read(task, y, block.columns.Wider(2 * reach), mask, row);
  for (int64_t i = 0; task.mask && i < inner + 2 * reach; i += kLanes) {
    Store(Load(row.x + i) * Load(mask + i), row.x + i);
    Store(Load(row.y + i) * Load(mask + i), row.y + i);
  }
  for (int64_t i = 0; i < inner + 2 * reach; i += kLanes) {
    const F a = Load(row.x + i), b = Load(row.y + i);
    Store(Fma(a, a, b * b), block.square + i);
    Store(a * b, block.product + i);
  }
  const float* from[4] = {row.x, row.y, block.square, block.product};
  for (int m = 0; m < 4; ++m) {
    Convolve(taps, from[m], task.channels, inner, block.moments[m].Row(y));
  }
}

// SSIM of row `y`, its sum over the block's columns, and its derivatives,
// windowed horizontally on their way back.
JAXGS_INLINE double CompareRow(const LossTask& task, const F* taps, int64_t y,
                               const Block& block) {
  if (y < 0 || y >= task.height) {
    for (const Ring& ring : block.carried) {
      std::fill(ring.Row(y), ring.Row(y) + ring.stride, 0.0f);
    }
    return 0.0;
  }
  const int64_t reach = block.reach, inner = block.columns.count + 2 * reach;
  const float* rows[4][kWindow];
  for (int m = 0; m < 4; ++m) block.moments[m].Around(y, rows[m]);
  // 0 outside of the picture, where no SSIM counts.
  const float* masks = block.Mask(task, y, reach);
  for (int64_t i = 0; i < inner; i += kLanes) {
    const Ssim ssim =
        SsimOf(ConvolveDown(taps, rows[0], i), ConvolveDown(taps, rows[1], i),
               ConvolveDown(taps, rows[2], i), ConvolveDown(taps, rows[3], i));
    const F mask = Load(masks + i);
    Store(ssim.value * mask, block.value + i);
    Store(ssim.by_mean * mask, block.derivative[0] + i);
    Store(ssim.by_square * mask, block.derivative[1] + i);
    Store(ssim.by_product * mask, block.derivative[2] + i);
  }
  if (task.gradient) {
    for (int d = 0; d < 3; ++d) {
      std::fill(block.derivative[d] + inner,
                block.derivative[d] + inner + kSlack, 0.0f);
      Convolve(taps, block.derivative[d], task.channels, block.columns.count,
               block.carried[d].Row(y));
    }
  }
  F sum = Splat(0.0f);
  std::fill(block.value + reach + block.columns.count,
            block.value + inner + kSlack, 0.0f);
  for (int64_t i = 0; i < block.columns.count; i += kLanes) {
    sum = sum + Load(block.value + reach + i);
  }
  return Sum(sum);
}

// The pixelwise terms of row `y`, and the gradient of all terms.
JAXGS_INLINE void LeaveRow(const LossTask& task, const F* taps, int64_t y,
                           const Block& block, LossSums* sums) {
  const int64_t count = block.columns.count;
  const F zero = Splat(0.0f), one = Splat(1.0f);
  const float* rows[3][kWindow];
  if (task.ssim) {
    for (int d = 0; d < 3; ++d) block.carried[d].Around(y, rows[d]);
  }
  const float* masks = block.Mask(task, y, 0);
  Row row = block.row;
  if (task.ssim && !task.mask) {  // As they came in, ten rows ago.
    const int64_t margin = 2 * block.reach;
    row = {block.pixels[0].Row(y) + margin, block.pixels[1].Row(y) + margin};
  } else {
    Read(task, y, block.columns, masks, row);
  }
  F l1 = zero, l2 = zero;
  for (int64_t i = 0; i < count; i += kLanes) {
    const F x = Load(row.x + i), target = Load(row.y + i);
    const F mask = Load(masks + i), error = x - target;
    const F sign = Select(Greater(error, zero), one, zero) -
                   Select(Greater(zero, error), one, zero);
    l1 = l1 + mask * (error * sign);
    l2 = l2 + mask * (error * error);
    F slope = Splat(task.l1) * sign + Splat(2.0f * task.l2) * error;
    if (task.ssim && task.gradient) {
      F by = Splat(2.0f) * (x * mask) * ConvolveDown(taps, rows[1], i);
      by = Fma(target * mask, ConvolveDown(taps, rows[2], i), by);
      by = by + ConvolveDown(taps, rows[0], i);
      slope = slope - Splat(task.ssim) * by;
    }
    Store(slope * mask, block.gradient + i);
  }
  sums->l1 += Sum(l1);
  sums->l2 += Sum(l2);
  if (task.gradient) {
    const int64_t length = task.width * task.channels;
    std::memcpy(task.gradient + y * length + block.columns.first,
                block.gradient, count * sizeof(float));
  }
}

// Loss and gradient of rows [top, bottom) of some columns.
LossSums LossOfBlock(const LossTask& task, const Taps& window, int64_t top,
                     int64_t bottom, int64_t first, int64_t count,
                     float* memory) {
  F taps[kWindow];
  for (int k = 0; k < kWindow; ++k) taps[k] = Splat(window.value[k]);
  const Block block(task, {first, count}, memory);
  LossSums sums;
  if (!task.ssim) {
    for (int64_t y = top; y < bottom; ++y) {
      LeaveRow(task, taps, y, block, &sums);
    }
    return sums;
  }
  for (int64_t y = top - 2 * kReach; y < bottom + 2 * kReach; ++y) {
    EnterRow(task, taps, y, block);
    const int64_t middle = y - kReach, last = middle - kReach;
    if (middle < top - kReach) continue;
    const double ssim = CompareRow(task, taps, middle, block);
    if (middle >= top && middle < bottom) sums.ssim += ssim;
    if (last >= top) LeaveRow(task, taps, last, block, &sums);
  }
  return sums;
}
