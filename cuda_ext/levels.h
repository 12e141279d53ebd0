// What the kernels of `draw` share: the layout of records, the levels' grids, and how Gaussians of a plane that moves are
// seen on them: their records are as wide as they are, and made narrower once they are seen through a frame's map.
#pragma once

#include <torch/headeronly/util/Exception.h>

#include <cstdlib>

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

inline Window checked_window(int64_t left, int64_t top, int64_t width, int64_t height) {
  constexpr int64_t kMost = 1 << 24;
  STD_TORCH_CHECK(width >= 1 && height >= 1 && width <= kMost && height <= kMost && std::abs(left) <= kMost &&
                      std::abs(top) <= kMost,
                  "cannot draw ", width, "x", height, " pixels at (", left, ", ", top, ")");
  return {static_cast<int>(left), static_cast<int>(top), static_cast<int>(width), static_cast<int>(height)};
}

// The samples of one level that a window of the image needs.
struct LevelGrid {
  int left, top, width, height;  // samples
};

// The window's own, from an aligned corner on so that a crop sees the samples of the whole frame.
inline LevelGrid level_grid(const Window& window, int level) {
  const int left = window.left & -kAlignment, top = window.top & -kAlignment;
  const int apron = level > 0 ? kApron : 0, round = (1 << level) - 1;
  return {(left >> level) - apron, (top >> level) - apron,
          ((window.left + window.width - left + round) >> level) + 2 * apron,
          ((window.top + window.height - top + round) >> level) + 2 * apron};
}

// What interpolating a level of `draw` adds to the variance of what is drawn there, in squared samples of its grid;
// ops/_reference_draw.py holds the same number.
GARV_HD float widening_of(int level) {
  constexpr float kUpsamplingVariance = 0.7f;
  return kUpsamplingVariance * (1.f - 1.f / float(1 << 2 * level)) / 0.75f;
}

// Makes a slice narrower by a variance along each axis. Its sum stays if its weight is multiplied by what is returned
// as the squared distance that the brighter Gaussian reaches further.
GARV_HD float narrow(Slice<float>& s, float variance) {
  constexpr float kLeast = 0.01f;  // squared samples; only what should not be on this level comes near
  const float a = std::sqrt(clamped(s.a * s.a - variance, kLeast, INFINITY)), b = s.a * s.b / a;
  const float c = std::sqrt(clamped(s.c * s.c - variance - s.b * s.b * variance / (a * a), kLeast, INFINITY));
  const float brighter = s.a * s.c / (a * c);
  s.a = a;
  s.b = b;
  s.c = c;
  return 2.f * std::log(brighter);
}

// The squared distance that a Gaussian may reach further: the least wide ones become 2.8 times as bright on the coarsest
// level.
constexpr float kMostBrighter = 2.8f;

// A slice on the grid of a level, in samples, and the squared distance that it reaches further for being brighter.
struct SeenSlice {
  Slice<float> slice;
  float brighter;
};

// A map between pixels as one between samples of a level.
GARV_HD PlaneMap<float> map_of_level(const PlaneMap<float>& pixels, int level) {
  PlaneMap<float> map = pixels;
  const float scale = 1.f / float(1 << level);
  map.x *= scale;
  map.y *= scale;
  return map;
}

GARV_HD SeenSlice seen_on_level(const PlaneMap<float>& pixels, int level, const Slice<float>& slice) {
  SeenSlice seen = {seen_through(map_of_level(pixels, level), slice), 0.f};
  if (level > 0) seen.brighter = narrow(seen.slice, widening_of(level));
  return seen;
}

}  // namespace garv
