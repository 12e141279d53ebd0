// Moments of a tile's pixel gradients under the weights of its Gaussians, on the tensor cores (see accumulate_bwd.cu).
#pragma once

#include "column_weights.cuh"
#include "common.cuh"
#include "pair_sums.cuh"
#include "tensor_cores.cuh"

namespace garv {

constexpr int kGroup = 16;  // Gaussians of a product
constexpr int kBatch = 32;  // that a warp stages at a time, one a lane
constexpr int kSums = kChannels * kMoments;
constexpr int kPixelWords = 8;  // of a lane's columns in a row: two a channel, and two to align them
// Gradients are kept as large as this, so that their products with weights of 2^-8 do not lose digits; a scale larger
// than kMostScale would overflow.
constexpr float kLargestHalf = 4096.f, kMostScale = 1e30f;

struct Staged {
  float x, y;
  Exponent e;
};

// {1, x, y, x^2, xy, y^2} of every pixel about the tile's centre in units of kUnit, exact in half precision, as right-hand
// sides of the products: a row of pixels each, two words a lane.
struct Basis {
  uint2 rows[kTileSize][32];

  // By all threads of a block.
  __device__ __forceinline__ void write() {
    for (int k = threadIdx.x; k < kTileSize * 32; k += blockDim.x) {
      const int row = k / 32, lane = k % 32, moment = lane / 4, column = lane % 4 * 2;
      rows[row][lane] = {to_halves(at(moment, column, row), at(moment, column + 1, row)),
                         to_halves(at(moment, column + 8, row), at(moment, column + 9, row))};
    }
  }

 private:
  __device__ __forceinline__ static float at(int moment, int column, int row) {
    const float x = (column - 7.5f) / kUnit, y = (row - 7.5f) / kUnit;
    const float basis[kProductColumns] = {1.f, x, y, x * x, x * y, y * y, 0.f, 0.f};
    float value = 0.f;
#pragma unroll
    for (int k = 0; k < kMoments; ++k) value = moment == k ? basis[k] : value;
    return value;
  }
};

// Gradients of a row of pixels in half precision.
struct alignas(16) PixelRow {
  uint32_t columns[4][kPixelWords];  // [lane % 4][channel, half of the row]
  uint32_t apart[4];                 // keeps rows in other banks
};

// What a warp keeps of its tile.
struct TileMoments {
  PixelRow pixels[kTileSize];
  Staged staged[kBatch];
  float sums[kBatch][kSums + 1];  // one odd column against bank conflicts

  // Reads the gradients of the channels of this pass; returns the unit that they, and so the sums, are kept in, or 0
  // where there is no gradient to pass on.
  __device__ float load_pixels(const Scene& s, const TileWork& work, const float* v_image, int channels, int first) {
    constexpr int kPairs = kTilePixels / 2 / 32;  // of neighbouring pixels, a lane
    float v[kPairs][2 * kChannels], largest = 0.f;
    const int lane = threadIdx.x % 32, column = lane % 8 * 2, row = lane / 8;
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
      load_pair(s, work, v_image, channels, first, column, row + j * 4, v[j]);
#pragma unroll
      for (int k = 0; k < 2 * kChannels; ++k) largest = fmaxf(largest, fabsf(v[j][k]));
    }
    for (int offset = 16; offset > 0; offset /= 2) largest = fmaxf(largest, __shfl_xor_sync(kWholeWarp, largest, offset));
    if (!(largest > 0.f)) return 0.f;
    const float scale = fminf(kLargestHalf / largest, kMostScale);
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
#pragma unroll
      for (int c = 0; c < kChannels; ++c) {
        pixels[row + j * 4].columns[lane % 4][c * 2 + lane % 8 / 4] = to_halves(v[j][c] * scale, v[j][kChannels + c] * scale);
      }
    }
    __syncwarp();
    return 1.f / scale;
  }

  // Sums of kGroup staged Gaussians from `first` on: a lane makes the weights of two of them in four columns, down all
  // rows. The tile's first pixel is at (left, top).
  __device__ __forceinline__ void sum_group(const Basis& basis, int first, float left, float top) {
    const int lane = threadIdx.x % 32;
    ColumnWeights<4> columns[2];
    float least = 0.f;
#pragma unroll
    for (int g = 0; g < 2; ++g) {
      const Staged& gaussian = staged[first + lane / 4 + g * 8];
      columns[g].set_gaussian(gaussian.e, top - gaussian.y);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        columns[g].set_column(k, gaussian.e, left + (lane % 4 * 2 + k % 2 + k / 2 * 8) - gaussian.x);
      }
      least = fminf(least, gaussian.e.c);
    }
    float found[kChannels][4] = {};
    if (__all_sync(kWholeWarp, least > kSteepestOf<8>)) {
      add_rows<8>(basis, columns, found);
    } else if (__all_sync(kWholeWarp, least > kSteepestOf<4>)) {
      add_rows<4>(basis, columns, found);
    } else {
      add_rows<1>(basis, columns, found);
    }
    if (lane % 4 * 2 >= kMoments) return;
#pragma unroll
    for (int c = 0; c < kChannels; ++c) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        sums[first + lane / 4 + k / 2 * 8][c * kMoments + lane % 4 * 2 + k % 2] = found[c][k];
      }
    }
  }

 private:
  // Two neighbouring pixels of the tile, all channels of one after those of the other.
  __device__ __forceinline__ static void load_pair(const Scene& s, const TileWork& work, const float* v_image,
                                                   int channels, int first, int column, int row,
                                                   float (&v)[2 * kChannels]) {
    const int x = work.tile_x * kTileSize + column, y = work.tile_y * kTileSize + row;
    const float* from = v_image + ((int64_t(work.frame) * s.height + y) * s.width + x) * channels + first;
    const bool aligned = channels == kChannels && reinterpret_cast<uintptr_t>(from) % sizeof(float2) == 0;
    if (aligned && x + 1 < s.width && y < s.height) {
#pragma unroll
      for (int k = 0; k < kChannels; ++k) {
        const float2 two = reinterpret_cast<const float2*>(from)[k];
        v[2 * k] = two.x;
        v[2 * k + 1] = two.y;
      }
      return;
    }
#pragma unroll
    for (int k = 0; k < 2 * kChannels; ++k) {
      const bool inside = x + k / kChannels < s.width && y < s.height && first + k % kChannels < channels;
      v[k] = inside ? from[k / kChannels * channels + k % kChannels] : 0.f;
    }
  }

  // kPerStart rows follow from one start.
  template <int kPerStart>
  __device__ __forceinline__ void add_rows(const Basis& basis, ColumnWeights<4> (&columns)[2],
                                           float (&found)[kChannels][4]) const {
    const int lane = threadIdx.x % 32;
    for (int start = 0; start < kTileSize; start += kPerStart) {
      columns[0].start(start);
      columns[1].start(start);
#pragma unroll
      for (int row = start; row < start + kPerStart; ++row) {
        const uint2 b = basis.rows[row][lane];
        const uint32_t* const pixel = pixels[row].columns[lane % 4];
        const uint4 some = *reinterpret_cast<const uint4*>(pixel);
        const uint2 rest = *reinterpret_cast<const uint2*>(pixel + 4);
        const uint32_t v[kChannels * 2] = {some.x, some.y, some.z, some.w, rest.x, rest.y};
        const uint32_t w[4] = {pair_of(columns[0], 0), pair_of(columns[1], 0), pair_of(columns[0], 2), pair_of(columns[1], 2)};
#pragma unroll
        for (int c = 0; c < kChannels; ++c) {
          const uint32_t weighted[4] = {multiply(w[0], v[c * 2]), multiply(w[1], v[c * 2]), multiply(w[2], v[c * 2 + 1]),
                                        multiply(w[3], v[c * 2 + 1])};
          multiply_add(found[c], weighted, b.x, b.y);
        }
        if (row + 1 < start + kPerStart) {
          columns[0].next_row();
          columns[1].next_row();
        }
      }
    }
  }

  __device__ __forceinline__ static uint32_t pair_of(const ColumnWeights<4>& columns, int k) {
    return to_halves(columns.weight[k], columns.weight[k + 1]);
  }
};

}  // namespace garv
