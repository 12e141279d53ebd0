// Sums the Gaussians of every tile: images [frames, height, width, C]. A warp has a tile; weights and colours are
// rounded to half precision for the tensor cores, which sum in float32 (see tile_sums.cuh).
#include "gaussian_rows.cuh"
#include "tile_sums.cuh"
#include "tile_writing.cuh"

namespace garv {
namespace {

constexpr int kChannels = 4;  // that a pass takes at most
static_assert(kChannels <= kRowColors);
constexpr int kWarps = 2;  // of a thread block: enough to fill GPUs that hold 16 of them
constexpr int kThreads = 32 * kWarps;
constexpr int kBlocksPerProcessor = 14;  // as many as the registers allow

constexpr int kMostExponent = 126;  // of a power of 2 whose inverse is one in float32, too

__device__ __forceinline__ float power_of_two(int exponent) { return __uint_as_float((exponent + 127) << 23); }

// The colours of the channels of a pass.
template <int C>
struct PassColors {
  float values[C];
  int exponent;  // of the power of 2 that the largest is once to twice as large as

  __device__ __forceinline__ void load(const float* color) {
    float largest = 0.f;
#pragma unroll
    for (int c = 0; c < C; ++c) {
      values[c] = color[c];
      largest = fmaxf(largest, fabsf(values[c]));
    }
    exponent = clamped(static_cast<int>(__float_as_uint(largest) >> 23) - 127, -kMostExponent, kMostExponent);
  }

  // Divided by that power.
  __device__ __forceinline__ uint2 halves() const {
    const float scale = power_of_two(-exponent);
    float scaled[kChannels] = {};
#pragma unroll
    for (int c = 0; c < C; ++c) scaled[c] = values[c] * scale;
    return make_uint2(to_halves(scaled[0], scaled[1]), to_halves(scaled[2], scaled[3]));
  }
};

// Sums in a unit that follows the largest colours, so that those of any size are as exact as others: a Gaussian's
// colours are scaled by its own power of 2, and that over the unit's goes into its weights.
struct ScaledSums {
  TileSums sums = {};
  int unit = -kMostExponent - kHeadroom - 1;  // exponent of 2; before the first colour smaller than any

  // Makes room for colours up to this exponent.
  __device__ __forceinline__ void reach(int exponent) {
    if (exponent <= unit + kHeadroom) return;
    if (unit >= -kMostExponent) sums.multiply_by(exp2_approx(static_cast<float>(unit - exponent)));
    unit = exponent;
  }
};

// What one warp needs beside its registers, of which there are too few to keep its work in them, too.
template <int C>
struct Scratch {
  union {  // so that nothing is made in shared memory before a warp does it
    TileWork work;
  };
  union {  // at different times
    ReadyGaussian batch[kBatch];
    float samples[kTilePixels * C];
  };
  __device__ Scratch() {}
};

// Adds those of the batch's Gaussians that touch the tile.
template <int C>
__device__ __forceinline__ void add_batch(ScaledSums& scaled, Scratch<C>& scratch, const Scene& s,
                                          const TileLists& lists, int batch, const float4* rows) {
  const TileWork& work = scratch.work;
  const int lane = threadIdx.x % 32;
  ReachingSlice r;
  PassColors<C> color;
  bool touched = batch + lane < static_cast<int>(work.count);
  if (touched) {
    const GaussianRow row = GaussianRow::load(rows, work.gaussian(lists, batch + lane));
    r = row.slice(s, work.frame);
    color.load(row.colors);
    touched = work.touched_by(r);
  }
  const unsigned found = __ballot_sync(kWholeWarp, touched), before = (1u << lane) - 1;
  if (found == 0) return;
  scaled.reach(__reduce_max_sync(kWholeWarp, touched ? color.exponent : -kMostExponent));
  const int count = __popc(found);
  if (touched) {
    const float x = work.tile_x * kTileSize + 0.5f, y = work.tile_y * kTileSize + 0.5f;
    const float brighter = static_cast<float>(color.exponent - scaled.unit);
    scratch.batch[__popc(found & before)].set(r.slice, r.conic, x, y, brighter, color.halves());
  } else {
    scratch.batch[count + __popc(~found & before)].set_nothing();  // the last group is filled up
  }
  __syncwarp();
  scaled.sums.add(scratch.batch, count);
  __syncwarp();
}

// C of the image's channels, from `channel` on.
template <int C>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    accumulate_tiles(Scene s, TileLists lists, const float4* rows, Images<float> images, int channel) {
  __shared__ Scratch<C> scratches[kWarps];
  const int64_t tile = int64_t(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (tile >= s.frames * s.tiles()) return;
  Scratch<C>& scratch = scratches[threadIdx.x / 32];
  const TileWork& work = scratch.work = TileWork(s, lists, tile);
  __syncwarp();
  ScaledSums scaled;
  for (int batch = 0; batch < static_cast<int>(work.count); batch += kBatch)
    add_batch(scaled, scratch, s, lists, batch, rows);

  const float unit = power_of_two(max(scaled.unit, -kMostExponent));  // without Gaussians there is none
  scaled.sums.template for_each_sample<C>([&](int row, int column, int c, float value) {
    scratch.samples[(row * kTileSize + column) * C + c] = value * unit;
  });
  __syncwarp();
  images.write<C>(scratch.samples, work.frame, work.tile_x * kTileSize, work.tile_y * kTileSize, channel);
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
  const Images<float> images = {static_cast<float*>(image.mutable_data_ptr()), s.width, s.height, channels};
  Tensor packed = new_rows(s, colors);
  float4* const rows = static_cast<float4*>(packed.mutable_data_ptr());
  const unsigned blocks = static_cast<unsigned>((tiles + kWarps - 1) / kWarps);
  for (int channel = 0; channel < channels; channel += kChannels) {
    pack_rows(s, static_cast<const float*>(colors.const_data_ptr()), channels, channel, rows, stream_of(means));
    dispatch_channels<kChannels>(std::min(kChannels, channels - channel), [&](auto c) {
      accumulate_tiles<c><<<blocks, kThreads, 0, stream_of(means)>>>(s, lists, rows, images, channel);
    });
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
  return image;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) { m.impl("accumulate", TORCH_BOX(&accumulate)); }

}  // namespace garv
