// Gradients of the tile sums, on the tensor cores. A sum needs no transmittance, so nothing is replayed, and all that a
// (Gaussian, tile) pair needs are sums over the tile's pixels of weight times pixel gradient times {1, x, y, x^2, xy,
// y^2}: a product of matrices, [Gaussians x pixels] with [pixels x 6], the same for all tiles. The chain rule then
// takes place once a pair. A warp takes a tile.
//
// Weights are made in float32 and rounded to half precision, as are pixel gradients and the products of both, before
// they are multiplied by {1, x, ...}, which are exact. So the moments about the tile's centre are those of weights that
// are slightly off, and can be moved to the Gaussian's mean without blowing an error up.
//
// accumulate_bwd adds pairs to their Gaussians by atomics, so in whatever order they come; accumulate_bwd_pairs gives
// each a row of its own, for sums in a fixed order.
#include "gaussian_rows.cuh"
#include "pair_sums.cuh"
#include "tile_moments.cuh"

namespace garv {
namespace {

constexpr int kThreads = 128;           // a warp a tile
constexpr int kBlocksPerProcessor = 4;  // as many as the registers allow
constexpr int kGeometry = 9;            // gradients of a mean (3) and a Cholesky factor (6)

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
                                            const GaussianRow& row, int channels, int first, const float* v_image,
                                            float* target) {
  const ReachingSlice r = row.slice(s, work.frame);
  const float center_x = (work.tile_x + 0.5f) * kTileSize, center_y = (work.tile_y + 0.5f) * kTileSize;
  const PairSums pair = fmaxf(r.conic.A, r.conic.C) > kThin
                            ? sum_directly(s, work, r, v_image, channels, first, row.colors)
                            : move_to_mean(r.slice, sums, scale, row.colors, center_x, center_y);
  float gradients[stride_of(kChannels)] = {};
  if (s.motion == nullptr) {
    geometry_gradient(r.slice, r.conic, row.cholesky, pair.moments, gradients);
  } else {
    const Slice<float> slice = slice_at(row.mean, row.cholesky, s.times[work.frame]);
    const Moments<float> moments = moments_in_plane(s.motion[work.frame], pair.moments);
    geometry_gradient(slice, conic_of(slice), row.cholesky, moments, gradients);
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

// kPairs: there is a row of kGeometry + channels floats for every entry of the lists; else one of stride_of(channels)
// for every Gaussian.
template <bool kPairs>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    differentiate_tiles(Scene s, TileLists lists, const float4* rows, int channels, int first_channel,
                        const float* v_image, float* out) {
  __shared__ Basis basis;
  __shared__ TileMoments tiles[kThreads / 32];
  basis.write();
  __syncthreads();
  const int64_t tile = int64_t(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (tile >= s.frames * s.tiles()) return;
  const TileWork work(s, lists, tile);
  if (work.count == 0 || (kPairs && !work.listed)) return;
  const int lane = threadIdx.x % 32;
  int next = lane < work.count ? work.gaussian(lists, lane) : -1;
  const LanePixels read(s, work, v_image, channels, first_channel);
  fetch_row(rows, next);
  TileMoments& moments = tiles[threadIdx.x / 32];
  const float unit = moments.keep(read);
  if (unit == 0.f) return;

  const float left = work.tile_x * kTileSize + 0.5f, top = work.tile_y * kTileSize + 0.5f;
  for (int64_t batch = 0; batch < work.count; batch += kBatch) {
    Staged mine = {0.f, 0.f, {kNoWeight, 0.f, 0.f, 0.f}};
    GaussianRow row;
    int id = next;
    if (id >= 0) {
      row = GaussianRow::load(rows, id);
      const ReachingSlice r = row.slice(s, work.frame);
      if (work.touched_by(r)) {
        mine = {r.slice.x, r.slice.y, exponent_of(r)};
      } else {
        id = -1;
      }
    }
    moments.staged[lane] = mine;
    next = batch + kBatch + lane < work.count ? work.gaussian(lists, batch + kBatch + lane) : -1;
    __syncwarp();
    for (int first = 0; first < min(int64_t(kBatch), work.count - batch); first += kGroup) {
      moments.sum_group(basis, first, left, top);
    }
    __syncwarp();
    fetch_row(rows, next);
    if (id < 0) continue;
    float* const target =
        kPairs ? out + (work.begin + batch + lane) * (kGeometry + channels) : out + int64_t(id) * stride_of(channels);
    finish_pair<kPairs>(s, work, moments.sums[lane], unit, row, channels, first_channel, v_image, target);
  }
}

// A thread for each number of a row, so that neighbours write to neighbouring places.
__global__ void unpack_gradients(const float* scratch, int64_t n, int channels, float* v_means, float* v_cholesky,
                                 float* v_colors) {
  const int64_t k = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, id = k / stride_of(channels);
  const int part = static_cast<int>(k - id * stride_of(channels));
  if (id >= n || part >= kGeometry + channels) return;
  float* const to = part < 3           ? v_means + id * 3 + part
                    : part < kGeometry ? v_cholesky + id * 6 + part - 3
                                       : v_colors + id * channels + part - kGeometry;
  *to = scratch[k];
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
  void differentiate(float* out, const Tensor& like) const {
    Tensor packed = new_rows(s, like);
    float4* const rows = static_cast<float4*>(packed.mutable_data_ptr());
    for (int first = 0; first < channels; first += kChannels) {
      pack_rows(s, colors, channels, first, rows, stream);
      const int64_t blocks = (s.frames * s.tiles() * 32 + kThreads - 1) / kThreads;
      differentiate_tiles<kPairs>
          <<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(s, lists, rows, channels, first, v_image, out);
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
  launch.differentiate<false>(sums, colors);
  const int64_t numbers = int64_t(s.n) * stride_of(channels);
  unpack_gradients<<<static_cast<unsigned>((numbers + 255) / 256), 256, 0, launch.stream>>>(
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
    launch.differentiate<true>(static_cast<float*>(rows.mutable_data_ptr()), colors);
  return rows;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) {
  m.impl("accumulate_bwd", TORCH_BOX(&accumulate_bwd));
  m.impl("accumulate_bwd_pairs", TORCH_BOX(&accumulate_bwd_pairs));
}

}  // namespace garv
