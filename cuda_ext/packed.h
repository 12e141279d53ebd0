// Gaussians as `draw` reads them: 32-byte records in chunks, and the grids of the levels that they are drawn on.
#pragma once

#include "gaussian.h"

namespace garv {

// ops/_reference_draw.py holds the same numbers.
constexpr int kChunkSize = 256;
constexpr int kMaxLevels = 4;
constexpr int kApron = 6;  // samples that a coarse grid reaches past the image
constexpr int kAlignment = 1 << (kMaxLevels - 1);

constexpr int kRecordWords = 8;
constexpr int kRecordChannels = 4;
// The samples of one level that a window of the image needs.
struct Grid {
  int left, top;  // of the first sample
  int width, height, blocks_x, blocks_y;
  int first_block;  // within a frame's blocks of all levels

  GARV_HD int blocks() const { return blocks_x * blocks_y; }
};

struct Window {
  int left, top, width, height;  // pixels
};

inline int floor_to_alignment(int v) { return v & -kAlignment; }

// The grid of `level`: the window's own, from an aligned corner on so that a crop sees the samples of the whole frame.
inline Grid grid_of(const Window& window, int level, int first_block) {
  const int left = floor_to_alignment(window.left), top = floor_to_alignment(window.top);
  const int apron = level > 0 ? kApron : 0, round = (1 << level) - 1;
  Grid g;
  g.left = (left >> level) - apron;
  g.top = (top >> level) - apron;
  g.width = ((window.left + window.width - left + round) >> level) + 2 * apron;
  g.height = ((window.top + window.height - top + round) >> level) + 2 * apron;
  g.blocks_x = (g.width + kBlockSize - 1) / kBlockSize;
  g.blocks_y = (g.height + kBlockSize - 1) / kBlockSize;
  g.first_block = first_block;
  return g;
}

}  // namespace garv
