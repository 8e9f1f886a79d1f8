// The rANS coder of jaxgs/codec/rans.py, symbol by symbol. The text of that
// module is the definition, and its errors are raised there: the functions here
// only say that something is wrong, whatever they are given.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

namespace {

constexpr int kPrecisionBits = 14;
constexpr int64_t kTotal = int64_t{1} << kPrecisionBits;
constexpr uint32_t kStateMin = uint32_t{1} << 16;
constexpr int64_t kLanesMax = 65535;

enum Status : int32_t {
  kOk = 0,
  kBadArgument = 1,
  kBadStream = 2,
  kNoMemory = 3,
};

// All tables of a stream, one behind the other: table t has the cumulative
// frequencies cumulative[offsets[t]] to cumulative[offsets[t + 1] - 1].
struct Tables {
  const int64_t* cumulative;
  const int64_t* offsets;
  int64_t count;

  int64_t NumSymbols(int64_t table) const {
    return offsets[table + 1] - offsets[table] - 1;
  }

  bool Valid() const {
    if (count < 1 || offsets[0] != 0) return false;
    for (int64_t t = 0; t < count; ++t) {
      const int64_t begin = offsets[t], end = offsets[t + 1];
      if (begin < 0 || end < begin + 2) return false;
      if (cumulative[begin] != 0 || cumulative[end - 1] != kTotal) return false;
      for (int64_t i = begin + 1; i < end; ++i) {
        if (cumulative[i] < cumulative[i - 1]) return false;
      }
    }
    return true;
  }
};

uint32_t ReadState(const uint8_t* p) {
  return uint32_t{p[0]} | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 |
         uint32_t{p[3]} << 24;
}

void WriteState(uint32_t x, uint8_t* p) {
  for (int k = 0; k < 4; ++k) p[k] = static_cast<uint8_t>(x >> (8 * k));
}

int32_t Encode(const int64_t* symbols, const int64_t* table_index,
               int64_t count, int64_t lanes, const Tables& tables,
               uint8_t* out, int64_t* size) {
  if (count < 0 || lanes < 1 || lanes > kLanesMax || !tables.Valid()) {
    return kBadArgument;
  }
  std::vector<uint32_t> state(lanes, kStateMin);
  // The words come out last first, so they are written from the end.
  const int64_t capacity = 4 * lanes + 2 * count;
  int64_t position = capacity;
  int64_t lane = count % lanes;
  for (int64_t i = count - 1; i >= 0; --i) {
    lane = (lane == 0 ? lanes : lane) - 1;
    const int64_t t = table_index[i], s = symbols[i];
    if (t < 0 || t >= tables.count) return kBadArgument;
    if (s < 0 || s >= tables.NumSymbols(t)) return kBadArgument;
    const int64_t* entry = tables.cumulative + tables.offsets[t] + s;
    const auto c = static_cast<uint32_t>(entry[0]);
    const auto f = static_cast<uint32_t>(entry[1] - entry[0]);
    if (f == 0) return kBadArgument;
    uint32_t x = state[lane];
    if ((x >> (32 - kPrecisionBits)) >= f) {
      position -= 2;
      out[position] = static_cast<uint8_t>(x);
      out[position + 1] = static_cast<uint8_t>(x >> 8);
      x >>= 16;
    }
    state[lane] = ((x / f) << kPrecisionBits) + x % f + c;
  }
  for (int64_t k = 0; k < lanes; ++k) WriteState(state[k], out + 4 * k);
  std::memmove(out + 4 * lanes, out + position, capacity - position);
  *size = 4 * lanes + capacity - position;
  return kOk;
}

int32_t Decode(const uint8_t* data, int64_t size, const int64_t* table_index,
               int64_t count, int64_t lanes, const Tables& tables,
               int64_t* symbols, int64_t* used) {
  if (count < 0 || lanes < 1 || lanes > kLanesMax || !tables.Valid()) {
    return kBadArgument;
  }
  if (size < 4 * lanes) return kBadStream;
  std::vector<uint32_t> state(lanes);
  for (int64_t k = 0; k < lanes; ++k) {
    state[k] = ReadState(data + 4 * k);
    if (state[k] < kStateMin) return kBadStream;
  }
  int64_t position = 4 * lanes;
  int64_t lane = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t t = table_index[i];
    if (t < 0 || t >= tables.count) return kBadArgument;
    const int64_t* begin = tables.cumulative + tables.offsets[t];
    const int64_t* end = tables.cumulative + tables.offsets[t + 1];
    uint32_t x = state[lane];
    const uint32_t slot = x & (kTotal - 1);
    // The last entry is over every slot, and the first is at most any: the
    // symbol is in the table.
    const int64_t* next = std::upper_bound(begin, end, int64_t{slot});
    symbols[i] = next - begin - 1;
    const auto c = static_cast<uint32_t>(next[-1]);
    const auto f = static_cast<uint32_t>(next[0] - next[-1]);
    x = f * (x >> kPrecisionBits) + slot - c;
    if (x < kStateMin) {
      if (size - position < 2) return kBadStream;
      x = x << 16 | uint32_t{data[position]} |
          uint32_t{data[position + 1]} << 8;
      position += 2;
    }
    state[lane] = x;
    if (++lane == lanes) lane = 0;
  }
  for (uint32_t x : state) {
    if (x != kStateMin) return kBadStream;
  }
  *used = position;
  return kOk;
}

}  // namespace

#define JAXGS_EXPORT extern "C" __attribute__((visibility("default")))

// Writes a stream of at most 4 * lanes + 2 * count bytes to `out`, and its
// length to `size`.
JAXGS_EXPORT int32_t jaxgs_rans_encode(
    const int64_t* symbols, const int64_t* table_index, int64_t count,
    int64_t lanes, const int64_t* cumulative, const int64_t* offsets,
    int64_t num_tables, uint8_t* out, int64_t* size) {
  try {
    return Encode(symbols, table_index, count, lanes,
                  {cumulative, offsets, num_tables}, out, size);
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
}

// Reads a stream at the front of `data`: writes `count` symbols, and to `used`
// how many bytes it took.
JAXGS_EXPORT int32_t jaxgs_rans_decode(
    const uint8_t* data, int64_t size, const int64_t* table_index,
    int64_t count, int64_t lanes, const int64_t* cumulative,
    const int64_t* offsets, int64_t num_tables, int64_t* symbols,
    int64_t* used) {
  try {
    return Decode(data, size, table_index, count, lanes,
                  {cumulative, offsets, num_tables}, symbols, used);
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
}
