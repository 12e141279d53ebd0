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

// {1, x, y, x^2, xy, y^2} of every pixel about the tile's centre in units of kUnit, exact in half precision, as
// right-hand sides of the products: a row of pixels each, two words a lane.
struct Basis {
  uint2 rows[kTileSize][32];

  // By all threads of a block, whole warps.
  __device__ __forceinline__ void write() {
    const int lane = threadIdx.x % 32, moment = lane / 4, column = lane % 4 * 2;
    const uint32_t low = to_halves(along_x(moment, column), along_x(moment, column + 1));
    const uint32_t high = to_halves(along_x(moment, column + 8), along_x(moment, column + 9));
    for (int row = threadIdx.x / 32; row < kTileSize; row += blockDim.x / 32) {
      const float y = (row - 7.5f) / kUnit, along_y = moment == 5 ? y * y : moment == 2 || moment == 4 ? y : 1.f;
      const uint32_t both = to_halves(along_y, along_y);
      rows[row][lane] = {multiply(low, both), multiply(high, both)};
    }
  }

 private:
  __device__ __forceinline__ static float along_x(int moment, int column) {
    const float x = (column - 7.5f) / kUnit;
    return moment >= kMoments ? 0.f : moment == 3 ? x * x : moment == 1 || moment == 4 ? x : 1.f;
  }
};

// Gradients of a row of pixels in half precision.
struct alignas(16) PixelRow {
  uint32_t columns[4][kPixelWords];  // [lane % 4][channel, half of the row]
  uint32_t apart[4];                 // keeps rows in other banks
};

// The gradients of a tile's pixels for the channels of this pass, a few pairs of neighbours a lane.
struct LanePixels {
  static constexpr int kPairs = kTilePixels / 2 / 32;
  float v[kPairs][2 * kChannels];  // all channels of one after those of the other

  __device__ __forceinline__ static int column() { return threadIdx.x % 8 * 2; }
  __device__ __forceinline__ static int row(int pair) { return threadIdx.x % 32 / 8 + pair * (kTileSize / kPairs); }

  __device__ __forceinline__ LanePixels(const Scene& s, const TileWork& work, const float* v_image, int channels,
                                        int first) {
    const int left = work.tile_x * kTileSize, top = work.tile_y * kTileSize;
    const float* const corner = v_image + ((int64_t(work.frame) * s.height + top) * s.width + left) * channels + first;
    const bool whole = left + kTileSize <= s.width && top + kTileSize <= s.height;
    const bool even = s.width % 2 == 0 && reinterpret_cast<uintptr_t>(v_image) % sizeof(float2) == 0;
    // One choice for all, so that all loads are under way at once.
    if (whole && even && channels == kChannels) {
#pragma unroll
      for (int k = 0; k < kPairs * kChannels; ++k) {
        const float* const pair = corner + (row(k / kChannels) * s.width + column()) * kChannels;
        const float2 two = reinterpret_cast<const float2*>(pair)[k % kChannels];
        v[k / kChannels][k % kChannels * 2] = two.x;
        v[k / kChannels][k % kChannels * 2 + 1] = two.y;
      }
      return;
    }
#pragma unroll
    for (int k = 0; k < kPairs * 2 * kChannels; ++k) {
      const int y = row(k / (2 * kChannels)), x = column() + k / kChannels % 2, c = k % kChannels;
      const bool inside = left + x < s.width && top + y < s.height && first + c < channels;
      v[k / (2 * kChannels)][k % (2 * kChannels)] = inside ? corner[(int64_t(y) * s.width + x) * channels + c] : 0.f;
    }
  }
};

// What a warp keeps of its tile.
struct TileMoments {
  PixelRow pixels[kTileSize];
  Staged staged[kBatch];
  float sums[kBatch][kSums + 1];  // one odd column against bank conflicts

  // Keeps the gradients that the lanes have read; returns the unit that they, and so the sums, are in, or 0 where there
  // is no gradient to pass on.
  __device__ __forceinline__ float keep(const LanePixels& read) {
    float largest = 0.f;
#pragma unroll
    for (int k = 0; k < LanePixels::kPairs * 2 * kChannels; ++k) {
      largest = fmaxf(largest, fabsf(read.v[k / (2 * kChannels)][k % (2 * kChannels)]));
    }
    for (int offset = 16; offset > 0; offset /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(kWholeWarp, largest, offset));
    if (!(largest > 0.f)) return 0.f;
    const float scale = fminf(kLargestHalf / largest, kMostScale);
#pragma unroll
    for (int j = 0; j < LanePixels::kPairs; ++j) {
      uint32_t* const to = pixels[LanePixels::row(j)].columns[LanePixels::column() / 2 % 4];
#pragma unroll
      for (int c = 0; c < kChannels; ++c) {
        to[c * 2 + LanePixels::column() / 8] = to_halves(read.v[j][c] * scale, read.v[j][kChannels + c] * scale);
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
        const uint32_t w[4] = {pair_of(columns[0], 0), pair_of(columns[1], 0), pair_of(columns[0], 2),
                               pair_of(columns[1], 2)};
#pragma unroll
        for (int c = 0; c < kChannels; ++c) {
          const uint32_t weighted[4] = {multiply(w[0], v[c * 2]), multiply(w[1], v[c * 2]),
                                        multiply(w[2], v[c * 2 + 1]), multiply(w[3], v[c * 2 + 1])};
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
