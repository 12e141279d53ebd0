// Gradients of the tile sums, on the tensor cores. A sum needs no transmittance, so nothing is replayed, and all that a
// (Gaussian, tile) pair needs are sums over the tile's pixels of weight times pixel gradient times {1, x, y, x^2, xy,
// y^2}: a product of the weights [Gaussians x pixels] with a matrix that is the same for all Gaussians of the tile. The
// chain rule then takes place once a pair.
//
// Weights are made in float32 and rounded to half precision, once for all sums of a pair, so the moments about the
// tile's centre can be moved to the Gaussian's mean without blowing their error up. The matrix is split in two halves
// that together hold 22 bits.
//
// accumulate_bwd adds pairs to their Gaussians by atomics, so in whatever order they come; accumulate_bwd_pairs gives
// each a row of its own, for sums in a fixed order.
#include "common.cuh"
#include "pair_sums.cuh"
#include "tile_moments.cuh"

namespace garv {
namespace {

constexpr int kGeometry = 9;  // gradients of a mean (3) and a Cholesky factor (6)

// Floats a Gaussian's gradients take in the scratch buffer, those of its colour included: whole float4s.
__host__ __device__ constexpr int stride_of(int channels) { return (kGeometry + channels + 3) / 4 * 4; }

// Adds a gradient to those that are there. kAlone: nothing else adds to them.
template <bool kAlone>
__device__ __forceinline__ void add(float* target, float value) {
  if (kAlone) {
    *target += value;
  } else {
    atomicAdd(target, value);
  }
}

// All gradients [floats, a multiple of 4] of a pair at once.
template <bool kAlone>
__device__ __forceinline__ void add_all(float* target, const float* values, int floats) {
#pragma unroll
  for (int k = 0; k < floats; k += 4) {
    const float4 four = make_float4(values[k], values[k + 1], values[k + 2], values[k + 3]);
    if (kAlone) {
      *reinterpret_cast<float4*>(target + k) = four;  // nothing was there before
    } else {
#if __CUDA_ARCH__ >= 900
      atomicAdd(reinterpret_cast<float4*>(target + k), four);
#else
      for (int j = 0; j < 4; ++j) atomicAdd(target + k + j, values[k + j]);
#endif
    }
  }
}

// Adds the gradients of the thread's Gaussian to `target`, from the sums about the tile's centre.
template <bool kAlone>
__device__ __forceinline__ void finish_pair(const Scene& s, const TileWork& work, const float* sums, float scale,
                                            int id, const float* colors, int channels, int first, const float* v_image,
                                            float* target) {
  const ReachingSlice r = load_slice(s, id, work.frame);
  const PassColors color(colors, id, channels, first);
  const float center_x = (work.tile_x + 0.5f) * kTileSize, center_y = (work.tile_y + 0.5f) * kTileSize;
  const PairSums pair = fmaxf(r.conic.A, r.conic.C) > kThin
                            ? sum_directly(s, work, r, v_image, channels, first, color)
                            : move_to_mean(r.slice, sums, scale, color, center_x, center_y);
  float gradients[stride_of(kChannels)] = {};
  const float* const cholesky = s.cholesky + int64_t(id) * 6;
  if (s.motion == nullptr) {
    geometry_gradient(r.slice, r.conic, cholesky, pair.moments, gradients);
  } else {
    const Slice<float> slice = slice_in_plane(s, id, work.frame);
    geometry_gradient(slice, conic_of(slice), cholesky, moments_in_plane(s.motion[work.frame], pair.moments), gradients);
  }
  if (channels == kChannels) {
    for (int c = 0; c < kChannels; ++c) gradients[kGeometry + c] = pair.colors[c];
    add_all<kAlone>(target, gradients, stride_of(kChannels));
    return;
  }
  for (int k = 0; k < kGeometry; ++k) add<kAlone>(target + k, gradients[k]);
  for (int c = 0; c < kChannels && first + c < channels; ++c)
    add<kAlone>(target + kGeometry + first + c, pair.colors[c]);
}

// kPairs: `out` has a row of kGeometry + channels floats for every entry of the lists; else one of stride_of(channels)
// for every Gaussian.
template <bool kPairs>
__global__ void __launch_bounds__(kThreads)
    differentiate_tiles(Scene s, TileLists lists, const float* colors, int channels, int first_channel,
                        const float* v_image, float* out) {
  __shared__ Shared shared;
  const TileWork work(s, lists, blockIdx.x);
  if (work.count == 0 || (kPairs && !work.listed)) return;
  const PixelPair pixels = load_pixels(s, work, v_image, channels, first_channel);
  const float largest = largest_of(shared, pixels);
  if (!(largest > 0.f)) return;  // no gradient to pass on
  write_features(shared, pixels, 1.f / largest);

  const float left = work.tile_x * kTileSize + 0.5f, top = work.tile_y * kTileSize + 0.5f;
  for (int64_t batch = 0; batch < work.count; batch += kThreads) {
    Staged& mine = shared.staged[threadIdx.x];
    mine = {0.f, 0.f, {kNoWeight, 0.f, 0.f, 0.f}, 1.f, -1};
    if (batch + threadIdx.x < work.count) {
      const int id = work.gaussian(lists, batch + threadIdx.x);
      const ReachingSlice r = load_slice(s, id, work.frame);
      if (work.touched_by(r)) {
        const Exponent e = exponent_of(r);
        mine = {r.slice.x, r.slice.y, e, exp2_approx(2.f * e.c), id};
      }
    }
    __syncthreads();
    const int count = static_cast<int>(min(int64_t(kThreads), work.count - batch));
    for (int first = threadIdx.x / 32 * kGroup; first < count; first += kWarps * kGroup)
      sum_group(shared, first, left, top);
    __syncthreads();
    if (mine.id >= 0) {
      float* const target = kPairs ? out + (work.begin + batch + threadIdx.x) * (kGeometry + channels)
                                   : out + int64_t(mine.id) * stride_of(channels);
      finish_pair<kPairs>(s, work, shared.sums[threadIdx.x], largest, mine.id, colors, channels, first_channel, v_image,
                          target);
    }
  }
}

__global__ void unpack_gradients(const float* scratch, int n, int channels, float* v_means, float* v_cholesky,
                                 float* v_colors) {
  const int id = blockIdx.x * blockDim.x + threadIdx.x;
  if (id >= n) return;
  const float* from = scratch + int64_t(id) * stride_of(channels);
  for (int k = 0; k < 3; ++k) v_means[int64_t(id) * 3 + k] = from[k];
  for (int k = 0; k < 6; ++k) v_cholesky[int64_t(id) * 6 + k] = from[3 + k];
  for (int k = 0; k < channels; ++k) v_colors[int64_t(id) * channels + k] = from[kGeometry + k];
}

// The arguments of both operators, checked.
struct Launch {
  Scene s;
  TileLists lists;
  int channels;
  const float *colors, *v_image;
  cudaStream_t stream;

  Launch(const Tensor& v_image, const Tensor& means, const Tensor& cholesky, const Tensor& colors,
         const Tensor& cutoffs, const Tensor& times, const Tensor& motion, const Tensor& isect_offsets,
         const Tensor& flatten_ids) {
    STD_TORCH_CHECK(v_image.dim() == 4, "v_image must be [B, H, W, C]");
    s = make_scene(means, cholesky, cutoffs, times, motion, v_image.size(2), v_image.size(1));
    lists = make_lists(s, isect_offsets, flatten_ids);
    channels = channels_of(s, colors);
    check_tensor(v_image, ScalarType::Float, {s.frames, s.height, s.width, channels}, "v_image");
    this->colors = static_cast<const float*>(colors.const_data_ptr());
    this->v_image = static_cast<const float*>(v_image.const_data_ptr());
    stream = stream_of(means);
  }

  template <bool kPairs>
  void differentiate(float* out) const {
    for (int first = 0; first < channels; first += kChannels) {
      differentiate_tiles<kPairs><<<static_cast<unsigned>(s.frames * s.tiles()), kThreads, 0, stream>>>(
          s, lists, colors, channels, first, v_image, out);
      STD_CUDA_KERNEL_LAUNCH_CHECK();
    }
  }
};

std::tuple<Tensor, Tensor, Tensor> accumulate_bwd(const Tensor& v_image, const Tensor& means, const Tensor& cholesky,
                                                  const Tensor& colors, const Tensor& cutoffs, const Tensor& times,
                                                  const Tensor& motion, const Tensor& isect_offsets,
                                                  const Tensor& flatten_ids) {
  const Launch launch(v_image, means, cholesky, colors, cutoffs, times, motion, isect_offsets, flatten_ids);
  const Scene& s = launch.s;
  const int channels = launch.channels;
  const DeviceGuard guard(means.get_device_index());
  if (s.n == 0 || s.frames == 0) {
    return {torch::stable::new_zeros(means, means.sizes()), torch::stable::new_zeros(cholesky, cholesky.sizes()),
            torch::stable::new_zeros(colors, colors.sizes())};
  }
  Tensor v_means = torch::stable::empty_like(means), v_cholesky = torch::stable::empty_like(cholesky);
  Tensor v_colors = torch::stable::empty_like(colors);
  Tensor scratch = torch::stable::new_zeros(colors, {s.n, stride_of(channels)});
  float* const sums = static_cast<float*>(scratch.mutable_data_ptr());
  launch.differentiate<false>(sums);
  unpack_gradients<<<(s.n + 255) / 256, 256, 0, launch.stream>>>(
      sums, s.n, channels, static_cast<float*>(v_means.mutable_data_ptr()),
      static_cast<float*>(v_cholesky.mutable_data_ptr()), static_cast<float*>(v_colors.mutable_data_ptr()));
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return {v_means, v_cholesky, v_colors};
}

Tensor accumulate_bwd_pairs(const Tensor& v_image, const Tensor& means, const Tensor& cholesky, const Tensor& colors,
                            const Tensor& cutoffs, const Tensor& times, const Tensor& motion,
                            const Tensor& isect_offsets, const Tensor& flatten_ids) {
  const Launch launch(v_image, means, cholesky, colors, cutoffs, times, motion, isect_offsets, flatten_ids);
  const DeviceGuard guard(means.get_device_index());
  // Zeros: tiles without a gradient to pass on write nothing.
  Tensor rows = torch::stable::new_zeros(colors, {launch.lists.capacity, kGeometry + launch.channels});
  if (launch.s.n > 0 && launch.s.frames > 0 && launch.lists.capacity > 0)
    launch.differentiate<true>(static_cast<float*>(rows.mutable_data_ptr()));
  return rows;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) {
  m.impl("accumulate_bwd", TORCH_BOX(&accumulate_bwd));
  m.impl("accumulate_bwd_pairs", TORCH_BOX(&accumulate_bwd_pairs));
}

}  // namespace garv
