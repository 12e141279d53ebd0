// The inner loops of `draw` beside the tile kernels', compiled for the same instruction sets.
#pragma once

#include "packed.h"
#include "tile_kernels.h"

namespace garv {

// A Gaussian at one time that reaches into a grid; lengths in samples, counted from the grid's corner.
struct Sliced {
  Slice<float> slice;
  float reach;  // squared distance that is left to the slice
  float color[kRecordChannels];
};

// An image of a level: a plane [rows][stride] for each channel.
struct Planes {
  float* samples;
  int64_t stride, size;  // floats from row to row, from plane to plane
};

struct DrawKernels {
  // Slices a chunk's Gaussians at `time`; writes those that may reach into the grid, counted from its corner, and
  // returns their number.
  int (*slice)(const int32_t* records, float time, const Grid& grid, float log2_scale, Sliced* found);
  // Adds to a tile [channels][16][16] what the coarser level shows there; `coarse` is at the first of the 14 x 14
  // samples that this takes, of 14 x 16 that are read.
  void (*add_upsampled)(const Planes& coarse, int channels, float* tile);
  // Turns the samples of a tile into whole numbers, 255 x rounded and clamped: a byte of each word for each channel.
  void (*to_bytes)(const float* tile, int channels, uint32_t* words);
};

const DrawKernels& draw_kernels();

extern const DrawKernels kBaselineDraw;
#if defined(__x86_64__)
extern const DrawKernels kAvx2Draw;
extern const DrawKernels kAvx512Draw;
#endif

}  // namespace garv
