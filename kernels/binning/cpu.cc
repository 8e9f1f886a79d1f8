// Which splat touches which tile: the exact spans of an ellipse, tile row by
// tile row.

#include "cpu.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "../native/denormals.h"
#include "../native/ffi.h"

namespace jaxgs {
namespace {

// Tiles first .. first + length - 1 of one row of tiles.
struct Span {
  int32_t id, first, length;
};

// An ellipse as an equation about its centre, a x^2 + 2 b x y + c y^2 <= r2, in
// double: for a needle a c - b^2 cancels.
struct Shape {
  double x, y, a, b, c, r2, det;
  double half_x, half_y;
  int64_t first_row, last_row, first_column, last_column;  // Of pixels.
  bool seen;
};

// Pixels whose centres lie between two coordinates, within [0, size).
struct PixelRange {
  PixelRange(double low, double high, int64_t size) {
    const double last = static_cast<double>(size - 1);
    low = std::ceil(low - 0.5);
    high = std::floor(high - 0.5);
    empty = !(low <= high && high >= 0.0 && low <= last);
    if (empty) return;
    first = static_cast<int64_t>(std::max(low, 0.0));
    this->last = static_cast<int64_t>(std::min(high, last));
  }
  bool empty;  // True too where a coordinate is NaN.
  int64_t first = 0, last = -1;
};

Shape ShapeOf(const Ellipses& in, int64_t i) {
  Shape s;
  s.x = in.mean[2 * i];
  s.y = in.mean[2 * i + 1];
  s.a = in.conic[3 * i];
  s.b = in.conic[3 * i + 1];
  s.c = in.conic[3 * i + 2];
  const double reach = in.cutoff + in.log_weight[i];
  // Rounding in the rasteriser's float32 must find its splat listed.
  s.r2 = 2.0 * (reach * (1 + 1e-4) + 1e-4);
  s.det = std::max(s.a * s.c - s.b * s.b, 1e-7 * s.a * s.c);
  s.half_x = std::sqrt(s.c * s.r2 / s.det);
  s.half_y = std::sqrt(s.a * s.r2 / s.det);
  const PixelRange rows(s.y - s.half_y, s.y + s.half_y, in.height);
  const PixelRange columns(s.x - s.half_x, s.x + s.half_x, in.width);
  // NaN compares false: a broken splat is not listed, nor is one of infinite
  // weight.
  s.seen = reach > 0.0 && s.r2 < std::numeric_limits<double>::infinity() &&
           s.a > 0.0 && s.c > 0.0 && !rows.empty && !columns.empty;
  s.first_row = rows.first;
  s.last_row = rows.last;
  s.first_column = columns.first;
  s.last_column = columns.last;
  return s;
}

// The columns of pixels that the ellipse reaches in rows [first, last]. The
// right border x(y) = (-b y + sqrt(a r2 - det y^2)) / a is concave: over a
// range of y it is farthest out where y comes closest to the place of the
// extreme; the left border is its mirror image.
PixelRange Columns(const Ellipses& in, const Shape& s, int64_t first,
                   int64_t last) {
  const double low = std::max(first + 0.5 - s.y, -s.half_y);
  const double high = std::min(last + 0.5 - s.y, s.half_y);
  const double extreme = -s.b / s.c * s.half_x;
  const auto border = [&s](double y, double sign) {
    const double root = std::sqrt(std::max(s.a * s.r2 - s.det * y * y, 0.0));
    return (-s.b * y + sign * root) / s.a;
  };
  const double right = border(std::clamp(extreme, low, high), 1.0);
  const double left = border(std::clamp(-extreme, low, high), -1.0);
  PixelRange columns(s.x + left, s.x + right, in.width);
  // Whatever the rounding, no more than CountBoxes counts.
  columns.first = std::max(columns.first, s.first_column);
  columns.last = std::min(columns.last, s.last_column);
  columns.empty |= columns.first > columns.last;
  return columns;
}

// Spans of splats [begin, end) and how many there are of each tile. Stops to
// note them where there are more than `capacity`.
struct Part {
  std::vector<Span> spans;
  std::vector<int64_t> counts;  // Of each tile; later, the next place.
  int64_t pairs = 0;

  void Collect(const Ellipses& in, int64_t begin, int64_t end,
               int64_t capacity) {
    const int64_t cols = in.cols();
    counts.assign(cols * in.rows(), 0);
    spans.reserve(3 * (end - begin));
    for (int64_t i = begin; i < end && pairs <= capacity; ++i) {
      const Shape s = ShapeOf(in, i);
      if (!s.seen) continue;
      for (int64_t row = s.first_row / in.tile; row <= s.last_row / in.tile;
           ++row) {
        const int64_t top = std::max(row * in.tile, s.first_row);
        const int64_t bottom = std::min((row + 1) * in.tile - 1, s.last_row);
        const PixelRange columns = Columns(in, s, top, bottom);
        if (columns.empty) continue;
        const int64_t first = columns.first / in.tile;
        const int64_t length = columns.last / in.tile - first + 1;
        const int64_t tile = row * cols + first;
        spans.push_back({static_cast<int32_t>(i), static_cast<int32_t>(tile),
                         static_cast<int32_t>(length)});
        for (int64_t t = tile; t < tile + length; ++t) ++counts[t];
        pairs += length;
      }
    }
  }
};

void CheckTile(const Ellipses& in) {
  if (in.tile < 1) throw std::invalid_argument("tile must be positive");
}

}  // namespace

double CountBoxes(const Ellipses& in) {
  CheckTile(in);
  const FlushDenormals flush;
  double boxes = 0.0;
  for (int64_t i = 0; i < in.count; ++i) {
    const Shape s = ShapeOf(in, i);
    if (!s.seen) continue;
    boxes +=
        static_cast<double>(s.last_row / in.tile - s.first_row / in.tile + 1) *
        (s.last_column / in.tile - s.first_column / in.tile + 1);
  }
  return boxes;
}

int64_t BinSplats(const Ellipses& in, const Executor& executor,
                  int64_t capacity, int32_t* ids, std::vector<int32_t>* grown,
                  int32_t* starts) {
  CheckTile(in);
  // A part of less than a thousand splats is not worth a thread. The lists do
  // not depend on the parts: they are walked in order.
  int64_t num_parts =
      std::clamp<int64_t>(in.count / 1024, 1, executor.threads());
  std::vector<Part> parts(num_parts);
  executor.For(num_parts, [&](int64_t p) {
    parts[p].Collect(in, in.count * p / num_parts,
                     in.count * (p + 1) / num_parts, capacity);
  });
  int64_t pairs = 0;
  for (const Part& part : parts) pairs += part.pairs;
  if (pairs > capacity && num_parts > 1) {
    // What is left out must not depend on where each part gave up.
    num_parts = 1;
    parts.assign(1, Part());
    executor.For(1, [&](int64_t) {
      parts[0].Collect(in, 0, in.count, capacity);
    });
  }
  const int64_t tiles = in.cols() * in.rows();
  int64_t total = 0;
  for (int64_t t = 0; t < tiles; ++t) {
    starts[t] = static_cast<int32_t>(std::min(total, capacity));
    for (Part& part : parts) {
      const int64_t count = part.counts[t];
      part.counts[t] = total;
      total += count;
    }
  }
  starts[tiles] = static_cast<int32_t>(std::min(total, capacity));
  if (grown) {
    grown->resize(std::min(total, capacity));
    ids = grown->data();
  }
  executor.For(num_parts, [&](int64_t p) {
    for (const Span& span : parts[p].spans) {
      for (int64_t t = span.first; t < span.first + span.length; ++t) {
        const int64_t place = parts[p].counts[t]++;
        if (place < capacity) ids[place] = span.id;
      }
    }
  });
  return total;
}

namespace {

ffi::Error Bin(ffi::ThreadPool pool, FloatIn mean, FloatIn conic,
               FloatIn log_weight, IntOut ids, IntOut starts, IntOut dropped,
               int64_t height, int64_t width, int64_t tile, float cutoff) {
  return Guarded([&] {
    const Executor executor = PoolExecutor(pool);
    const int64_t count = Axis(mean, 2), capacity = Axis(*ids, 1);
    for (int64_t b = 0; b < BatchOf(mean, 2); ++b) {
      const Ellipses in{mean.typed_data() + b * count * 2,
                        conic.typed_data() + b * count * 3,
                        log_weight.typed_data() + b * count,
                        count,
                        height,
                        width,
                        tile,
                        cutoff};
      const int64_t tiles = in.cols() * in.rows();
      int32_t* list = ids->typed_data() + b * capacity;
      const int64_t total =
          BinSplats(in, executor, capacity, list, nullptr,
                    starts->typed_data() + b * (tiles + 1));
      std::fill(list + std::min(total, capacity), list + capacity, 0);
      int32_t lost = 0;
      if (total > capacity) {
        // A number that does not depend on where the parts gave up.
        const double most = std::numeric_limits<int32_t>::max();
        lost = static_cast<int32_t>(
            std::clamp(CountBoxes(in) - capacity, 1.0, most));
      }
      dropped->typed_data()[b] = lost;
    }
    return ffi::Error::Success();
  });
}

ffi::Error Count(FloatIn mean, FloatIn conic, FloatIn log_weight,
                 FloatOut pairs, int64_t height, int64_t width, int64_t tile,
                 float cutoff) {
  return Guarded([&] {
    const int64_t count = Axis(mean, 2);
    for (int64_t b = 0; b < BatchOf(mean, 2); ++b) {
      const double boxes = CountBoxes({mean.typed_data() + b * count * 2,
                                       conic.typed_data() + b * count * 3,
                                       log_weight.typed_data() + b * count,
                                       count, height, width, tile, cutoff});
      float rounded = static_cast<float>(boxes);
      // A bound is rounded up.
      if (rounded < boxes) rounded = std::nextafter(rounded, HUGE_VALF);
      pairs->typed_data()[b] = rounded;
    }
    return ffi::Error::Success();
  });
}

}  // namespace
}  // namespace jaxgs

#pragma GCC visibility push(default)
extern "C" {

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxgs_ffi_bin_splats, jaxgs::Bin,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::S32>>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::S32>>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::S32>>()
                                  .Attr<int64_t>("height")
                                  .Attr<int64_t>("width")
                                  .Attr<int64_t>("tile")
                                  .Attr<float>("cutoff"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxgs_ffi_count_pairs, jaxgs::Count,
                              xla::ffi::Ffi::Bind()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Arg<jaxgs::FloatIn>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Attr<int64_t>("height")
                                  .Attr<int64_t>("width")
                                  .Attr<int64_t>("tile")
                                  .Attr<float>("cutoff"));

double jaxgs_count_pairs(
    const float* mean, const float* conic, const float* log_weight, int64_t n,
    int64_t height, int64_t width, float cutoff, int32_t tile) {
  try {
    return jaxgs::CountBoxes(
        {mean, conic, log_weight, n, height, width, tile, cutoff});
  } catch (const std::exception&) {
    return HUGE_VAL;  // More than any limit.
  }
}

}  // extern "C"
#pragma GCC visibility pop
