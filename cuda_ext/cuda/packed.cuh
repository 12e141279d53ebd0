// Gaussians as `draw` reads them: 32-byte records in chunks, and the grids of the levels that they are drawn on.
#pragma once

#include <cuda_fp16.h>

#include <cuda/atomic>

#include "common.cuh"
#include "levels.h"

namespace garv {

struct Grid : LevelGrid {
  int blocks_x, blocks_y;
  int first_block;  // within a frame's blocks of all levels

  __host__ __device__ int blocks() const { return blocks_x * blocks_y; }
};

inline Grid grid_of(const Window& window, int level, int first_block) {
  const LevelGrid g = level_grid(window, level);
  return {g, (g.width + kBlockSize - 1) / kBlockSize, (g.height + kBlockSize - 1) / kBlockSize, first_block};
}

// What a launch of `draw` works on.
struct PackedScene {
  const int4* records;            // [kChunkSize * chunk_count][2]
  const float4* chunks;           // [chunk_count]: first and last time alive, level, 0
  const float* times;             // [frames]
  const PlaneMap<float>* motion;  // [frames] in pixels; null where nothing moves
  int chunk_count, frames, levels;
  float log2_scale;  // of 255 / tau
  int blocks;        // a frame, of all levels
  Grid grids[kMaxLevels];
};

// Lists of the Gaussians of every block of every frame, each with the same room.
struct BlockLists {
  int room;
  unsigned long long* longest;  // length of the longest list that did not fit; 0 if all did
  int64_t* missing;             // the same for the host, which need not wait for it; written only if some did not fit
  int* alive_count;
  int* counts;        // [frames * blocks] lengths, whether or not they fit
  int* alive;         // [chunk_count] chunks with a Gaussian that is alive in a frame; null where nobody looked for them
  unsigned* entries;  // [frames * blocks, room]
  int* whole;         // whether they all are; 0 before, and where nobody asks

  // The kernel that draws the image reads lists while the levels before it are still drawn. Where it starts promises
  // nothing of what it sees there, so the levels' kernel, for which lists are whole, hands on that they are.
  __device__ __forceinline__ void hand_on() const {
    if (blockIdx.x + blockIdx.z + threadIdx.x > 0) return;
    cuda::atomic_ref<int, cuda::thread_scope_device>(*whole).store(1, cuda::memory_order_release);
  }

  // For all threads of a block; the wait is short, as the next kernel starts once all of the last one's blocks run.
  __device__ __forceinline__ void take_over() const {
    const cuda::atomic_ref<int, cuda::thread_scope_device> flag(*whole);
    if (threadIdx.x == 0) {
      while (flag.load(cuda::memory_order_acquire) == 0) {
      }
    }
    __syncthreads();
  }

  // By any one thread for which lists are whole.
  __device__ __forceinline__ void tell_host() const {
    if (*longest > 0) *missing = static_cast<int64_t>(*longest);
  }
};

struct Record {
  int4 a, b;

  __device__ __forceinline__ static Record load(const PackedScene& s, int id) {
    return {__ldg(s.records + int64_t(id) * 2), __ldg(s.records + int64_t(id) * 2 + 1)};
  }

  __device__ __forceinline__ static float2 halves(int word) {
    return __half22float2(*reinterpret_cast<const __half2*>(&word));
  }

  // Squared distance at which a Gaussian's brightest channel falls below tau / 255; NaN for a black one.
  __device__ __forceinline__ float cutoff(float log2_scale) const {
    const float2 c01 = halves(b.z), c23 = halves(b.w);
    const float largest = fmaxf(fmaxf(fabsf(c01.x), fabsf(c01.y)), fmaxf(fabsf(c23.x), fabsf(c23.y)));
    constexpr float kTwoLn2 = 1.3862943611198906f;
    return kTwoLn2 * (__log2f(largest) + log2_scale);
  }

  __device__ __forceinline__ float deviation(float time) const {
    return (time - __int_as_float(a.z)) * (1.f / at_least_min_sigma(halves(a.w).x));
  }

  __device__ __forceinline__ Slice<float> slice(float time) const {
    const float2 xt = halves(a.w), yt_xx = halves(b.x), yx_yy = halves(b.y);
    Slice<float> g;
    g.u = deviation(time);
    g.x = fmaf(g.u, xt.y, __int_as_float(a.x));
    g.y = fmaf(g.u, yt_xx.x, __int_as_float(a.y));
    g.a = at_least_min_sigma(yt_xx.y);
    g.b = yx_yy.x;
    g.c = at_least_min_sigma(yx_yy.y);
    return g;
  }

  // As a frame sees it on its level's grid.
  __device__ __forceinline__ SeenSlice seen(const PackedScene& s, int frame, int level) const {
    const Slice<float> g = slice(s.times[frame]);
    return s.motion == nullptr ? SeenSlice{g, 0.f} : seen_on_level(s.motion[frame], level, g);
  }
};

}  // namespace garv
