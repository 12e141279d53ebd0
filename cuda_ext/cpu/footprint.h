// What a slice leaves on the pixels, in the form that the tile kernels evaluate:
// weight = 2^-(peak + z1^2 + z2^2) with z1 = ia dx, z2 = k dx + ic dy, the rows of L^-1 scaled so that e^(-d/2) becomes
// a power of 2. A sum of squares does not cancel where a Gaussian is thin and slanted, A dx^2 + 2 B dx dy + C dy^2
// does.
#pragma once

#include "gaussian.h"

namespace garv {

// A pixel whose exponent passes this gets less than 2^-kSpent of the Gaussian's peak, which is below the last bit of
// the peak itself, and may be left out.
template <typename T>
constexpr T kSpent = sizeof(T) == 4 ? T(24) : T(56);

template <typename T>
struct Footprint {
  T x, y;       // 2D mean, pixels
  T ia, k, ic;  // scaled L^-1 = [[ia, 0], [k, ic]]
  T peak;       // exponent at the mean: the weight along t
  T step;       // 2^(-2 ic^2), the ratio of the ratios of the weights of consecutive rows
  T reach_y;    // rows farther than this from y are spent; negative when all are
  T color[kMaxChannels];
};

template <typename T>
inline Footprint<T> footprint_of(const Slice<T>& s, const T* color, int channels) {
  constexpr T kScale = T(0.84932180028801904272);  // sqrt(log2(e) / 2)
  Footprint<T> f;
  f.x = s.x;
  f.y = s.y;
  f.ia = kScale / s.a;
  f.ic = kScale / s.c;
  f.k = -s.b * f.ia / s.c;
  f.peak = (kScale * s.u) * (kScale * s.u);
  f.step = std::exp2(T(-2) * f.ic * f.ic);
  const T left = (kSpent<T> - f.peak) * (s.b * s.b + s.c * s.c);
  f.reach_y = left >= T(0) ? std::sqrt(left) / kScale : T(-1);
  for (int c = 0; c < channels; ++c) f.color[c] = color[c];
  return f;
}

// Where a tile lies: the centre of its first pixel and the number of rows inside the image.
template <typename T>
struct TileOrigin {
  T x, y;
  int rows;
};

template <typename T>
inline TileOrigin<T> tile_origin(int tile_x, int tile_y, int height) {
  const int y0 = tile_y * kTileSize;
  const int rows = height - y0 < kTileSize ? height - y0 : kTileSize;
  return {T(tile_x * kTileSize) + T(0.5), T(y0) + T(0.5), rows};
}

}  // namespace garv
