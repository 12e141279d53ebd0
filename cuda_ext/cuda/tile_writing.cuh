// Writing a tile of images from shared memory.
#pragma once

#include "common.cuh"

namespace garv {

template <typename Sample>
struct FourOf;

template <>
struct FourOf<uint8_t> {
  using Type = uint32_t;
};

template <>
struct FourOf<float> {
  using Type = float4;
};

template <typename Sample>
struct Images {
  Sample* samples;  // [frames, height, width, channels]
  int width, height, channels;

  // Writes a tile [16, 16, C], aligned to four samples, to C channels from `channel` on, with its first pixel at
  // (left, top). What lies outside of the image is left out.
  template <int C>
  __device__ __forceinline__ void write(const Sample* tile, int frame, int left, int top, int channel) const {
    using Four = typename FourOf<Sample>::Type;
    const int lane = threadIdx.x % 32, pitch = width * channels;
    Sample* const corner = samples + (int64_t(frame) * height + top) * pitch + int64_t(left) * channels + channel;
    const bool inside = left >= 0 && top >= 0 && left + kTileSize <= width && top + kTileSize <= height;
    if (inside && channels == C && pitch % 4 == 0 && reinterpret_cast<uintptr_t>(corner) % sizeof(Four) == 0) {
      constexpr int kFours = kTileSize * C / 4, kRows = 32 / kFours;  // in a row; at once: a few lanes may have none
      if (lane >= kRows * kFours) return;
      const Four* from = reinterpret_cast<const Four*>(tile) + lane;
      Sample* to = corner + lane / kFours * pitch + lane % kFours * 4;
#pragma unroll
      for (int row = 0; row < kTileSize; row += kRows, from += kRows * kFours, to += kRows * pitch)
        *reinterpret_cast<Four*>(to) = *from;
      return;
    }
    for (int k = lane; k < kTilePixels * C; k += 32) {
      const int row = k / (kTileSize * C), column = k / C % kTileSize, px = left + column, py = top + row;
      const bool there = px >= 0 && py >= 0 && px < width && py < height;
      if (there) corner[int64_t(row) * pitch + int64_t(column) * channels + k % C] = tile[k];
    }
  }
};

}  // namespace garv
