// Sums the Gaussians of every tile: images [frames, height, width, C].
#include "common.cuh"
#include "weights.cuh"

namespace garv {
namespace {

constexpr int kThreads = 32;  // one warp, one tile
constexpr int kHalves = 2;    // of a tile, upper and lower
constexpr int kHalfHeight = kTileSize / kHalves;
constexpr int kRows = kTilePixels / kHalves / kThreads;  // pixels of one column that a thread owns in each half
// Squared distance beyond which a weight, below 2^-17, is lost in the rounding of a sum of ordinary colours.
constexpr float kNothing = 24.f;

// Everything a pixel needs of one Gaussian.
template <int C>
struct alignas(16) Staged {
  float x, y;
  Exponent e;
  float bend;       // exp2 of the exponent's second difference from row to row
  unsigned halves;  // a bit for each half of the tile that the Gaussian means anything to
  float color[C];
};

template <int C>
__device__ __forceinline__ void stage(const TileWork& work, const ReachingSlice& r, const float* color, Staged<C>& g) {
  g.x = r.slice.x;
  g.y = r.slice.y;
  g.e = exponent_of(r);
  g.bend = exp2_approx(2.f * g.e.c);
  g.halves = 0;
  const float u2 = r.slice.u * r.slice.u;
  for (int half = 0; half < kHalves; ++half) {
    const int x = work.tile_x * kTileSize, y = work.tile_y * kTileSize + half * kHalfHeight;
    const float distance = u2 + box_distance(r.slice, r.conic, x, y, kTileSize, kHalfHeight);
    g.halves |= static_cast<unsigned>(distance < kNothing) << half;
  }
  for (int c = 0; c < C; ++c) g.color[c] = color[c];
}

// Four rows of a column from one start (see weights.cuh).
template <int C>
__device__ __forceinline__ void add_rows(const Staged<C>& g, float dy, float slope, float constant,
                                         float (&sum)[kRows][C]) {
  float weight[kRows];
  if (g.e.c > kSteepest) {  // the same for all threads
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
  const TileWork work(s, lists, blockIdx.x);
  const int x = work.tile_x * kTileSize + threadIdx.x % kTileSize;
  const int y = work.tile_y * kTileSize + threadIdx.x / kTileSize * kRows;
  float sum[kHalves][kRows][C] = {};

  for (int64_t batch = 0; batch < work.count; batch += kThreads) {
    int id = 0;
    ReachingSlice r;
    bool touched = batch + threadIdx.x < work.count;
    if (touched) {
      id = work.gaussian(lists, batch + threadIdx.x);
      r = load_slice(s, id, work.frame);
      touched = work.touched_by(r);
    }
    const unsigned warp = __ballot_sync(0xffffffffu, touched);
    const int place = __popc(warp & ((1u << threadIdx.x) - 1));
    if (touched) stage<C>(work, r, colors + int64_t(id) * C, staged[place]);
    __syncwarp();
    for (int k = 0; k < __popc(warp); ++k) {
      const Staged<C>& g = staged[k];
      const float dx = x + 0.5f - g.x, dy = y + 0.5f - g.y;
      const float slope = g.e.b * dx, constant = fmaf(g.e.a * dx, dx, g.e.k);
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        if (g.halves >> half & 1) add_rows<C>(g, dy + half * kHalfHeight, slope, constant, sum[half]);
      }
    }
    __syncwarp();
  }

  for (int k = 0; k < kHalves * kRows; ++k) {
    const int row = y + k / kRows * kHalfHeight + k % kRows;
    if (x >= s.width || row >= s.height) continue;
    float* pixel = image + ((int64_t(work.frame) * s.height + row) * s.width + x) * C;
    for (int c = 0; c < C; ++c) pixel[c] = sum[k / kRows][k % kRows][c];
  }
}

Tensor accumulate(const Tensor& means, const Tensor& cholesky, const Tensor& colors, const Tensor& cutoffs,
                  const Tensor& times, const Tensor& motion, const Tensor& isect_offsets, const Tensor& flatten_ids,
                  int64_t width, int64_t height) {
  const Scene s = make_scene(means, cholesky, cutoffs, times, motion, width, height);
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
