// What the kernels take from the tensors, checked.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <limits>

#include "tile_kernels.h"

namespace garv {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline void check_cpu(const Tensor& t, const char* name) {
  STD_TORCH_CHECK(t.is_cpu(), name, " must be on the CPU as the other tensors are");
  STD_TORCH_CHECK(t.is_contiguous(), name, " must be contiguous");
}

inline void check_floats(const Tensor& t, const char* name, ScalarType type, int64_t rows, int64_t columns) {
  check_cpu(t, name);
  STD_TORCH_CHECK(t.scalar_type() == type, name, " must have the dtype of means, float32 or float64");
  const bool fits =
      columns == 0 ? t.dim() == 1 && t.size(0) == rows : t.dim() == 2 && t.size(0) == rows && t.size(1) == columns;
  STD_TORCH_CHECK(fits, name, " must have ", rows, " rows", columns == 0 ? "" : " of ",
                  columns == 0 ? std::string() : std::to_string(columns));
}

// The Gaussians and the tiles of a launch.
template <typename T>
struct Scene {
  const T *means, *cholesky, *cutoffs, *times;
  const PlaneMap<T>* motion;  // of each frame; null where nothing moves
  int64_t count, frames;
  int width, height, tiles_x, tiles_y;

  int64_t tiles() const { return int64_t(tiles_x) * tiles_y; }

  // In the plane that the Gaussians lie in.
  Slice<T> slice_in_plane(int64_t n, int64_t frame) const {
    return slice_at(means + 3 * n, cholesky + 6 * n, times[frame]);
  }

  Slice<T> slice(int64_t n, int64_t frame) const {
    const Slice<T> s = slice_in_plane(n, frame);
    return motion == nullptr ? s : seen_through(motion[frame], s);
  }

  // Squared distance that is left to the slice; negative or NaN where the Gaussian plays no part at this time.
  T reach(int64_t n, const Slice<T>& s) const { return cutoffs[n] - s.u * s.u; }
};

template <typename T>
Scene<T> scene_of(const Tensor& means, const Tensor& cholesky, const Tensor& cutoffs, const Tensor& times,
                  const Tensor& motion, int64_t width, int64_t height) {
  constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max() - kTileSize;
  const ScalarType type = means.scalar_type();
  const int64_t n = means.size(0), frames = times.numel();
  check_floats(means, "means", type, n, 3);
  check_floats(cholesky, "cholesky", type, n, 6);
  check_floats(cutoffs, "cutoffs", type, n, 0);
  check_floats(times, "times", type, frames, 0);
  check_floats(motion, "motion", type, motion.size(0) == 0 ? 0 : frames, 6);
  STD_TORCH_CHECK(n < kMaxInt, "at most 2^31 Gaussians, got ", n);
  STD_TORCH_CHECK(width >= 1 && height >= 1 && width < kMaxInt && height < kMaxInt, "cannot draw an image of ", width,
                  "x", height, " pixels");
  const int64_t tiles_x = (width + kTileSize - 1) / kTileSize, tiles_y = (height + kTileSize - 1) / kTileSize;
  STD_TORCH_CHECK(tiles_x * tiles_y < kMaxInt, "cannot draw an image of ", width, "x", height, " pixels");
  return {means.const_data_ptr<T>(),
          cholesky.const_data_ptr<T>(),
          cutoffs.const_data_ptr<T>(),
          times.const_data_ptr<T>(),
          motion.size(0) == 0 ? nullptr : reinterpret_cast<const PlaneMap<T>*>(motion.const_data_ptr<T>()),
          n,
          frames,
          static_cast<int>(width),
          static_cast<int>(height),
          static_cast<int>(tiles_x),
          static_cast<int>(tiles_y)};
}

inline int checked_channels(const Tensor& colors, const Tensor& means) {
  STD_TORCH_CHECK(colors.dim() == 2 && colors.size(1) >= 1 && colors.size(1) <= kMaxChannels,
                  "colors must be [N, 1 to ", kMaxChannels, "]");
  check_floats(colors, "colors", means.scalar_type(), means.size(0), colors.size(1));
  return static_cast<int>(colors.size(1));
}

struct Lists {
  const int64_t* offsets;  // [lists + 1]
  const int32_t* ids;
  int64_t capacity;
};

inline Lists lists_of(const Tensor& isect_offsets, const Tensor& flatten_ids, int64_t lists) {
  check_cpu(isect_offsets, "isect_offsets");
  check_cpu(flatten_ids, "flatten_ids");
  STD_TORCH_CHECK(isect_offsets.scalar_type() == ScalarType::Long && isect_offsets.numel() == lists + 1,
                  "isect_offsets must be int64 [", lists + 1, "], as bin_gaussians makes it for these times and size");
  STD_TORCH_CHECK(flatten_ids.scalar_type() == ScalarType::Int, "flatten_ids must be int32");
  return {isect_offsets.const_data_ptr<int64_t>(), flatten_ids.const_data_ptr<int32_t>(), flatten_ids.numel()};
}

// Runs body(T{}) with the dtype of `t`.
template <typename Body>
auto with_dtype(const Tensor& t, const Body& body) {
  const ScalarType type = t.scalar_type();
  STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::Double, "means must be float32 or float64");
  return type == ScalarType::Float ? body(float{}) : body(double{});
}

constexpr int kTileBatch = 32;

// Hands the tiles of the grid (a Scene or what else has tiles_x and tiles_y) that the slice reaches to
// use(tiles, count), a batch at a time: the one test that all kernels share. A batch grows without a branch, for the
// test's outcome is a guess to the processor.
template <typename Grid, typename T, typename Use>
inline void visit_tiles(const Grid& grid, const Slice<T>& s, T reach, const Use& use) {
  const Conic<T> q = conic_of(s);
  const TileRange range = tiles_of(s, reach, grid.tiles_x, grid.tiles_y);
  TileIndex tiles[kTileBatch];
  int found = 0;
  for (int y = range.y0; y < range.y1; ++y) {
    for (int x = range.x0; x < range.x1; ++x) {
      tiles[found] = {x, y};
      found += tile_distance(s, q, x, y) <= reach ? 1 : 0;
      if (found == kTileBatch) {
        use(tiles, found);
        found = 0;
      }
    }
  }
  if (found > 0) use(tiles, found);
}

}  // namespace garv
