// What the CUDA entry points share: checks, device guard and stream, and reading one Gaussian.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <initializer_list>
#include <type_traits>
#include <utility>

#include "gaussian.h"

namespace garv {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using torch::stable::accelerator::DeviceGuard;

constexpr int kTilePixels = kTileSize * kTileSize;

// The Gaussians and times of one launch, as plain pointers.
struct Scene {
  const float* means;             // [n, 3]
  const float* cholesky;          // [n, 6]
  const float* cutoffs;           // [n]
  const float* times;             // [frames]
  const PlaneMap<float>* motion;  // [frames]; null where nothing moves
  int n, frames, width, height, tiles_x, tiles_y;

  __host__ __device__ int64_t tiles() const { return int64_t(tiles_x) * tiles_y; }
};

// The lists that bin_gaussians made.
struct TileLists {
  const int64_t* offsets;  // [frames * tiles + 1]
  const int32_t* ids;      // [capacity]
  int64_t capacity;

  // Pairs come in any order, so where they did not all fit no list is whole.
  __device__ __forceinline__ bool complete(int64_t tiles) const { return offsets[tiles] <= capacity; }
};

inline void check_tensor(const Tensor& t, ScalarType type, std::initializer_list<int64_t> shape, const char* name) {
  STD_TORCH_CHECK(t.is_cuda(), name, " must be on the GPU as the other tensors are");
  STD_TORCH_CHECK(t.is_contiguous(), name, " must be contiguous");
  const char* wanted = type == ScalarType::Float ? "float32 on CUDA" : type == ScalarType::Long ? "int64" : "int32";
  STD_TORCH_CHECK(t.scalar_type() == type, name, " must be ", wanted);
  bool fits = t.dim() == static_cast<int64_t>(shape.size());
  int64_t axis = 0;
  for (const int64_t size : shape) fits = fits && t.size(axis++) == size;
  STD_TORCH_CHECK(fits, name, " has the wrong shape");
}

inline Scene make_scene(const Tensor& means, const Tensor& cholesky, const Tensor& cutoffs, const Tensor& times,
                        const Tensor& motion, int64_t width, int64_t height) {
  STD_TORCH_CHECK(means.dim() == 2 && times.dim() == 1, "means must be [N, 3] and times [B]");
  const int64_t n = means.size(0), frames = times.size(0);
  check_tensor(means, ScalarType::Float, {n, 3}, "means");
  check_tensor(cholesky, ScalarType::Float, {n, 6}, "cholesky");
  check_tensor(cutoffs, ScalarType::Float, {n}, "cutoffs");
  check_tensor(times, ScalarType::Float, {frames}, "times");
  check_tensor(motion, ScalarType::Float, {motion.size(0) == 0 ? 0 : frames, 6}, "motion");
  STD_TORCH_CHECK(n <= INT32_MAX - kTileSize, "at most 2^31 Gaussians, got ", n);
  // Kernels count the numbers of a row of tiles in 32 bits.
  constexpr int64_t kWidest = INT32_MAX / (kTileSize * kMaxChannels);
  STD_TORCH_CHECK(width >= 1 && height >= 1 && width <= kWidest && height <= INT32_MAX - kTileSize,
                  "cannot draw an image of ", width, "x", height, " pixels; at most ", kWidest, " wide");
  Scene s;
  s.means = static_cast<const float*>(means.const_data_ptr());
  s.cholesky = static_cast<const float*>(cholesky.const_data_ptr());
  s.cutoffs = static_cast<const float*>(cutoffs.const_data_ptr());
  s.times = static_cast<const float*>(times.const_data_ptr());
  s.motion = motion.size(0) == 0 ? nullptr : static_cast<const PlaneMap<float>*>(motion.const_data_ptr());
  s.n = static_cast<int>(n);
  s.frames = static_cast<int>(frames);
  s.width = static_cast<int>(width);
  s.height = static_cast<int>(height);
  s.tiles_x = (s.width + kTileSize - 1) / kTileSize;
  s.tiles_y = (s.height + kTileSize - 1) / kTileSize;
  STD_TORCH_CHECK(s.tiles() < INT32_MAX && frames * s.tiles() < INT32_MAX,
                  "frames x tiles must stay below 2^31 in one launch: draw fewer frames at once");
  return s;
}

inline TileLists make_lists(const Scene& s, const Tensor& offsets, const Tensor& ids) {
  STD_TORCH_CHECK(ids.dim() == 1, "flatten_ids must be [capacity]");
  check_tensor(offsets, ScalarType::Long, {s.frames * s.tiles() + 1}, "isect_offsets");
  check_tensor(ids, ScalarType::Int, {ids.size(0)}, "flatten_ids");
  return {static_cast<const int64_t*>(offsets.const_data_ptr()), static_cast<const int32_t*>(ids.const_data_ptr()),
          ids.size(0)};
}

inline int channels_of(const Scene& s, const Tensor& colors) {
  STD_TORCH_CHECK(colors.dim() == 2, "colors must be [N, C]");
  const int64_t channels = colors.size(1);
  check_tensor(colors, ScalarType::Float, {s.n, channels}, "colors");
  STD_TORCH_CHECK(channels >= 1 && channels <= kMaxChannels, "colors must have 1 to 8 channels, got ", channels);
  return static_cast<int>(channels);
}

inline cudaStream_t stream_of(const Tensor& t) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

// Where `like` is, not set to anything; dtype: what aoti_torch_dtype_... gives. By the name of an operator, as
// torch::stable::new_empty finds its own, it takes microseconds more, which count where the device waits for them.
inline Tensor new_tensor(const Tensor& like, std::initializer_list<int64_t> shape, int32_t dtype) {
  std::array<int64_t, 4> strides;
  int64_t count = 1;
  for (size_t axis = shape.size(); axis-- > 0; count *= shape.begin()[axis]) strides[axis] = count;
  AtenTensorHandle made;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(static_cast<int64_t>(shape.size()), shape.begin(), strides.data(),
                                                  dtype, aoti_torch_device_type_cuda(), like.get_device_index(),
                                                  &made));
  return Tensor(made);
}

// Of the dtype of `like`.
inline Tensor new_tensor(const Tensor& like, std::initializer_list<int64_t> shape) {
  int32_t dtype;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
  return new_tensor(like, shape, dtype);
}

// A slice as the kernels use it, with what is left of its cutoff after the distance in time.
struct ReachingSlice {
  Slice<float> slice;
  Conic<float> conic;
  float reach;
};

// Of a slice in the plane that the Gaussians lie in, as a frame sees it.
__device__ __forceinline__ ReachingSlice reaching(const Scene& s, int frame, const Slice<float>& slice, float cutoff) {
  ReachingSlice r;
  r.slice = s.motion == nullptr ? slice : seen_through(s.motion[frame], slice);
  r.conic = conic_of(r.slice);
  r.reach = cutoff - slice.u * slice.u;
  return r;
}

__device__ __forceinline__ ReachingSlice load_slice(const Scene& s, int id, int frame) {
  const Slice<float> slice = slice_at(s.means + int64_t(id) * 3, s.cholesky + int64_t(id) * 6, s.times[frame]);
  return reaching(s, frame, slice, s.cutoffs[id]);
}

// The Gaussians of one tile, wherever they are known from: from the tile's list or, where the list did not fit into
// flatten_ids, from looking at every Gaussian again.
struct TileWork {
  int64_t begin, count;
  bool listed;
  int frame, tile_x, tile_y;

  __device__ TileWork(const Scene& s, const TileLists& lists, int64_t tile) {
    begin = lists.offsets[tile];
    listed = lists.complete(s.frames * s.tiles());
    count = listed ? lists.offsets[tile + 1] - begin : s.n;
    const int per_frame = static_cast<int>(s.tiles());
    frame = static_cast<int>(tile) / per_frame;
    const int rest = static_cast<int>(tile) - frame * per_frame;
    tile_y = rest / s.tiles_x;
    tile_x = rest - tile_y * s.tiles_x;
  }

  __device__ __forceinline__ int gaussian(const TileLists& lists, int64_t k) const {
    return listed ? lists.ids[begin + k] : static_cast<int>(k);
  }

  __device__ __forceinline__ bool touched_by(const ReachingSlice& r) const {
    return listed || (r.reach >= 0.f && tile_distance(r.slice, r.conic, tile_x, tile_y) <= r.reach);
  }
};

// Calls launch(std::integral_constant<int, C>) for the number of channels at hand, 1 to kMost.
template <int kMost, typename F>
void dispatch_channels(int channels, F&& launch) {
  if constexpr (kMost > 0) {
    if (channels == kMost) return launch(std::integral_constant<int, kMost>());
    dispatch_channels<kMost - 1>(channels, std::forward<F>(launch));
  }
}

}  // namespace garv
