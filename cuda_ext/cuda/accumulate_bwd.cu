// Gradients of the tile sums, on the tensor cores. A sum needs no transmittance, so nothing is replayed, and all that a
// (Gaussian, tile) pair needs are sums over the tile's pixels of weight times pixel gradient times {1, x, y, x^2, xy,
// y^2}: a product of the weights [Gaussians x pixels] with a matrix that is the same for all Gaussians of the tile. The
// chain rule then takes place once a pair.
//
// Weights are made in float32 and rounded to half precision, once for all sums of a pair, so the moments about the
// tile's centre can be moved to the Gaussian's mean without blowing their error up. The matrix is split in two halves
// that together hold 22 bits.
#include "common.cuh"
#include "pair_sums.cuh"
#include "tensor_cores.cuh"
#include "weights.cuh"

namespace garv {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kGroup = 16;  // Gaussians a warp takes at a time
constexpr int kFeatures = kChannels * kMoments;
constexpr int kBlocks = 3;                       // of eight columns that hold the features
constexpr int kRowWords = kBlocks * 2 * 64 + 8;  // of one row of pixels; the last eight keep banks apart

// Floats a Gaussian's gradients take in the scratch buffer: mean (3), Cholesky (6), colour (C), to whole float4s.
__host__ __device__ constexpr int stride_of(int channels) { return (9 + channels + 3) / 4 * 4; }

struct Staged {
  float x, y;
  Exponent e;
  float bend;
  int id;  // -1 where there is none
};

struct Shared {
  // The matrix in the order in which the lanes need it: [row][high or low half][block of columns][lane], two words
  // each.
  uint32_t features[kTileSize * kRowWords];
  float sums[kThreads][kFeatures + 1];  // one odd column against bank conflicts
  Staged staged[kThreads];
  float largest[kWarps];
};

// The pixel gradients of the channels of this pass, at two neighbouring pixels.
struct PixelPair {
  float v[2][kChannels];
  int x, y;  // in the tile
};

__device__ __forceinline__ PixelPair load_pixels(const Scene& s, const TileWork& work, const float* v_image,
                                                 int channels, int first) {
  PixelPair p;
  p.x = threadIdx.x % (kTileSize / 2) * 2;
  p.y = threadIdx.x / (kTileSize / 2);
  const int x = work.tile_x * kTileSize + p.x, y = work.tile_y * kTileSize + p.y;
  const float* v = v_image + ((int64_t(work.frame) * s.height + y) * s.width + x) * channels + first;
  for (int k = 0; k < 2; ++k) {
    const bool inside = x + k < s.width && y < s.height;
    for (int c = 0; c < kChannels; ++c) p.v[k][c] = inside && first + c < channels ? v[k * channels + c] : 0.f;
  }
  return p;
}

__device__ __forceinline__ float largest_of(Shared& shared, const PixelPair& p) {
  float largest = 0.f;
  for (int k = 0; k < 2; ++k) {
    for (int c = 0; c < kChannels; ++c) largest = fmaxf(largest, fabsf(p.v[k][c]));
  }
  for (int offset = 16; offset > 0; offset /= 2) largest = fmaxf(largest, __shfl_xor_sync(kWholeWarp, largest, offset));
  if (threadIdx.x % 32 == 0) shared.largest[threadIdx.x / 32] = largest;
  __syncthreads();
  for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, shared.largest[w]);
  return largest;
}

// Writes the thread's two pixels' part of the matrix, scaled into half precision's range.
__device__ __forceinline__ void write_features(Shared& shared, const PixelPair& p, float scale) {
  const float y = (p.y - 7.5f) / kUnit, x[2] = {(p.x - 7.5f) / kUnit, (p.x - 6.5f) / kUnit};
  const int pair = p.x / 2, lane = pair % 4, word = pair / 4;
#pragma unroll
  for (int n = 0; n < kBlocks * kProductColumns; ++n) {
    const int c = n / kMoments, moment = n % kMoments;
    float value[2] = {};
    if (c < kChannels) {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const float basis[kMoments] = {1.f, x[k], y, x[k] * x[k], x[k] * y, y * y};
        value[k] = p.v[k][c] * scale * basis[moment];
      }
    }
    uint32_t* to =
        shared.features + p.y * kRowWords + ((n / kProductColumns) * 32 + n % kProductColumns * 4 + lane) * 2 + word;
    const HalfPair parts = split(value[0], value[1]);
    to[0] = parts.high;
    to[kBlocks * 64] = parts.low;
  }
}

__device__ __forceinline__ uint32_t half_pair(const ColumnWeights<4>& columns, int k) {
  return to_halves(columns.weight[k], columns.weight[k + 1]);
}

// Walks down all rows of the tile: weights of a lane's two Gaussians in its four columns, times the features.
template <bool kSteep>
__device__ __forceinline__ void sum_rows(ColumnWeights<4> (&columns)[2], const uint32_t* features,
                                         float (&sums)[kBlocks][4]) {
  for (int y = 0; y < kTileSize; y += 4) {
    columns[0].start_rows(y);
    columns[1].start_rows(y);
#pragma unroll
    for (int row = 0; row < 4; ++row, features += kRowWords) {
      const uint32_t weights[4] = {half_pair(columns[0], 0), half_pair(columns[1], 0), half_pair(columns[0], 2),
                                   half_pair(columns[1], 2)};
#pragma unroll
      for (int block = 0; block < 2 * kBlocks; ++block) {
        const uint2 b = *reinterpret_cast<const uint2*>(features + block * 64);
        multiply_add(sums[block % kBlocks], weights, b.x, b.y);
      }
      columns[0].next_row<kSteep>(y + row);
      columns[1].next_row<kSteep>(y + row);
    }
  }
}

// Sums of kGroup Gaussians from `first` on: a lane makes the weights of two of them in four columns, down all rows.
__device__ __forceinline__ void sum_group(Shared& shared, int first, float left, float top) {
  const int lane = threadIdx.x % 32;
  const Staged* gaussians[2] = {&shared.staged[first + lane / 4], &shared.staged[first + lane / 4 + 8]};
  ColumnWeights<4> columns[2];
#pragma unroll
  for (int g = 0; g < 2; ++g) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const float dx = left + (lane % 4 * 2 + (k & 1) + (k >> 1) * 8) - gaussians[g]->x;
      columns[g].set_column(k, gaussians[g]->e, dx);
    }
    columns[g].set_gaussian(gaussians[g]->e, gaussians[g]->bend, top - gaussians[g]->y);
  }
  const bool steep = __any_sync(kWholeWarp, columns[0].steep() || columns[1].steep());
  float sums[kBlocks][4] = {};
  const uint32_t* features = shared.features + lane * 2;
  if (steep) {
    sum_rows<true>(columns, features, sums);
  } else {
    sum_rows<false>(columns, features, sums);
  }
#pragma unroll
  for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int n = block * kProductColumns + lane % 4 * 2 + (k & 1);
      if (n < kFeatures) shared.sums[first + lane / 4 + (k >> 1) * 8][n] = sums[block][k];
    }
  }
}

// Adds gradients [floats, a multiple of 4] to those of one Gaussian.
__device__ __forceinline__ void add_gradients(float* target, const float* values, int floats) {
#pragma unroll
  for (int k = 0; k < floats; k += 4) {
#if __CUDA_ARCH__ >= 900
    atomicAdd(reinterpret_cast<float4*>(target + k),
              make_float4(values[k], values[k + 1], values[k + 2], values[k + 3]));
#else
    for (int j = 0; j < 4; ++j) atomicAdd(target + k + j, values[k + j]);
#endif
  }
}

// Adds the gradients of the thread's Gaussian, from the sums about the tile's centre.
__device__ __forceinline__ void finish_pair(const Scene& s, const TileWork& work, const float* sums, float scale,
                                            int id, const float* colors, int channels, int first, const float* v_image,
                                            float* scratch) {
  const ReachingSlice r = load_slice(s, id, work.time);
  const PassColors color(colors, id, channels, first);
  const float center_x = (work.tile_x + 0.5f) * kTileSize, center_y = (work.tile_y + 0.5f) * kTileSize;
  const PairSums pair = fmaxf(r.conic.A, r.conic.C) > kThin
                            ? sum_directly(s, work, r, v_image, channels, first, color)
                            : move_to_mean(r.slice, sums, scale, color, center_x, center_y);
  float gradients[stride_of(kChannels)] = {};
  geometry_gradient(r.slice, r.conic, s.cholesky + int64_t(id) * 6, pair.moments, gradients);
  float* const target = scratch + int64_t(id) * stride_of(channels);
  if (channels == kChannels) {
    for (int c = 0; c < kChannels; ++c) gradients[9 + c] = pair.colors[c];
    add_gradients(target, gradients, stride_of(kChannels));
    return;
  }
  for (int k = 0; k < 9; ++k) atomicAdd(target + k, gradients[k]);
  for (int c = 0; c < kChannels && first + c < channels; ++c) atomicAdd(target + 9 + first + c, pair.colors[c]);
}

__global__ void __launch_bounds__(kThreads)
    differentiate_tiles(Scene s, TileLists lists, const float* colors, int channels, int first_channel,
                        const float* v_image, float* scratch) {
  __shared__ Shared shared;
  const TileWork work(s, lists, blockIdx.x);
  if (work.count == 0) return;
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
      const ReachingSlice r = load_slice(s, id, work.time);
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
    if (mine.id >= 0)
      finish_pair(s, work, shared.sums[threadIdx.x], largest, mine.id, colors, channels, first_channel, v_image,
                  scratch);
  }
}

__global__ void unpack_gradients(const float* scratch, int n, int channels, float* v_means, float* v_cholesky,
                                 float* v_colors) {
  const int id = blockIdx.x * blockDim.x + threadIdx.x;
  if (id >= n) return;
  const float* from = scratch + int64_t(id) * stride_of(channels);
  for (int k = 0; k < 3; ++k) v_means[int64_t(id) * 3 + k] = from[k];
  for (int k = 0; k < 6; ++k) v_cholesky[int64_t(id) * 6 + k] = from[3 + k];
  for (int k = 0; k < channels; ++k) v_colors[int64_t(id) * channels + k] = from[9 + k];
}

std::tuple<Tensor, Tensor, Tensor> accumulate_bwd(const Tensor& v_image, const Tensor& means, const Tensor& cholesky,
                                                  const Tensor& colors, const Tensor& cutoffs, const Tensor& times,
                                                  const Tensor& isect_offsets, const Tensor& flatten_ids) {
  STD_TORCH_CHECK(v_image.dim() == 4, "v_image must be [B, H, W, C]");
  const Scene s = make_scene(means, cholesky, cutoffs, times, v_image.size(2), v_image.size(1));
  const TileLists lists = make_lists(s, isect_offsets, flatten_ids);
  const int channels = channels_of(s, colors);
  check_tensor(v_image, ScalarType::Float, {s.frames, s.height, s.width, channels}, "v_image");
  const DeviceGuard guard(means.get_device_index());
  if (s.n == 0 || s.frames == 0) {
    return {torch::stable::new_zeros(means, means.sizes()), torch::stable::new_zeros(cholesky, cholesky.sizes()),
            torch::stable::new_zeros(colors, colors.sizes())};
  }
  Tensor v_means = torch::stable::empty_like(means), v_cholesky = torch::stable::empty_like(cholesky);
  Tensor v_colors = torch::stable::empty_like(colors);
  Tensor scratch = torch::stable::new_zeros(colors, {s.n, stride_of(channels)});
  float* const sums = static_cast<float*>(scratch.mutable_data_ptr());
  const cudaStream_t stream = stream_of(means);
  for (int first = 0; first < channels; first += kChannels) {
    differentiate_tiles<<<static_cast<unsigned>(s.frames * s.tiles()), kThreads, 0, stream>>>(
        s, lists, static_cast<const float*>(colors.const_data_ptr()), channels, first,
        static_cast<const float*>(v_image.const_data_ptr()), sums);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
  unpack_gradients<<<(s.n + 255) / 256, 256, 0, stream>>>(
      sums, s.n, channels, static_cast<float*>(v_means.mutable_data_ptr()),
      static_cast<float*>(v_cholesky.mutable_data_ptr()), static_cast<float*>(v_colors.mutable_data_ptr()));
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return {v_means, v_cholesky, v_colors};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) { m.impl("accumulate_bwd", TORCH_BOX(&accumulate_bwd)); }

}  // namespace garv
