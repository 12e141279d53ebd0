// The sums over a tile's pixels that a (Gaussian, tile) pair's gradients follow from.
#pragma once

#include "common.cuh"
#include "weights.cuh"

namespace garv {

constexpr int kChannels = 3;  // colour channels a pass takes
constexpr int kMoments = 6;   // {1, x, y, x^2, xy, y^2}
constexpr float kUnit = 8.f;  // pixels; coordinates about the tile's centre are in this unit, within (-1, 1)

// Squared distance of one pixel along an axis above which a Gaussian counts as thin: a sigma of 0.15 pixels. From there
// on what the tile's distances, 64 times as large in square, leave of the 22 bits is less than a thousandth.
constexpr float kThin = 44.f;
constexpr float kNegligible = 6.5f;  // standard deviations; exp(-6.5^2 / 2) < 2^-30

// What a pair's gradients are made of: moments about the mean of dL/dpixel . colour, and sums for the colours.
struct PairSums {
  Moments<float> moments = {};
  float colors[kChannels] = {};
};

// From the sums about the tile's centre, in units of kUnit.
__device__ __forceinline__ PairSums move_to_mean(const Slice<float>& g, const float* sums, float scale,
                                                 const float* color, float center_x, float center_y) {
  PairSums result;
  float m[kMoments] = {};
#pragma unroll
  for (int c = 0; c < kChannels; ++c) {
    result.colors[c] = sums[c * kMoments] * scale;
#pragma unroll
    for (int k = 0; k < kMoments; ++k) m[k] = fmaf(color[c] * scale, sums[c * kMoments + k], m[k]);
  }
  const float ox = g.x - center_x, oy = g.y - center_y, x = m[1] * kUnit, y = m[2] * kUnit;
  constexpr float kArea = kUnit * kUnit;
  result.moments = {m[0],
                    x - ox * m[0],
                    y - oy * m[0],
                    m[3] * kArea - ox * (2.f * x - ox * m[0]),
                    m[4] * kArea - ox * y - oy * (x - ox * m[0]),
                    m[5] * kArea - oy * (2.f * y - oy * m[0])};
  return result;
}

// Pixel by pixel: for Gaussians so thin that moving their second moments from the tile's centre would leave nothing of
// them but rounding. Few pixels are near one.
__device__ PairSums sum_directly(const Scene& s, const TileWork& work, const ReachingSlice& r, const float* v_image,
                                 int channels, int first, const float* color) {
  PairSums result;
  const Exponent e = exponent_of(r);
  const float half = kNegligible * sqrtf(r.slice.b * r.slice.b + r.slice.c * r.slice.c);
  const int x0 = work.tile_x * kTileSize, y0 = work.tile_y * kTileSize;
  const int x1 = min(x0 + kTileSize, s.width), y1 = min(y0 + kTileSize, s.height);
  for (int y = y0; y < y1; ++y) {
    const float dy = y + 0.5f - r.slice.y;
    if (!(fabsf(dy) <= half)) continue;
    for (int x = x0; x < x1; ++x) {
      const float dx = x + 0.5f - r.slice.x;
      const float weight = exp2_approx(fmaf(fmaf(e.c, dy, e.b * dx), dy, fmaf(e.a * dx, dx, e.k)));
      const float* v = v_image + ((int64_t(work.frame) * s.height + y) * s.width + x) * channels + first;
      float h = 0.f;
      for (int c = 0; c < kChannels && first + c < channels; ++c) {
        result.colors[c] = fmaf(weight, v[c], result.colors[c]);
        h = fmaf(weight * v[c], color[c], h);
      }
      Moments<float>& m = result.moments;
      m = {m.s0 + h, m.sx + h * dx, m.sy + h * dy, m.sxx + h * dx * dx, m.sxy + h * dx * dy, m.syy + h * dy * dy};
    }
  }
  return result;
}

}  // namespace garv
