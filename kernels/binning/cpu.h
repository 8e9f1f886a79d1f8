// Which splat touches which tile.
#ifndef JAXGS_BINNING_CPU_H_
#define JAXGS_BINNING_CPU_H_

#include <cstdint>
#include <vector>

#include "../native/parallel.h"

namespace jaxgs {

// Splats as far as their shape goes, and the tiles.
struct Ellipses {
  const float* mean;        // N, 2.
  const float* conic;       // N, 3.
  const float* log_weight;  // N.
  int64_t count;            // N.
  int64_t height, width;
  int64_t tile;
  double cutoff;

  int64_t cols() const { return (width + tile - 1) / tile; }
  int64_t rows() const { return (height + tile - 1) / tile; }
};

// Tiles that the boxes of all splats touch: an upper bound of the pairs.
double CountBoxes(const Ellipses& ellipses);

// Lists the splats of each tile, ascending.
//
//   ids: receives at most `capacity` ids; grown to what is needed if null.
//   starts: T + 1.
//
// Returns how many pairs there are; more than `capacity` means that the lists
// are not complete.
int64_t BinSplats(const Ellipses& ellipses, const Executor& executor,
                  int64_t capacity, int32_t* ids, std::vector<int32_t>* grown,
                  int32_t* starts);

}  // namespace jaxgs

#endif  // JAXGS_BINNING_CPU_H_
