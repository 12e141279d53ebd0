// Writing a tile of images from shared memory.
#pragma once

#include "common.cuh"

namespace garv {

template <typename Sample>
struct Images {
  Sample* samples;  // [frames, height, width, channels]
  int width, height, channels;

  // Writes a tile [16, 16, C], aligned to 16 bytes, to C channels from `channel` on, with its first pixel at
  // (left, top). What lies outside of the image is left out.
  template <int C>
  __device__ __forceinline__ void write(const Sample* tile, int frame, int left, int top, int channel) const {
    const int lane = threadIdx.x % 32, pitch = width * channels;
    Sample* const corner = samples + (int64_t(frame) * height + top) * pitch + int64_t(left) * channels + channel;
    const bool inside = left >= 0 && top >= 0 && left + kTileSize <= width && top + kTileSize <= height;
    if (inside && channels == C) {
      if (write_as<C, uint4>(tile, corner, pitch)) return;
      if constexpr (sizeof(Sample) == 1) {
        if (write_as<C, uint32_t>(tile, corner, pitch)) return;
      }
    }
    for (int k = lane; k < kTilePixels * C; k += 32) {
      const int row = k / (kTileSize * C), column = k / C % kTileSize, px = left + column, py = top + row;
      const bool there = px >= 0 && py >= 0 && px < width && py < height;
      if (there) corner[int64_t(row) * pitch + int64_t(column) * channels + k % C] = tile[k];
    }
  }

 private:
  // The same by whole vectors of samples; false where rows of the image do not begin at such.
  template <int C, typename Vector>
  __device__ __forceinline__ static bool write_as(const Sample* tile, Sample* corner, int pitch) {
    constexpr int kSamples = sizeof(Vector) / sizeof(Sample), kVectors = kTileSize * C / kSamples;  // of one; in a row
    constexpr int kRows = kVectors == 1 ? 16 : kVectors <= 4 ? 8 : kVectors <= 8 ? 4 : 2;  // at once
    static_assert(kRows * kVectors <= 32);
    if (pitch % kSamples != 0 || reinterpret_cast<uintptr_t>(corner) % sizeof(Vector) != 0) return false;
    const int lane = threadIdx.x % 32;
    if (lane >= kRows * kVectors) return true;
    const Vector* from = reinterpret_cast<const Vector*>(tile) + lane;
    Sample* to = corner + lane / kVectors * pitch + lane % kVectors * kSamples;
#pragma unroll
    for (int row = 0; row < kTileSize; row += kRows, from += kRows * kVectors, to += kRows * pitch)
      *reinterpret_cast<Vector*>(to) = *from;
    return true;
  }
};

}  // namespace garv
