// The two inner loops, compiled for several instruction sets; the best that the machine has is taken at run time.
#pragma once

#include "footprint.h"

namespace garv {

constexpr int kTilePixels = kTileSize * kTileSize;
constexpr int kMomentCount = 6;

struct TileIndex {
  int x, y;
};

// A tile buffer is planar: [channels][16][16]; pixels outside the image are there and hold anything (image) or 0
// (v_image).
template <typename T>
struct TileKernels {
  // Adds weight * colour of `count` footprints to one tile.
  using Add = void (*)(const Footprint<T>* footprints, int count, TileOrigin<T> origin, T* tile);
  // Adds to sums [6 + channels] the moments of one footprint over `count` tiles of a frame, then sum of weight * v.
  using Gather = void (*)(const Footprint<T>& footprint, const TileIndex* tiles, int count, const T* v_frame,
                          int tiles_x, int height, T* sums);
  Add add[kMaxChannels];  // [channels - 1]
  Gather gather[kMaxChannels];
};

template <typename T>
const TileKernels<T>& tile_kernels();

extern const TileKernels<float> kBaselineFloat;
extern const TileKernels<double> kBaselineDouble;
#if defined(__x86_64__)
extern const TileKernels<float> kAvx2Float;
extern const TileKernels<float> kAvx512Float;
#endif

}  // namespace garv
