// Lists the Gaussians of every tile of every frame: count per tile, prefix sum, fill. No sort: a sum needs no order.
#include "common.cuh"

#include <cub/block/block_scan.cuh>
#include <cub/device/device_scan.cuh>

namespace garv {
namespace {

constexpr int kThreads = 256;
constexpr int kFramesPerBlock = 32;  // one bit each

// A Gaussian at a time it is alive, for whichever threads test its tiles.
struct Candidate {
  ReachingSlice slice;
  int id, frame, x0, y0, columns;
};

using Scan = cub::BlockScan<int, kThreads>;

struct Shared {
  typename Scan::TempStorage scan;
  Candidate candidates[kThreads];
  unsigned alive[kThreads];      // frames at which the thread's Gaussian is alive
  int first_alive[kThreads];     // of the block's (Gaussian, frame) pairs
  int first_box[kThreads];       // of the round's (candidate, tile) pairs
};

// Exclusive prefix sums of the threads' counts into `firsts`; returns the total.
__device__ __forceinline__ int scan_counts(Shared& shared, int count, int* firsts) {
  int first, total;
  Scan(shared.scan).ExclusiveSum(count, first, total);
  firsts[threadIdx.x] = first;
  __syncthreads();
  return total;
}

// The last entry that starts at or before k.
__device__ __forceinline__ int owner_of(const int* firsts, int k) {
  int low = 0, high = kThreads;
  while (high - low > 1) {
    const int middle = (low + high) >> 1;
    (firsts[middle] <= k ? low : high) = middle;
  }
  return low;
}

__device__ __forceinline__ unsigned alive_frames(const Scene& s, int id, int first_frame) {
  if (id >= s.n) return 0;
  const float cutoff = s.cutoffs[id];
  const float mean = s.means[int64_t(id) * 3 + 2], inverse = 1.f / at_least_min_sigma(s.cholesky[int64_t(id) * 6]);
  unsigned alive = 0;
  for (int f = 0; f < min(kFramesPerBlock, s.frames - first_frame); ++f) {
    const float u = (s.times[first_frame + f] - mean) * inverse;
    alive |= static_cast<unsigned>(cutoff - u * u >= 0.f) << f;
  }
  return alive;
}

// Makes a candidate of the block's k-th living (Gaussian, frame) pair; returns the number of tiles around it.
__device__ __forceinline__ int make_candidate(const Scene& s, Shared& shared, int k, int first_frame) {
  Candidate& c = shared.candidates[threadIdx.x];
  const int owner = owner_of(shared.first_alive, k);
  unsigned frames = shared.alive[owner];
  for (int skip = k - shared.first_alive[owner]; skip > 0; --skip) frames &= frames - 1;
  c.id = blockIdx.x * kThreads + owner;
  c.frame = first_frame + __ffs(frames) - 1;
  c.slice = load_slice(s, c.id, s.times[c.frame]);
  const TileRange range = tiles_of(c.slice.slice, fmaxf(c.slice.reach, 0.f), s.tiles_x, s.tiles_y);
  c.x0 = range.x0;
  c.y0 = range.y0;
  c.columns = max(0, range.x1 - range.x0);
  return c.columns * max(0, range.y1 - range.y0);
}

// One block looks at kThreads Gaussians at up to kFramesPerBlock times. Few of these are alive and their sizes differ, so
// the work is dealt out anew twice: living (Gaussian, frame) pairs to threads, then their (candidate, tile) tests.
template <bool kFill>
__global__ void __launch_bounds__(kThreads)
    visit_pairs(Scene s, unsigned long long* counters, int32_t* ids, int64_t capacity) {
  __shared__ Shared shared;
  const int first_frame = blockIdx.y * kFramesPerBlock;
  const unsigned alive = alive_frames(s, blockIdx.x * kThreads + threadIdx.x, first_frame);
  shared.alive[threadIdx.x] = alive;
  const int candidates = scan_counts(shared, __popc(alive), shared.first_alive);

  for (int round = 0; round < candidates; round += kThreads) {
    const int k = round + threadIdx.x;
    const int boxes = k < candidates ? make_candidate(s, shared, k, first_frame) : 0;
    const int total = scan_counts(shared, boxes, shared.first_box);
    for (int box = threadIdx.x; box < total; box += kThreads) {
      const int owner = owner_of(shared.first_box, box);
      const Candidate& c = shared.candidates[owner];
      const int within = box - shared.first_box[owner], row = within / c.columns;
      const int tile_y = c.y0 + row, tile_x = c.x0 + within - row * c.columns;
      if (!(tile_distance(c.slice.slice, c.slice.conic, tile_x, tile_y) <= c.slice.reach)) continue;
      unsigned long long* counter = counters + c.frame * s.tiles() + int64_t(tile_y) * s.tiles_x + tile_x;
      const unsigned long long slot = atomicAdd(counter, 1ull);
      if (kFill && slot < static_cast<unsigned long long>(capacity)) ids[slot] = c.id;
    }
    __syncthreads();
  }
}

template <bool kFill>
void visit(const Scene& s, int64_t* counters, int32_t* ids, int64_t capacity, cudaStream_t stream) {
  const dim3 grid((s.n + kThreads - 1) / kThreads, (s.frames + kFramesPerBlock - 1) / kFramesPerBlock);
  visit_pairs<kFill><<<grid, kThreads, 0, stream>>>(s, reinterpret_cast<unsigned long long*>(counters), ids, capacity);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

void prefix_sum(const Tensor& like, int64_t* values, int64_t count, cudaStream_t stream) {
  const int n = static_cast<int>(count);
  size_t bytes = 0;
  STD_CUDA_CHECK(cub::DeviceScan::InclusiveSum(nullptr, bytes, values, values, n, stream));
  Tensor storage = torch::stable::new_empty(like, {static_cast<int64_t>(bytes)}, ScalarType::Byte);
  STD_CUDA_CHECK(cub::DeviceScan::InclusiveSum(storage.mutable_data_ptr(), bytes, values, values, n, stream));
}

std::tuple<Tensor, Tensor> bin_gaussians(const Tensor& means, const Tensor& cholesky, const Tensor& cutoffs,
                                         const Tensor& times, int64_t width, int64_t height, int64_t capacity) {
  const torch::stable::accelerator::DeviceGuard guard(means.get_device_index());
  const Scene s = make_scene(means, cholesky, cutoffs, times, width, height);
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
  visit<true>(s, static_cast<int64_t*>(next.mutable_data_ptr()), static_cast<int32_t*>(ids.mutable_data_ptr()), capacity,
              stream);
  return {offsets, ids};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) { m.impl("bin_gaussians", TORCH_BOX(&bin_gaussians)); }

}  // namespace garv
