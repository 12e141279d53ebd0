// Lists the Gaussians of every tile of every frame: count per tile, prefix sum, fill. No sort: a sum needs no order.
#include "common.cuh"

#include <cub/block/block_scan.cuh>
#include <cub/device/device_scan.cuh>

namespace garv {
namespace {

constexpr int kThreads = 256;

// What a thread found out about its Gaussian, for whichever threads test its tiles.
struct Candidate {
  ReachingSlice slice;
  int x0, y0, columns;
};

// One block looks at kThreads Gaussians of one frame. The (Gaussian, tile) tests of the block are spread evenly over its
// threads, so that one wide Gaussian does not hold up a warp.
template <bool kFill>
__global__ void __launch_bounds__(kThreads) visit_pairs(Scene s, unsigned long long* counters, int32_t* ids, int64_t capacity) {
  using Scan = cub::BlockScan<int, kThreads>;
  __shared__ typename Scan::TempStorage scan_storage;
  __shared__ Candidate candidates[kThreads];
  __shared__ int firsts[kThreads + 1];

  const int frame = blockIdx.y;
  const int first_id = blockIdx.x * kThreads;
  const int id = first_id + threadIdx.x;
  int boxes = 0;
  if (id < s.n) {
    const float time = s.times[frame];
    const float u = (time - s.means[int64_t(id) * 3 + 2]) / at_least_min_sigma(s.cholesky[int64_t(id) * 6]);
    if (s.cutoffs[id] - u * u >= 0.f) {
      Candidate& c = candidates[threadIdx.x];
      c.slice = load_slice(s, id, time);
      const TileRange range = tiles_of(c.slice.slice, c.slice.reach, s.tiles_x, s.tiles_y);
      c.x0 = range.x0;
      c.y0 = range.y0;
      c.columns = range.x1 - range.x0;
      boxes = max(0, c.columns) * max(0, range.y1 - range.y0);
    }
  }
  int first, total;
  Scan(scan_storage).ExclusiveSum(boxes, first, total);
  firsts[threadIdx.x] = first;
  if (threadIdx.x == 0) firsts[kThreads] = total;
  __syncthreads();

  for (int k = threadIdx.x; k < total; k += kThreads) {
    int low = 0, high = kThreads;  // the last candidate that starts at or before k
    while (high - low > 1) {
      const int middle = (low + high) >> 1;
      (firsts[middle] <= k ? low : high) = middle;
    }
    const Candidate& c = candidates[low];
    const int row = (k - firsts[low]) / c.columns;
    const int tile_y = c.y0 + row, tile_x = c.x0 + (k - firsts[low]) - row * c.columns;
    if (!(tile_distance(c.slice.slice, c.slice.conic, tile_x, tile_y) <= c.slice.reach)) continue;
    unsigned long long* counter = counters + frame * s.tiles() + int64_t(tile_y) * s.tiles_x + tile_x;
    const unsigned long long slot = atomicAdd(counter, 1ull);
    if (kFill && slot < static_cast<unsigned long long>(capacity)) ids[slot] = first_id + low;
  }
}

template <bool kFill>
void visit(const Scene& s, int64_t* counters, int32_t* ids, int64_t capacity, cudaStream_t stream) {
  const dim3 grid((s.n + kThreads - 1) / kThreads, s.frames);
  visit_pairs<kFill><<<grid, kThreads, 0, stream>>>(s, reinterpret_cast<unsigned long long*>(counters), ids, capacity);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

void prefix_sum(const Tensor& like, int64_t* values, int64_t count, cudaStream_t stream) {
  size_t bytes = 0;
  STD_CUDA_CHECK(cub::DeviceScan::InclusiveSum(nullptr, bytes, values, values, static_cast<int>(count), stream));
  Tensor storage = torch::stable::new_empty(like, {static_cast<int64_t>(bytes)}, ScalarType::Byte);
  STD_CUDA_CHECK(cub::DeviceScan::InclusiveSum(storage.mutable_data_ptr(), bytes, values, values, static_cast<int>(count), stream));
}

std::tuple<Tensor, Tensor> bin_gaussians(const Tensor& means, const Tensor& cholesky, const Tensor& cutoffs,
                                         const Tensor& times, int64_t width, int64_t height, int64_t capacity) {
  const torch::stable::accelerator::DeviceGuard guard(means.get_device_index());
  const Scene s = make_scene(means, cholesky, cutoffs, times, width, height);
  STD_TORCH_CHECK(s.frames <= 65535, "at most 65535 frames in one launch, got ", s.frames);
  const int64_t tiles = s.frames * s.tiles();
  Tensor offsets = torch::stable::new_zeros(means, {tiles + 1}, ScalarType::Long);
  Tensor ids = torch::stable::new_empty(means, {capacity}, ScalarType::Int);
  if (s.n == 0 || tiles == 0) return {offsets, ids};

  const cudaStream_t stream = stream_of(means);
  int64_t* const starts = static_cast<int64_t*>(offsets.mutable_data_ptr());
  visit<false>(s, starts + 1, nullptr, 0, stream);
  prefix_sum(means, starts + 1, tiles, stream);
  if (capacity == 0) return {offsets, ids};
  Tensor next = torch::stable::clone(offsets);  // where the next Gaussian of each tile goes
  visit<true>(s, static_cast<int64_t*>(next.mutable_data_ptr()), static_cast<int32_t*>(ids.mutable_data_ptr()), capacity, stream);
  return {offsets, ids};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) { m.impl("bin_gaussians", TORCH_BOX(&bin_gaussians)); }

}  // namespace garv
