// Gaussians as `draw` reads them: 32-byte records in chunks, and the grids of the levels that they are drawn on.
#pragma once

#include <algorithm>
#include <cstdint>

#include "gaussian.h"

namespace garv {

// ops/_reference_draw.py holds the same numbers.
constexpr int kChunkSize = 256;
constexpr int kMaxLevels = 4;
constexpr int kApron = 6;  // samples that a coarse grid reaches past the image
constexpr int kAlignment = 1 << (kMaxLevels - 1);

constexpr int kRecordWords = 8;
constexpr int kRecordChannels = 4;

struct Window {
  int left, top, width, height;  // pixels
};

// The samples of one level that a window of the image needs.
struct Grid {
  int left, top;  // of the first sample
  int width, height, tiles_x, tiles_y;
  int first_tile;  // within a frame's tiles of all levels

  int tiles() const { return tiles_x * tiles_y; }
};

// The grid of `level`: the window's own, from an aligned corner on so that a crop sees the samples of the whole frame.
inline Grid grid_of(const Window& window, int level, int first_tile) {
  const int left = window.left & -kAlignment, top = window.top & -kAlignment;
  const int apron = level > 0 ? kApron : 0, round = (1 << level) - 1;
  Grid g;
  g.left = (left >> level) - apron;
  g.top = (top >> level) - apron;
  g.width = ((window.left + window.width - left + round) >> level) + 2 * apron;
  g.height = ((window.top + window.height - top + round) >> level) + 2 * apron;
  g.tiles_x = (g.width + kTileSize - 1) / kTileSize;
  g.tiles_y = (g.height + kTileSize - 1) / kTileSize;
  g.first_tile = first_tile;
  return g;
}

struct ChunkHeader {
  float first, last;  // time at which a Gaussian is alive
  float level, unused;
};

// What a launch of `draw` works on.
struct PackedScene {
  const int32_t* records;      // [kChunkSize * chunk_count][kRecordWords]
  const ChunkHeader* chunks;   // [chunk_count]
  const float* times;          // [frames]
  const PlaneMap<float>* motion;  // [frames] in pixels; null where nothing moves
  int64_t chunk_count, frames;
  int levels, channels;
  float log2_scale;  // of 255 / tau
  int tiles;         // a frame, of all levels
  Window window;
  Grid grids[kMaxLevels];
};

}  // namespace garv
