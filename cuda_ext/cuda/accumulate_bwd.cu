// Gradients of the tile sums. A sum needs no transmittance, so nothing is replayed: one thread owns one (Gaussian, tile)
// pair, walks the tile's pixel gradients and adds its result once. The pairs are dealt out by their place in the lists,
// not by tile, so every warp is full however long a tile's list is; threads of one tile read the same pixel at the same
// time, from the first-level cache.
#include "common.cuh"

namespace garv {
namespace {

constexpr int kThreads = 128;
constexpr int kUnlistedBlocks = 1024;  // enough to fill any GPU, few enough to cost nothing when there is nothing to do

// Floats a Gaussian's gradients take in the scratch buffer: mean (3), Cholesky (6), colour (C), to whole float4s.
template <int C>
constexpr int kStride = (9 + C + 3) / 4 * 4;

// The pixel gradients of one tile.
struct TilePixels {
  const float* first;  // of the tile's first pixel
  int columns, rows;   // inside the image
  int64_t row_stride;  // floats
  bool aligned;        // whether its rows may be read as float4s
};

__device__ __forceinline__ TilePixels pixels_of(const Scene& s, const TileWork& work, const float* v_image, int channels) {
  const int x = work.tile_x * kTileSize, y = work.tile_y * kTileSize;
  const float* first = v_image + ((int64_t(work.frame) * s.height + y) * s.width + x) * channels;
  const int64_t row_stride = int64_t(s.width) * channels;
  const bool aligned = row_stride % 4 == 0 && reinterpret_cast<uintptr_t>(first) % 16 == 0;
  return {first, min(kTileSize, s.width - x), min(kTileSize, s.height - y), row_stride, aligned};
}

// One pair's sums along a row, and over the whole tile.
template <int C>
struct Sums {
  float row0 = 0.f, row1 = 0.f, row2 = 0.f;  // of h {1, dx, dx^2}
  float color[C], v_color[C] = {};
  Moments<float> m = {};

  __device__ __forceinline__ void add_pixel(const float* v, float weight, float dx) {
    float h = 0.f;
#pragma unroll
    for (int c = 0; c < C; ++c) {
      h = fmaf(v[c], color[c], h);
      v_color[c] = fmaf(weight, v[c], v_color[c]);
    }
    h *= weight;
    const float hx = h * dx;
    row0 += h;
    row1 += hx;
    row2 = fmaf(hx, dx, row2);
  }

  __device__ __forceinline__ void end_row(float dy) {
    m.s0 += row0;
    m.sx += row1;
    m.sxx += row2;
    m.sy = fmaf(row0, dy, m.sy);
    m.sxy = fmaf(row1, dy, m.sxy);
    m.syy = fmaf(row0 * dy, dy, m.syy);
    row0 = row1 = row2 = 0.f;
  }
};

// Adds gradients [kStride] to those of one Gaussian.
template <int kFloats>
__device__ __forceinline__ void add_gradients(float* target, const float* values) {
#if __CUDA_ARCH__ >= 900
#pragma unroll
  for (int k = 0; k < kFloats; k += 4) {
    atomicAdd(reinterpret_cast<float4*>(target + k), make_float4(values[k], values[k + 1], values[k + 2], values[k + 3]));
  }
#else
#pragma unroll
  for (int k = 0; k < kFloats; ++k) atomicAdd(target + k, values[k]);
#endif
}

template <int C>
__device__ __forceinline__ void differentiate_pair(const Scene& s, const TileWork& work, const ReachingSlice& r, int id,
                                                   const float* colors, const float* v_image, float* scratch) {
  Sums<C> sums;
  for (int c = 0; c < C; ++c) sums.color[c] = colors[int64_t(id) * C + c];
  const Exponent e = exponent_of(r);
  const TilePixels pixels = pixels_of(s, work, v_image, C);
  const float dx0 = work.tile_x * kTileSize + 0.5f - r.slice.x;
  const float dy0 = work.tile_y * kTileSize + 0.5f - r.slice.y;
  for (int y = 0; y < pixels.rows; ++y) {
    const float dy = dy0 + y;
    const float constant = fmaf(e.c * dy, dy, e.k), slope = e.b * dy;
    const float* row = pixels.first + y * pixels.row_stride;
    const auto weight_at = [&](float dx) { return exp2_approx(fmaf(fmaf(e.a, dx, slope), dx, constant)); };
    if (pixels.aligned && pixels.columns == kTileSize) {
#pragma unroll
      for (int x = 0; x < kTileSize; x += 4) {
        alignas(16) float v[4 * C];
#pragma unroll
        for (int k = 0; k < C; ++k) {
          reinterpret_cast<float4*>(v)[k] = __ldg(reinterpret_cast<const float4*>(row + x * C) + k);
        }
#pragma unroll
        for (int k = 0; k < 4; ++k) sums.add_pixel(v + k * C, weight_at(dx0 + (x + k)), dx0 + (x + k));
      }
    } else {
      for (int x = 0; x < pixels.columns; ++x) sums.add_pixel(row + x * C, weight_at(dx0 + x), dx0 + x);
    }
    sums.end_row(dy);
  }
  float gradients[kStride<C>] = {};
  geometry_gradient(r.slice, r.conic, s.cholesky + int64_t(id) * 6, sums.m, gradients);
#pragma unroll
  for (int c = 0; c < C; ++c) gradients[9 + c] = sums.v_color[c];
  add_gradients<kStride<C>>(scratch + int64_t(id) * kStride<C>, gradients);
}

// The tile whose list holds entry k.
__device__ __forceinline__ int64_t tile_of_entry(const TileLists& lists, int64_t tiles, int64_t k) {
  int64_t low = 0, high = tiles;
  while (high - low > 1) {
    const int64_t middle = (low + high) >> 1;
    (lists.offsets[middle] <= k ? low : high) = middle;
  }
  return low;
}

template <int C>
__global__ void __launch_bounds__(kThreads)
    differentiate_listed(Scene s, TileLists lists, const float* colors, const float* v_image, float* scratch) {
  const int64_t k = int64_t(blockIdx.x) * kThreads + threadIdx.x, tiles = s.frames * s.tiles();
  if (k >= min(lists.capacity, lists.offsets[tiles])) return;
  const TileWork work(s, lists, tile_of_entry(lists, tiles, k));
  if (!work.listed) return;
  const int id = lists.ids[k];
  differentiate_pair<C>(s, work, load_slice(s, id, work.time), id, colors, v_image, scratch);
}

// The tiles whose lists did not fit: every Gaussian is looked at again.
template <int C>
__global__ void __launch_bounds__(kThreads)
    differentiate_unlisted(Scene s, TileLists lists, const float* colors, const float* v_image, float* scratch) {
  const int64_t tiles = s.frames * s.tiles();
  if (lists.offsets[tiles] <= lists.capacity) return;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const TileWork work(s, lists, tile);
    if (work.listed) continue;
    for (int id = threadIdx.x; id < s.n; id += kThreads) {
      const ReachingSlice r = load_slice(s, id, work.time);
      if (work.touched_by(r)) differentiate_pair<C>(s, work, r, id, colors, v_image, scratch);
    }
  }
}

template <int C>
__global__ void unpack_gradients(const float* scratch, int n, float* v_means, float* v_cholesky, float* v_colors) {
  const int id = blockIdx.x * blockDim.x + threadIdx.x;
  if (id >= n) return;
  const float* from = scratch + int64_t(id) * kStride<C>;
  for (int k = 0; k < 3; ++k) v_means[int64_t(id) * 3 + k] = from[k];
  for (int k = 0; k < 6; ++k) v_cholesky[int64_t(id) * 6 + k] = from[3 + k];
  for (int k = 0; k < C; ++k) v_colors[int64_t(id) * C + k] = from[9 + k];
}

template <int C>
void differentiate(const Scene& s, const TileLists& lists, const Tensor& colors, const Tensor& v_image,
                   const std::tuple<Tensor, Tensor, Tensor>& out, cudaStream_t stream) {
  Tensor scratch = torch::stable::new_zeros(colors, {s.n, kStride<C>});
  float* const sums = static_cast<float*>(scratch.mutable_data_ptr());
  const float* const color = static_cast<const float*>(colors.const_data_ptr());
  const float* const v = static_cast<const float*>(v_image.const_data_ptr());
  if (lists.capacity > 0) {
    const unsigned blocks = static_cast<unsigned>((lists.capacity + kThreads - 1) / kThreads);
    differentiate_listed<C><<<blocks, kThreads, 0, stream>>>(s, lists, color, v, sums);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
  differentiate_unlisted<C><<<kUnlistedBlocks, kThreads, 0, stream>>>(s, lists, color, v, sums);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  unpack_gradients<C><<<(s.n + 255) / 256, 256, 0, stream>>>(
      sums, s.n, static_cast<float*>(std::get<0>(out).mutable_data_ptr()),
      static_cast<float*>(std::get<1>(out).mutable_data_ptr()), static_cast<float*>(std::get<2>(out).mutable_data_ptr()));
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

std::tuple<Tensor, Tensor, Tensor> accumulate_bwd(const Tensor& v_image, const Tensor& means, const Tensor& cholesky,
                                                  const Tensor& colors, const Tensor& cutoffs, const Tensor& times,
                                                  const Tensor& isect_offsets, const Tensor& flatten_ids) {
  const torch::stable::accelerator::DeviceGuard guard(means.get_device_index());
  const Scene s = make_scene(means, cholesky, cutoffs, times, v_image.size(2), v_image.size(1));
  const TileLists lists = make_lists(isect_offsets, flatten_ids);
  check_tensor(colors, ScalarType::Float, "colors");
  check_tensor(v_image, ScalarType::Float, "v_image");
  if (s.n == 0 || s.frames == 0) {
    return {torch::stable::new_zeros(means, means.sizes()), torch::stable::new_zeros(cholesky, cholesky.sizes()),
            torch::stable::new_zeros(colors, colors.sizes())};
  }
  const std::tuple<Tensor, Tensor, Tensor> out(torch::stable::empty_like(means), torch::stable::empty_like(cholesky),
                                               torch::stable::empty_like(colors));
  dispatch_channels(colors.size(1), [&](auto c) { differentiate<c>(s, lists, colors, v_image, out, stream_of(means)); });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) { m.impl("accumulate_bwd", TORCH_BOX(&accumulate_bwd)); }

}  // namespace garv
