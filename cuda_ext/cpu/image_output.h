// A tile's sums as pixels of the image that `draw` gives: bytes, or float32 as they are.
#pragma once

#include <cstring>

#include "draw_kernels.h"

namespace garv {

template <typename Output>
class TilePixels;

template <>
class TilePixels<float> {
 public:
  TilePixels(const float* tile, int channels) : tile_(tile), channels_(channels) {}

  // `count` pixels of a row from pixel `first` of the tile on.
  void write(int first, int count, float* out) const {
    for (int x = 0; x < count; ++x) {
      for (int c = 0; c < channels_; ++c) *out++ = tile_[c * kTilePixels + first + x];
    }
  }

 private:
  const float* tile_;
  const int channels_;
};

template <>
class TilePixels<uint8_t> {
 public:
  TilePixels(const float* tile, int channels) : channels_(channels) {
    draw_kernels().to_bytes(tile, channels, words_);
  }

  // A word goes out whole, and its spare bytes are those of the next pixels; the last ones go out by themselves, for
  // what comes after them belongs to another tile.
  void write(int first, int count, uint8_t* out) const {
    const uint8_t* const end = out + count * channels_;
    const uint32_t* word = words_ + first;
    for (; out + sizeof(uint32_t) <= end; out += channels_, ++word) std::memcpy(out, word, sizeof(uint32_t));
    for (; out < end; out += channels_, ++word) {
      for (int c = 0; c < channels_; ++c) out[c] = static_cast<uint8_t>(*word >> (8 * c));
    }
  }

 private:
  const int channels_;
  alignas(64) uint32_t words_[kTilePixels];
};

}  // namespace garv
