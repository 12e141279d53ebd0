// Gradients of the tile sums. A sum needs no transmittance, so nothing is replayed: one thread owns one (Gaussian, tile)
// pair, walks the tile's pixel gradients in shared memory and adds its result once.
#include "common.cuh"

namespace garv {
namespace {

constexpr int kThreads = 64;

// Floats a Gaussian's gradients take in the scratch buffer: mean (3), Cholesky (6), colour (C), to whole float4s.
template <int C>
constexpr int kStride = (9 + C + 3) / 4 * 4;

// Pixel gradients of a tile, padded so that a thread reads a pixel in whole float4s.
template <int C>
struct alignas(16) PixelGradient {
  float v[C];
};

template <int C>
__device__ __forceinline__ void add_pixel(const PixelGradient<C>& pixel, const float (&color)[C], float weight, float dx,
                                          float& row0, float& row1, float& row2, float (&v_color)[C]) {
  float h = 0.f;
#pragma unroll
  for (int c = 0; c < C; ++c) {
    h = fmaf(pixel.v[c], color[c], h);
    v_color[c] = fmaf(weight, pixel.v[c], v_color[c]);
  }
  h *= weight;
  const float hx = h * dx;
  row0 += h;
  row1 += hx;
  row2 = fmaf(hx, dx, row2);
}

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
                                                   const float* colors, const PixelGradient<C>* pixels, float* scratch) {
  float gradients[kStride<C>] = {};
  float color[C], v_color[C] = {};
  for (int c = 0; c < C; ++c) color[c] = colors[int64_t(id) * C + c];
  const Exponent e = exponent_of(r);
  Moments<float> m = {};
  const float dx0 = work.tile_x * kTileSize + 0.5f - r.slice.x;
  const float dy0 = work.tile_y * kTileSize + 0.5f - r.slice.y;
  for (int y = 0; y < kTileSize; ++y) {
    const float dy = dy0 + y;
    const float row_constant = fmaf(e.c * dy, dy, e.k), row_slope = e.b * dy;
    float row0 = 0.f, row1 = 0.f, row2 = 0.f;
#pragma unroll 8
    for (int x = 0; x < kTileSize; ++x) {
      const float dx = dx0 + x;
      const float weight = exp2_approx(fmaf(fmaf(e.a, dx, row_slope), dx, row_constant));
      add_pixel<C>(pixels[y * kTileSize + x], color, weight, dx, row0, row1, row2, v_color);
    }
    m.s0 += row0;
    m.sx += row1;
    m.sxx += row2;
    m.sy = fmaf(row0, dy, m.sy);
    m.sxy = fmaf(row1, dy, m.sxy);
    m.syy = fmaf(row0 * dy, dy, m.syy);
  }
  geometry_gradient(r.slice, r.conic, s.cholesky + int64_t(id) * 6, m, gradients);
#pragma unroll
  for (int c = 0; c < C; ++c) gradients[9 + c] = v_color[c];
  add_gradients<kStride<C>>(scratch + int64_t(id) * kStride<C>, gradients);
}

template <int C>
__global__ void __launch_bounds__(kThreads)
    differentiate_tiles(Scene s, TileLists lists, const float* colors, const float* v_image, float* scratch) {
  __shared__ PixelGradient<C> pixels[kTilePixels];
  const TileWork work(s, lists, blockIdx.x);
  if (work.count == 0) return;
  for (int k = threadIdx.x; k < kTilePixels; k += kThreads) {
    const int x = work.tile_x * kTileSize + k % kTileSize, y = work.tile_y * kTileSize + k / kTileSize;
    const bool inside = x < s.width && y < s.height;
    const float* v = v_image + ((int64_t(work.frame) * s.height + y) * s.width + x) * C;
    for (int c = 0; c < C; ++c) pixels[k].v[c] = inside ? v[c] : 0.f;
  }
  __syncthreads();
  for (int64_t k = threadIdx.x; k < work.count; k += kThreads) {
    const int id = work.gaussian(lists, k);
    const ReachingSlice r = load_slice(s, id, work.time);
    if (work.touched_by(r)) differentiate_pair<C>(s, work, r, id, colors, pixels, scratch);
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
  differentiate_tiles<C><<<static_cast<unsigned>(s.frames * s.tiles()), kThreads, 0, stream>>>(
      s, lists, static_cast<const float*>(colors.const_data_ptr()), static_cast<const float*>(v_image.const_data_ptr()), sums);
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
