// Moments of a tile's pixel gradients under the weights of its Gaussians, on the tensor cores (see accumulate_bwd.cu).
#pragma once

#include "common.cuh"
#include "pair_sums.cuh"
#include "tensor_cores.cuh"
#include "weights.cuh"

namespace garv {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kGroup = 16;  // Gaussians a warp takes at a time
constexpr int kFeatures = kChannels * kMoments;
constexpr int kBlocks = 3;                       // of eight columns that hold the features
constexpr int kRowWords = kBlocks * 2 * 64 + 8;  // of one row of pixels; the last eight keep banks apart

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

}  // namespace garv
