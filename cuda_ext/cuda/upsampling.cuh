// Adds the coarser level to a tile: interpolation by six taps along each axis, as two matrix products on the tensor
// cores.
#pragma once

#include "packed.cuh"
#include "tile_sums.cuh"

namespace garv {

constexpr int kTapsAside = 3;                                   // coarse samples on either side of a sample
constexpr int kCoarseSamples = kTileSize / 2 + 2 * kTapsAside;  // a side, of the coarse window that a tile looks at

// What a sample takes from one of the coarse window's, in 4096 parts; ops/_reference_draw.py says where the taps come
// from.
constexpr int upsampling_tap(int sample, int coarse) {
  constexpr int taps[2 * kTapsAside] = {12, 212, 1316, 1861, 642, 53};
  const int shift = coarse - kTapsAside - sample / 2, tap = kTapsAside + (sample % 2 == 0 ? shift : -shift);
  return tap >= 0 && tap < 2 * kTapsAside ? taps[tap] : 0;
}

// The bits of parts / 4096 in half precision, which holds all of these.
constexpr uint32_t half_of_parts(int parts) {
  if (parts == 0) return 0;
  int exponent = 0;
  while (parts >> (exponent + 1) != 0) ++exponent;
  return (exponent + 3) << 10 | (parts << (10 - exponent) & 0x3ff);
}

// The matrix [16 samples x 14 coarse ones, padded by 0 to 16] in the order in which the lanes hold it: read, as to make
// it takes two hundred instructions.
struct UpsamplingMatrix {
  uint4 words[32];

  constexpr UpsamplingMatrix() : words() {
    for (int lane = 0; lane < 32; ++lane) {
      words[lane] = {word(lane, 0, 0), word(lane, 8, 0), word(lane, 0, 8), word(lane, 8, 8)};
    }
  }

 private:
  static constexpr uint32_t word(int lane, int sample, int coarse) {
    sample += lane / 4;
    coarse += lane % 4 * 2;
    return half_of_parts(upsampling_tap(sample, coarse)) | half_of_parts(upsampling_tap(sample, coarse + 1)) << 16;
  }
};

__device__ constexpr UpsamplingMatrix kUpsampling;

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

// Adds what `level` shows in the tile whose first sample, of the next finer grid, is (x, y); both are even.
__device__ __forceinline__ void add_upsampled(TileSums& sums, const CoarseLevel& level, int frame, int x, int y,
                                              CoarseWindow& window) {
  const int lane = threadIdx.x % 32;
  const int left = x / 2 - kTapsAside - level.grid.left, top = y / 2 - kTapsAside - level.grid.top;
  const uint4 words = kUpsampling.words[lane];
  const uint32_t matrix[4] = {words.x, words.y, words.z, words.w};
  // Half a warp takes a row. What lies past the grid belongs to no pixel of the image.
  if (const int column = lane % 16; column < kCoarseSamples) {
    const uint2* const corner = level.line(frame, top) + min(left + column, level.columns() - 1);
    const int last_row = level.rows() - 1 - top;
#pragma unroll
    for (int row = lane / 16; row < kCoarseSamples; row += 2)
      window.samples[row][column] = corner[min(row, last_row) * level.columns()];
  }
  __syncwarp();
  // Rows of a matrix past the window are multiplied by 0, whatever they hold.
  const int row = min(lane % 16, kCoarseSamples - 1), other = lane / 16;
#pragma unroll
  for (int first = 0; first < kCoarseSamples; first += 4) {  // two blocks of two columns by four channels
    uint32_t b[4];
    load_transposed(b, &window.samples[row][min(first + other * 2, kCoarseSamples - 2)]);
#pragma unroll
    for (int k = 0; k < 2 && first + 2 * k < kCoarseSamples; ++k) {
      float v[4] = {};
      multiply_add(v, matrix, b[2 * k], b[2 * k + 1]);
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
    multiply_add(sums.rows[line], matrix, b[0], b[1]);
    multiply_add(sums.rows[line + 1], matrix, b[2], b[3]);
  }
  __syncwarp();
}

}  // namespace garv
