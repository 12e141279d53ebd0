// Sums the Gaussians of every tile: images [frames, height, width, C].
#include "common.cuh"
#include "weights.cuh"

namespace garv {
namespace {

constexpr int kRows = 4;                       // pixels of one column that a thread owns
constexpr int kThreads = kTilePixels / kRows;  // one block, one tile

// Everything a pixel needs of one Gaussian.
template <int C>
struct alignas(16) Staged {
  float x, y;
  Exponent e;
  float bend;  // exp2 of the exponent's second difference from row to row
  float color[C];
};

// Four rows of a column from one start (see weights.cuh).
template <int C>
__device__ __forceinline__ void add_gaussian(const Staged<C>& g, float px, float py, float (&sum)[kRows][C]) {
  const float dx = px - g.x, dy = py - g.y;
  const float slope = g.e.b * dx, constant = fmaf(g.e.a * dx, dx, g.e.k);
  float weight[kRows];
  if (g.e.c > kSteepest) {  // the same for all threads of the block
    weight[0] = exp2_approx(fmaf(fmaf(g.e.c, dy, slope), dy, constant));
    // Bounded, or a ratio past the largest number would turn a weight of 0 into NaN.
    float ratio = exp2_approx(fminf(fmaf(g.e.c, fmaf(2.f, dy, 1.f), slope), 126.f));
#pragma unroll
    for (int r = 1; r < kRows; ++r, ratio *= g.bend) weight[r] = weight[r - 1] * ratio;
  } else {
#pragma unroll
    for (int r = 0; r < kRows; ++r) weight[r] = exp2_approx(fmaf(fmaf(g.e.c, dy + r, slope), dy + r, constant));
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int c = 0; c < C; ++c) sum[r][c] = fmaf(weight[r], g.color[c], sum[r][c]);
  }
}

template <int C>
__global__ void __launch_bounds__(kThreads)
    accumulate_tiles(Scene s, TileLists lists, const float* colors, float* image) {
  __shared__ Staged<C> staged[kThreads];
  __shared__ int staged_count;

  const TileWork work(s, lists, blockIdx.x);
  const int x = work.tile_x * kTileSize + threadIdx.x % kTileSize;
  const int y = work.tile_y * kTileSize + threadIdx.x / kTileSize * kRows;
  float sum[kRows][C] = {};

  for (int64_t batch = 0; batch < work.count; batch += kThreads) {
    __syncthreads();
    if (threadIdx.x == 0) staged_count = 0;
    __syncthreads();
    if (batch + threadIdx.x < work.count) {
      const int id = work.gaussian(lists, batch + threadIdx.x);
      const ReachingSlice r = load_slice(s, id, work.time);
      if (work.touched_by(r)) {
        Staged<C>& g = staged[work.listed ? threadIdx.x : atomicAdd(&staged_count, 1)];
        g.x = r.slice.x;
        g.y = r.slice.y;
        g.e = exponent_of(r);
        g.bend = exp2_approx(2.f * g.e.c);
        for (int c = 0; c < C; ++c) g.color[c] = colors[int64_t(id) * C + c];
      }
    }
    __syncthreads();
    const int count = work.listed ? static_cast<int>(min(int64_t(kThreads), work.count - batch)) : staged_count;
    for (int k = 0; k < count; ++k) add_gaussian<C>(staged[k], x + 0.5f, y + 0.5f, sum);
  }

  if (x >= s.width) return;
  for (int r = 0; r < kRows && y + r < s.height; ++r) {
    float* pixel = image + ((int64_t(work.frame) * s.height + y + r) * s.width + x) * C;
    for (int c = 0; c < C; ++c) pixel[c] = sum[r][c];
  }
}

Tensor accumulate(const Tensor& means, const Tensor& cholesky, const Tensor& colors, const Tensor& cutoffs,
                  const Tensor& times, const Tensor& isect_offsets, const Tensor& flatten_ids, int64_t width,
                  int64_t height) {
  const Scene s = make_scene(means, cholesky, cutoffs, times, width, height);
  const TileLists lists = make_lists(s, isect_offsets, flatten_ids);
  const int channels = channels_of(s, colors);
  const DeviceGuard guard(means.get_device_index());
  const int64_t tiles = s.frames * s.tiles();
  if (s.n == 0 || tiles == 0) return torch::stable::new_zeros(colors, {s.frames, height, width, channels});

  Tensor image = torch::stable::new_empty(colors, {s.frames, height, width, channels});
  dispatch_channels(channels, [&](auto c) {
    accumulate_tiles<c><<<static_cast<unsigned>(tiles), kThreads, 0, stream_of(means)>>>(
        s, lists, static_cast<const float*>(colors.const_data_ptr()), static_cast<float*>(image.mutable_data_ptr()));
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return image;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) { m.impl("accumulate", TORCH_BOX(&accumulate)); }

}  // namespace garv
