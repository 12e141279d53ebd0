// Writing a tile: of the image, as floats or bytes, or of a coarse level.
#pragma once

#include "tile_drawing.cuh"
#include "tile_writing.cuh"

namespace garv {

// Calls use(samples, values) for the pairs of channels that the lane holds of a tile of a coarse level.
template <typename Use>
__device__ __forceinline__ void for_each_of_level(TileSums& sums, const CoarseLevel& level, const Place& place,
                                                  const Use& use) {
  const int lane = threadIdx.x % 32, columns = 2 * level.columns();
  __half2* const corner = reinterpret_cast<__half2*>(level.line(place.frame, place.y + lane % 4 / 2 * kHalfHeight)) +
                          2 * (place.x + lane / 4) + lane % 2;
#pragma unroll
  for (int row = 0; row < kHalfHeight; ++row) {
    use(corner[row * columns], sums.rows[row][0], sums.rows[row][1]);
    use(corner[row * columns + 16], sums.rows[row][2], sums.rows[row][3]);
  }
}

__device__ __forceinline__ void write_level(TileSums& sums, const CoarseLevel& level, const Place& place) {
  for_each_of_level(sums, level, place, [](__half2& to, float a, float b) { to = __floats2half2_rn(a, b); });
}

struct FloatOutput {
  float* pixels;  // [frames, height, width, C]

  template <int C>
  __device__ __forceinline__ void write(TileSums& sums, Scratch&, const Window& window, int frame, int x, int y) const {
    const int left = x - window.left, top = y - window.top;
    sums.template for_each_sample<C>([&](int row, int column, int channel, float value) {
      const int px = left + column, py = top + row;
      if (px < 0 || py < 0 || px >= window.width || py >= window.height) return;
      pixels[((int64_t(frame) * window.height + py) * window.width + px) * C + channel] = value;
    });
  }
};

// 255 times a value between 0 and 1, rounded, in the lowest byte; what lies outside is clamped and NaN gives 0.
__device__ __forceinline__ uint8_t to_byte(float value) {
  constexpr float kWhole = 8388608.f;  // numbers from 2^23 on have no fraction, and so the sum rounds
  return static_cast<uint8_t>(__float_as_uint(fmaf(__saturatef(value), 255.f, kWhole)));
}

struct ByteOutput {
  uint8_t* pixels;  // [frames, height, width, C]

  template <int C>
  __device__ __forceinline__ void write(TileSums& sums, Scratch& scratch, const Window& window, int frame, int x,
                                        int y) const {
    sums.template for_each_sample<C>([&](int row, int column, int channel, float value) {
      scratch.bytes[(row * kTileSize + column) * C + channel] = to_byte(value);
    });
    __syncwarp();
    const Images<uint8_t> images = {pixels, window.width, window.height, C};
    images.write<C>(scratch.bytes, frame, x - window.left, y - window.top, 0);
  }
};

}  // namespace garv
