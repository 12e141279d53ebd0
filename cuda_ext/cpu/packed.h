// Gaussians as `draw` reads them: 32-byte records in chunks, and the grids of the levels that they are drawn on.
#pragma once

#include <algorithm>
#include <cstdint>

#include "levels.h"

namespace garv {

struct Grid : LevelGrid {
  int tiles_x, tiles_y;
  int first_tile;  // within a frame's tiles of all levels

  int tiles() const { return tiles_x * tiles_y; }
};

inline Grid grid_of(const Window& window, int level, int first_tile) {
  const LevelGrid g = level_grid(window, level);
  return {g, (g.width + kTileSize - 1) / kTileSize, (g.height + kTileSize - 1) / kTileSize, first_tile};
}

struct ChunkHeader {
  float first, last;  // time at which a Gaussian is alive
  float level, unused;
};

// What a launch of `draw` works on.
struct PackedScene {
  const int32_t* records;         // [kChunkSize * chunk_count][kRecordWords]
  const ChunkHeader* chunks;      // [chunk_count]
  const float* times;             // [frames]
  const PlaneMap<float>* motion;  // [frames] in pixels; null where nothing moves
  int64_t chunk_count, frames;
  int levels, channels;
  float log2_scale;  // of 255 / tau
  int tiles;         // a frame, of all levels
  Window window;
  Grid grids[kMaxLevels];
};

}  // namespace garv
