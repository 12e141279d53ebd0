// Parts of a video: the Gaussians that a box needs, those of two encodings with weights, and the weights that a region
// gives them.
#include "regions.h"

#include <cub/block/block_reduce.cuh>

#include <vector>

#include "compaction.cuh"

namespace garv {
namespace {

// Calls body(T{}) with the dtype of the Gaussians.
template <typename Body>
auto with_dtype(const Tensor& means, const Body& body) {
  const ScalarType type = means.scalar_type();
  STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::Double, "means must be float32 or float64");
  return type == ScalarType::Float ? body(float{}) : body(double{});
}

// A tensor [rows, columns] of the dtype of the Gaussians; [rows] without columns.
template <typename T>
const T* checked(const Tensor& t, int64_t rows, int64_t columns, const char* name) {
  constexpr ScalarType type = sizeof(T) == 4 ? ScalarType::Float : ScalarType::Double;
  STD_TORCH_CHECK(t.is_cuda(), name, " must be on the GPU as means are");
  STD_TORCH_CHECK(t.is_contiguous(), name, " must be contiguous");
  STD_TORCH_CHECK(t.scalar_type() == type, name, " must have the dtype of means");
  const bool fits = columns == 0 ? t.dim() == 1 && t.size(0) == rows
                                 : t.dim() == 2 && t.size(0) == rows && t.size(1) == columns;
  STD_TORCH_CHECK(fits, name, " has the wrong shape");
  return static_cast<const T*>(t.const_data_ptr());
}

template <typename T>
PlaneMaps<T> maps_of(const Tensor& maps) {
  STD_TORCH_CHECK(maps.dim() == 2 && maps.size(0) < INT32_MAX, "maps must be [T, 6]");
  const T* const numbers = checked<T>(maps, maps.size(0), 6, "maps");
  return {reinterpret_cast<const PlaneMap<T>*>(numbers), static_cast<int>(maps.size(0))};
}

template <typename T>
struct Gaussians {
  const T *means, *cholesky, *colors;
  int64_t count;
  int channels;

  Gaussians(const Tensor& m, const Tensor& l, const Tensor& c) : count(m.size(0)) {
    STD_TORCH_CHECK(c.dim() == 2 && c.size(1) >= 1 && c.size(1) < 1 << 16, "colors must be [N, C]");
    channels = static_cast<int>(c.size(1));
    means = checked<T>(m, count, 3, "means");
    cholesky = checked<T>(l, count, 6, "cholesky");
    colors = checked<T>(c, count, channels, "colors");
  }
};

template <typename T>
struct Cropped {
  Gaussians<T> from;
  CropBox<T> box;

  __device__ bool keep(int64_t n) const {
    return box.reached_by(from.means + 3 * n, from.cholesky + 6 * n, from.colors + from.channels * n, from.channels);
  }
  __device__ T mean(int64_t n, int column) const { return box.mean(column, from.means[3 * n + column]); }
  __device__ T cholesky(int64_t n, int column) const { return box.cholesky(column, from.cholesky[6 * n + column]); }
  __device__ T color(int64_t n, int column) const { return from.colors[from.channels * n + column]; }
};

std::tuple<Tensor, Tensor, Tensor> crop_gaussians(const Tensor& means, const Tensor& cholesky, const Tensor& colors,
                                                  std::vector<int64_t> size, std::vector<int64_t> low,
                                                  std::vector<int64_t> high, std::vector<double> first,
                                                  std::vector<double> last, double threshold) {
  const DeviceGuard guard(means.get_device_index());
  return with_dtype(means, [&](auto zero) {
    using T = decltype(zero);
    const Cropped<T> part = {{means, cholesky, colors}, crop_box<T>(size, low, high, first, last, threshold)};
    return compact<T>(part, part.from.count, part.from.channels, means);
  });
}

// The first encoding's Gaussians, then the second one's, hidden as far as the first is shown.
template <typename T>
struct Weighted {
  Gaussians<T> first, second;
  const T *shown, *hidden;

  __device__ bool is_first(int64_t n) const { return n < first.count; }
  __device__ T weight(int64_t n) const { return is_first(n) ? shown[n] : T(1) - hidden[n - first.count]; }
  __device__ bool keep(int64_t n) const { return weight(n) != T(0); }
  __device__ T mean(int64_t n, int column) const {
    return is_first(n) ? first.means[3 * n + column] : second.means[3 * (n - first.count) + column];
  }
  __device__ T cholesky(int64_t n, int column) const {
    return is_first(n) ? first.cholesky[6 * n + column] : second.cholesky[6 * (n - first.count) + column];
  }
  __device__ T color(int64_t n, int column) const {
    const int channels = first.channels;
    return weight(n) *
           (is_first(n) ? first.colors[channels * n + column] : second.colors[channels * (n - first.count) + column]);
  }
};

std::tuple<Tensor, Tensor, Tensor> join_weighted(const Tensor& means, const Tensor& cholesky, const Tensor& colors,
                                                 const Tensor& weights, const Tensor& other_means,
                                                 const Tensor& other_cholesky, const Tensor& other_colors,
                                                 const Tensor& hidden) {
  const DeviceGuard guard(means.get_device_index());
  return with_dtype(means, [&](auto zero) {
    using T = decltype(zero);
    const Gaussians<T> first(means, cholesky, colors), second(other_means, other_cholesky, other_colors);
    STD_TORCH_CHECK(first.channels == second.channels, "both colors must have as many channels");
    const Weighted<T> part = {first, second, checked<T>(weights, first.count, 0, "weights"),
                              checked<T>(hidden, second.count, 0, "hidden")};
    return compact<T>(part, first.count + second.count, first.channels, means);
  });
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads)
    weigh(RegionBoxes<T> boxes, PlaneMaps<T> maps, const T* means, const T* cholesky, const T* spread, T narrower,
          T feather, int64_t count, T* weights) {
  const int64_t n = int64_t(blockIdx.x) * kRowThreads + threadIdx.x;
  if (n >= count) return;
  weights[n] = region_weight(boxes, as_seen(maps, means + 3 * n, cholesky + 6 * n), spread, narrower, feather);
}

Tensor region_weights(const Tensor& means, const Tensor& cholesky, const Tensor& maps, const Tensor& boxes,
                      const Tensor& spread, double narrower, double feather) {
  const DeviceGuard guard(means.get_device_index());
  return with_dtype(means, [&](auto zero) {
    using T = decltype(zero);
    STD_TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) < INT32_MAX, "boxes must be [7, K]");
    const int64_t count = means.size(0), columns = boxes.size(1);
    const PlaneMaps<T> frames = maps_of<T>(maps);
    const RegionBoxes<T> region = {checked<T>(boxes, 7, columns, "boxes"), static_cast<int>(columns)};
    const T *m = checked<T>(means, count, 3, "means"), *l = checked<T>(cholesky, count, 6, "cholesky");
    const T* s = checked<T>(spread, 3, 0, "spread");
    STD_TORCH_CHECK(count < INT32_MAX, "at most 2^31 Gaussians, got ", count);
    Tensor weights = new_tensor(means, {count});
    if (count == 0) return weights;
    weigh<<<row_blocks(count), kRowThreads, 0, stream_of(means)>>>(
        region, frames, m, l, s, T(narrower), T(feather), count, static_cast<T*>(weights.mutable_data_ptr()));
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    return weights;
  });
}

constexpr int kSpreadBlocks = 512;

// Sums of three numbers a thread, in the same order each time; for the first thread.
struct ThreeSums {
  double v[3];

  __device__ ThreeSums operator+(const ThreeSums& o) const { return {v[0] + o.v[0], v[1] + o.v[1], v[2] + o.v[2]}; }

  __device__ static ThreeSums of_block(const ThreeSums& mine) {
    using Reduce = cub::BlockReduce<ThreeSums, kRowThreads>;
    __shared__ typename Reduce::TempStorage space;
    return Reduce(space).Reduce(mine, [](const ThreeSums& a, const ThreeSums& b) { return a + b; });
  }
};

template <typename T>
__global__ void __launch_bounds__(kRowThreads)
    sum_logarithms(PlaneMaps<T> maps, const T* means, const T* cholesky, int64_t count, ThreeSums* partial) {
  T sums[3] = {};
  for (int64_t n = blockIdx.x * kRowThreads + threadIdx.x; n < count; n += kSpreadBlocks * kRowThreads) {
    T deviations[3];
    standard_deviations(as_seen(maps, means + 3 * n, cholesky + 6 * n).cholesky, deviations);
    for (int k = 0; k < 3; ++k) sums[k] += log(deviations[k]);
  }
  const ThreeSums all = ThreeSums::of_block({double(sums[0]), double(sums[1]), double(sums[2])});
  if (threadIdx.x == 0) partial[blockIdx.x] = all;
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) mean_of(const ThreeSums* partial, int64_t count, T* spread) {
  ThreeSums mine = {};
  for (int k = threadIdx.x; k < kSpreadBlocks; k += kRowThreads) mine = mine + partial[k];
  const ThreeSums all = ThreeSums::of_block(mine);
  if (threadIdx.x > 0) return;
  for (int k = 0; k < 3; ++k) spread[k] = static_cast<T>(exp(all.v[k] / count));
}

Tensor typical_spread(const Tensor& means, const Tensor& cholesky, const Tensor& maps) {
  const DeviceGuard guard(means.get_device_index());
  return with_dtype(means, [&](auto zero) {
    using T = decltype(zero);
    const int64_t count = means.size(0);
    const PlaneMaps<T> frames = maps_of<T>(maps);
    const T *m = checked<T>(means, count, 3, "means"), *l = checked<T>(cholesky, count, 6, "cholesky");
    Tensor spread = new_tensor(means, {3});
    Tensor space = new_tensor(means, {kSpreadBlocks * 3}, aoti_torch_dtype_float64());
    ThreeSums* const partial = static_cast<ThreeSums*>(space.mutable_data_ptr());
    const cudaStream_t stream = stream_of(means);
    sum_logarithms<<<kSpreadBlocks, kRowThreads, 0, stream>>>(frames, m, l, count, partial);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    mean_of<<<1, kRowThreads, 0, stream>>>(partial, count, static_cast<T*>(spread.mutable_data_ptr()));
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    return spread;
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) {
  m.impl("crop_gaussians", TORCH_BOX(&crop_gaussians));
  m.impl("join_weighted", TORCH_BOX(&join_weighted));
  m.impl("region_weights", TORCH_BOX(&region_weights));
  m.impl("typical_spread", TORCH_BOX(&typical_spread));
}

}  // namespace garv
