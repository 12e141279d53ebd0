// Lists the Gaussians of every tile of every frame: count per tile, prefix sum, fill. No sort: a sum needs no order.
#include <thrust/iterator/transform_iterator.h>

#include <cub/block/block_scan.cuh>
#include <cub/device/device_scan.cuh>

#include "common.cuh"

namespace garv {
namespace {

constexpr int kThreads = 256;
constexpr int kFramesPerBlock = 32;  // one bit each

// A Gaussian at a time it is alive: the ellipse it reaches, for whichever threads walk its rows of tiles.
struct Ellipse {
  float x, y;             // mean
  float r2;               // squared radius in standard deviations
  float tilt;             // dy at which the ellipse is widest, on the right; the opposite on the left
  float shift, variance;  // of x given y: mean over dy, and variance
  float inverse;          // one over the variance of y
  int id, frame, row0;    // first row of tiles
};

using Scan = cub::BlockScan<int, kThreads>;

struct Shared {
  typename Scan::TempStorage scan;
  Ellipse ellipses[kThreads];
  unsigned alive[kThreads];   // frames at which the thread's Gaussian is alive
  int first_alive[kThreads];  // of the block's (Gaussian, frame) pairs
  int first_row[kThreads];    // of the round's (ellipse, row of tiles) pairs
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

// The first tile whose pixel centres end at or after `pixel`, and the one past the last whose begin at or before it.
// Clamped before the conversion: pixel may be infinite.
__device__ __forceinline__ int first_tile(float pixel, int tiles) {
  return static_cast<int>(clamped(ceilf((pixel - (kTileSize - 0.5f)) * (1.f / kTileSize)), 0.f, float(tiles)));
}

__device__ __forceinline__ int past_last_tile(float pixel, int tiles) {
  return static_cast<int>(clamped(floorf((pixel - 0.5f) * (1.f / kTileSize)) + 1.f, 0.f, float(tiles)));
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

// Makes an ellipse of the block's k-th living (Gaussian, frame) pair; returns how many rows of tiles it touches.
__device__ __forceinline__ int make_ellipse(const Scene& s, Shared& shared, int k, int first_frame) {
  Ellipse& e = shared.ellipses[threadIdx.x];
  const int owner = owner_of(shared.first_alive, k);
  unsigned frames = shared.alive[owner];
  for (int skip = k - shared.first_alive[owner]; skip > 0; --skip) frames &= frames - 1;
  e.id = blockIdx.x * kThreads + owner;
  e.frame = first_frame + __ffs(frames) - 1;
  const ReachingSlice r = load_slice(s, e.id, s.times[e.frame]);
  const Slice<float>& g = r.slice;
  const float variance_y = g.b * g.b + g.c * g.c, radius = sqrtf(r.reach);
  e.x = g.x;
  e.y = g.y;
  e.r2 = r.reach;
  e.tilt = radius * g.b;
  e.inverse = 1.f / variance_y;
  e.shift = g.a * g.b * e.inverse;
  e.variance = g.a * g.a * g.c * g.c * e.inverse;
  const float half = radius * sqrtf(variance_y);
  e.row0 = first_tile(g.y - half, s.tiles_y);
  // Any comparison with NaN fails, so a Gaussian that is not a number touches nothing.
  return half >= 0.f && fabsf(g.x) + fabsf(g.y) < INFINITY ? max(0, past_last_tile(g.y + half, s.tiles_y) - e.row0) : 0;
}

// Tiles [first, past last) of one row of tiles that hold a point of the ellipse between their pixel centres: the extent
// of the ellipse within the row's band of y is an interval, and its ends are where the band comes nearest to the
// ellipse's own widest points. Finds what tile_distance finds, for a whole row at once.
__device__ __forceinline__ int2 touched_columns(const Ellipse& e, int tile_y, int tiles_x) {
  const float y0 = tile_y * kTileSize + 0.5f - e.y, y1 = y0 + (kTileSize - 1);
  const auto extent = [&](float widest) {
    const float dy = fminf(fmaxf(widest, y0), y1);
    return make_float2(e.shift * dy, sqrtf(fmaxf(e.variance * (e.r2 - dy * dy * e.inverse), 0.f)));
  };
  const float2 right = extent(e.tilt), left = extent(-e.tilt);
  return {first_tile(e.x + left.x - left.y, tiles_x), past_last_tile(e.x + right.x + right.y, tiles_x)};
}

// One block looks at kThreads Gaussians at up to kFramesPerBlock times. Few of these are alive and their sizes differ,
// so the work is dealt out anew twice: living (Gaussian, frame) pairs to threads, then the rows of tiles that these
// touch.
template <bool kFill>
__global__ void __launch_bounds__(kThreads) visit_pairs(Scene s, int32_t* counts, TileLists lists, int32_t* ids) {
  __shared__ Shared shared;
  const int first_frame = blockIdx.y * kFramesPerBlock;
  const unsigned alive = alive_frames(s, blockIdx.x * kThreads + threadIdx.x, first_frame);
  shared.alive[threadIdx.x] = alive;
  const int ellipses = scan_counts(shared, __popc(alive), shared.first_alive);

  for (int round = 0; round < ellipses; round += kThreads) {
    const int k = round + threadIdx.x;
    const int rows = k < ellipses ? make_ellipse(s, shared, k, first_frame) : 0;
    const int total = scan_counts(shared, rows, shared.first_row);
    for (int row = threadIdx.x; row < total; row += kThreads) {
      const int owner = owner_of(shared.first_row, row);
      const Ellipse& e = shared.ellipses[owner];
      const int tile_y = e.row0 + row - shared.first_row[owner];
      const int2 columns = touched_columns(e, tile_y, s.tiles_x);
      const int64_t first_tile = e.frame * s.tiles() + int64_t(tile_y) * s.tiles_x;
      for (int64_t tile = first_tile + columns.x; tile < first_tile + columns.y; ++tile) {
        if (kFill) {  // counts down to 0, so the counts of the first visit are the places of the second
          const int64_t slot = lists.offsets[tile] + atomicSub(counts + tile, 1) - 1;
          if (slot < lists.capacity) ids[slot] = e.id;
        } else {
          atomicAdd(counts + tile, 1);
        }
      }
    }
    __syncthreads();
  }
}

template <bool kFill>
void visit(const Scene& s, int32_t* counts, const TileLists& lists, int32_t* ids, cudaStream_t stream) {
  const dim3 grid((s.n + kThreads - 1) / kThreads, (s.frames + kFramesPerBlock - 1) / kFramesPerBlock);
  visit_pairs<kFill><<<grid, kThreads, 0, stream>>>(s, counts, lists, ids);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

struct ToInt64 {
  __device__ int64_t operator()(int32_t value) const { return value; }
};

// ends[k] = counts[0] + ... + counts[k], in 64 bits: pairs of a launch may pass 2^31.
void prefix_sum(const Tensor& like, const int32_t* counts, int64_t* ends, int n, cudaStream_t stream) {
  const auto wide = thrust::make_transform_iterator(counts, ToInt64());
  size_t bytes = 0;
  STD_CUDA_CHECK(cub::DeviceScan::InclusiveSum(nullptr, bytes, wide, ends, n, stream));
  Tensor storage = torch::stable::new_empty(like, {static_cast<int64_t>(bytes)}, ScalarType::Byte);
  STD_CUDA_CHECK(cub::DeviceScan::InclusiveSum(storage.mutable_data_ptr(), bytes, wide, ends, n, stream));
}

std::tuple<Tensor, Tensor> bin_gaussians(const Tensor& means, const Tensor& cholesky, const Tensor& cutoffs,
                                         const Tensor& times, int64_t width, int64_t height, int64_t capacity) {
  const Scene s = make_scene(means, cholesky, cutoffs, times, width, height);
  STD_TORCH_CHECK(capacity >= 0, "capacity must not be negative, got ", capacity);
  const DeviceGuard guard(means.get_device_index());
  const int64_t tiles = s.frames * s.tiles();
  Tensor offsets = torch::stable::new_zeros(means, {tiles + 1}, ScalarType::Long);
  Tensor ids = torch::stable::new_empty(means, {capacity}, ScalarType::Int);
  if (s.n == 0 || tiles == 0) return {offsets, ids};

  const cudaStream_t stream = stream_of(means);
  Tensor counters = torch::stable::new_zeros(means, {tiles}, ScalarType::Int);
  int32_t* const counts = static_cast<int32_t*>(counters.mutable_data_ptr());
  int64_t* const starts = static_cast<int64_t*>(offsets.mutable_data_ptr());
  int32_t* const places = static_cast<int32_t*>(ids.mutable_data_ptr());
  const TileLists lists = {starts, places, capacity};
  visit<false>(s, counts, lists, nullptr, stream);
  prefix_sum(means, counts, starts + 1, static_cast<int>(tiles), stream);
  if (capacity > 0) visit<true>(s, counts, lists, places, stream);
  return {offsets, ids};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) { m.impl("bin_gaussians", TORCH_BOX(&bin_gaussians)); }

}  // namespace garv
