// Adds the coarser level to a tile: interpolation by six taps along each axis, as two matrix products on the tensor
// cores.
#pragma once

#include "packed.cuh"
#include "tile_sums.cuh"

namespace garv {

constexpr int kTapsAside = 3;                                   // coarse samples on either side of a sample
constexpr int kCoarseSamples = kTileSize / 2 + 2 * kTapsAside;  // a side, of the coarse window that a tile looks at

// What a sample takes from one of the coarse window's; ops/_reference_draw.py says where the taps come from.
__device__ __forceinline__ float upsampling_tap(int sample, int coarse) {
  const int shift = coarse - kTapsAside - sample / 2, tap = kTapsAside + (sample % 2 == 0 ? shift : -shift);
  const int parts = tap == 0   ? 12
                    : tap == 1 ? 212
                    : tap == 2 ? 1316
                    : tap == 3 ? 1861
                    : tap == 4 ? 642
                    : tap == 5 ? 53
                               : 0;
  return parts / 4096.f;
}

// A level as it is handed to the next finer one. All samples hold kRecordChannels numbers in half precision.
struct CoarseLevel {
  uint2* samples;  // [frames, rows, columns]; null where there is none
  Grid grid;

  __host__ __device__ int columns() const { return grid.blocks_x * kBlockSize; }
  __host__ __device__ int rows() const { return grid.blocks_y * kBlockSize; }

  // The first sample of row y of a frame.
  __device__ __forceinline__ uint2* line(int frame, int y) const {
    return samples + (int64_t(frame) * rows() + y) * columns();
  }
};

// The coarse window as it is, then its rows interpolated to the tile's, those of the upper and the lower half together.
struct alignas(16) CoarseWindow {
  uint2 samples[kCoarseSamples][kCoarseSamples];
  uint2 rows[kHalfHeight][kCoarseSamples][2];
};

// The matrix [16 samples x 14 coarse ones, padded by 0 to 16] in the order in which the lanes hold it.
struct UpsamplingMatrix {
  uint32_t words[4];

  __device__ __forceinline__ UpsamplingMatrix() {
    const int lane = threadIdx.x % 32, row = lane / 4, column = lane % 4 * 2;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int sample = row + k % 2 * 8, coarse = column + k / 2 * 8;
      words[k] = to_halves(upsampling_tap(sample, coarse), upsampling_tap(sample, coarse + 1));
    }
  }
};

// Adds what `level` shows in the tile whose first sample, of the next finer grid, is (x, y); both are even.
__device__ __forceinline__ void add_upsampled(TileSums& sums, const CoarseLevel& level, int frame, int x, int y,
                                              CoarseWindow& window) {
  const int lane = threadIdx.x % 32;
  const int left = x / 2 - kTapsAside - level.grid.left, top = y / 2 - kTapsAside - level.grid.top;
  // What lies past the grid belongs to no pixel of the image.
  const int last_column = level.columns() - 1, last_row = level.rows() - 1;
#pragma unroll
  for (int k = lane; k < kCoarseSamples * kCoarseSamples; k += 32) {
    const int row = k / kCoarseSamples, column = k % kCoarseSamples;
    window.samples[row][column] = level.line(frame, min(top + row, last_row))[min(left + column, last_column)];
  }
  __syncwarp();
  const UpsamplingMatrix matrix;
  // Rows of a matrix past the window are multiplied by 0, whatever they hold.
  const int row = min(lane % 16, kCoarseSamples - 1), other = lane / 16;
#pragma unroll
  for (int first = 0; first < kCoarseSamples; first += 4) {  // two blocks of two columns by four channels
    uint32_t b[4];
    load_transposed(b, &window.samples[row][min(first + other * 2, kCoarseSamples - 2)]);
#pragma unroll
    for (int k = 0; k < 2 && first + 2 * k < kCoarseSamples; ++k) {
      float v[4] = {};
      multiply_add(v, matrix.words, b[2 * k], b[2 * k + 1]);
      const int column = first + k * 2 + lane % 4 / 2;
      uint32_t* const to = reinterpret_cast<uint32_t*>(window.rows[lane / 4][column]) + lane % 2;
      to[0] = to_halves(v[0], v[1]);
      to[2] = to_halves(v[2], v[3]);
    }
  }
  __syncwarp();
#pragma unroll
  for (int line = 0; line < kHalfHeight; line += 2) {
    uint32_t b[4];
    load_transposed(b, window.rows[line + other][row]);
    multiply_add(sums.rows[line], matrix.words, b[0], b[1]);
    multiply_add(sums.rows[line + 1], matrix.words, b[2], b[3]);
  }
  __syncwarp();
}

}  // namespace garv
