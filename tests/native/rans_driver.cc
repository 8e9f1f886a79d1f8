// Sources: kernels/rans/cpu.cc kernels/predict/cpu.cc
//
// Drives the entropy coder under the sanitizers: round trips, then streams and
// arguments that are cut, changed or garbage, all in buffers of the exact size.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

extern "C" {
int32_t jaxgs_rans_encode(const int64_t*, const int64_t*, int64_t, int64_t,
                          const int64_t*, const int64_t*, int64_t, uint8_t*,
                          int64_t*);
int32_t jaxgs_rans_decode(const uint8_t*, int64_t, const int64_t*, int64_t,
                          int64_t, const int64_t*, const int64_t*, int64_t,
                          int64_t*, int64_t*);
int32_t jaxgs_restore(const int64_t*, const int64_t*, const int64_t*,
                      const int64_t*, int64_t, int64_t, int64_t*);
int32_t jaxgs_restore_angles(const int64_t*, const int64_t*, const int64_t*,
                             int64_t, int64_t, int64_t*);
}

namespace {

constexpr int64_t kTotal = 1 << 14;

uint64_t random_state = 88172645463325252u;

uint64_t Random() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

int64_t Below(int64_t n) { return static_cast<int64_t>(Random() % n); }

void Check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "wrong: %s\n", what);
  std::exit(1);
}

struct Problem {
  std::vector<int64_t> symbols, index, cumulative, offsets{0};
  int64_t lanes;

  Problem(int64_t count, int64_t lanes) : lanes(lanes) {
    for (int64_t size : {1, 2, 5, 60, 1000}) {
      // Cuts may coincide: symbols of frequency 0.
      std::vector<int64_t> table(size + 1, 0);
      for (int64_t s = 1; s < size; ++s) {
        table[s] = table[s - 1] + Below(2 * (kTotal - table[s - 1]) / size + 1);
      }
      table[size] = kTotal;
      cumulative.insert(cumulative.end(), table.begin(), table.end());
      offsets.push_back(static_cast<int64_t>(cumulative.size()));
    }
    for (int64_t i = 0; i < count; ++i) {
      index.push_back(Below(5));
      const int64_t begin = offsets[index.back()];
      const int64_t slot = Below(kTotal);
      int64_t s = 0;
      while (cumulative[begin + s + 1] <= slot) ++s;
      symbols.push_back(s);
    }
  }

  int64_t Count() const { return static_cast<int64_t>(symbols.size()); }

  std::vector<uint8_t> Encode(int32_t* fault) const {
    std::vector<uint8_t> out(4 * lanes + 2 * Count());
    int64_t size = 0;
    *fault = jaxgs_rans_encode(symbols.data(), index.data(), Count(), lanes,
                               cumulative.data(), offsets.data(),
                               static_cast<int64_t>(offsets.size()) - 1,
                               out.data(), &size);
    // A copy: its end is the end of the memory.
    return std::vector<uint8_t>(out.begin(), out.begin() + size);
  }

  int32_t Decode(const std::vector<uint8_t>& data,
                 std::vector<int64_t>* found) const {
    found->assign(Count(), -1);
    int64_t used = -1;
    const int32_t fault = jaxgs_rans_decode(
        data.data(), static_cast<int64_t>(data.size()), index.data(), Count(),
        lanes, cumulative.data(), offsets.data(),
        static_cast<int64_t>(offsets.size()) - 1, found->data(), &used);
    if (!fault) {
      Check(used >= 0 && used <= static_cast<int64_t>(data.size()), "used");
    }
    return fault;
  }
};

void RoundTrips() {
  for (int64_t lanes : {1, 3, 32, 300, 65535}) {
    for (int64_t count : {0, 1, 31, 2000}) {
      const Problem problem(count, lanes);
      int32_t fault = 0;
      std::vector<uint8_t> data = problem.Encode(&fault);
      Check(fault == 0, "encode");
      std::vector<int64_t> found;
      Check(problem.Decode(data, &found) == 0, "decode");
      Check(found == problem.symbols, "round trip");
      if (!data.empty()) data.pop_back();
      Check(problem.Decode(data, &found) != 0, "cut by a byte");
    }
  }
}

void DamagedStreams() {
  for (int round = 0; round < 3000; ++round) {
    const Problem problem(Below(200), 1 + Below(9));
    int32_t fault = 0;
    std::vector<uint8_t> data = problem.Encode(&fault);
    Check(fault == 0, "encode");
    switch (Below(3)) {
      case 0:
        data.resize(Below(static_cast<int64_t>(data.size())));
        data.shrink_to_fit();
        break;
      case 1:
        data[Below(static_cast<int64_t>(data.size()))] ^= 1 << Below(8);
        break;
      default:
        for (uint8_t& byte : data) byte = static_cast<uint8_t>(Random());
    }
    std::vector<int64_t> found;
    if (problem.Decode(data, &found) != 0) continue;
    for (int64_t i = 0; i < problem.Count(); ++i) {
      const int64_t t = problem.index[i];
      const int64_t size = problem.offsets[t + 1] - problem.offsets[t] - 1;
      Check(found[i] >= 0 && found[i] < size, "symbol outside its table");
    }
  }
}

// Overwrites one number with one that is small, huge or negative.
void Spoil(std::vector<int64_t>* values) {
  if (values->empty()) return;
  const int64_t choices[] = {-1,     0,         1,         4,
                             kTotal, INT64_MIN, INT64_MAX, Below(20000)};
  (*values)[Below(static_cast<int64_t>(values->size()))] = choices[Below(8)];
}

void DamagedArguments() {
  for (int round = 0; round < 3000; ++round) {
    Problem problem(Below(50), 1 + Below(4));
    int32_t fault = 0;
    const std::vector<uint8_t> data = problem.Encode(&fault);
    switch (Below(4)) {
      case 0: Spoil(&problem.symbols); break;
      case 1: Spoil(&problem.index); break;
      case 2: Spoil(&problem.cumulative); break;
      default: problem.lanes = Below(2) ? -Below(9) : 65536;
    }
    if (problem.lanes < 1 || problem.lanes > 65535) {
      std::vector<int64_t> found;
      Check(problem.Decode(data, &found) != 0, "lanes");
      continue;
    }
    problem.Encode(&fault);
    std::vector<int64_t> found;
    problem.Decode(data, &found);
  }
}

void Predictions() {
  for (int round = 0; round < 3000; ++round) {
    const int64_t n = Below(40), limit = int64_t{1} << 39;
    std::vector<int64_t> residual(n), near(4 * n), values(n), levels(n),
        steps(n);
    std::vector<int64_t> taps{8, 4, 3, 1};
    for (int64_t i = 0; i < n; ++i) {
      residual[i] = Below(2001) - 1000;
      levels[i] = 1 + Below(1024);
      steps[i] = 1 + Below(1 << 20);
      for (int64_t k = 0; k < 4; ++k) near[4 * i + k] = i ? Below(i) : 0;
    }
    Check(jaxgs_restore(residual.data(), near.data(), taps.data(),
                        steps.data(), n, limit, values.data()) == 0,
          "restore");
    Check(jaxgs_restore_angles(residual.data(), levels.data(), near.data(), 4,
                               n, values.data()) == 0,
          "restore angles");
    Spoil(&residual);
    Spoil(&near);
    Spoil(&levels);
    if (Below(2)) Spoil(&steps);
    if (Below(2)) Spoil(&taps);
    jaxgs_restore(residual.data(), near.data(), taps.data(), steps.data(),
                  n, Below(2) ? limit : INT64_MAX, values.data());
    jaxgs_restore_angles(residual.data(), levels.data(), near.data(), 4, n,
                         values.data());
  }
}

}  // namespace

int main() {
  RoundTrips();
  DamagedStreams();
  DamagedArguments();
  Predictions();
  return 0;
}
