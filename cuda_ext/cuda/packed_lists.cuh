// Which packed Gaussians touch which blocks of 32x32 samples: every pair is found once, by one visit of the chunks that
// are alive, and takes its place in its block's list at once. Nothing is sorted and nothing waits for the host.
#pragma once

#include "chaining.cuh"
#include "packed.cuh"
#include "visiting.cuh"

namespace garv {

static_assert(kVisitThreads == kChunkSize);

__device__ __forceinline__ Blocks blocks_of(const Grid& grid) {
  return {grid.left, grid.top, grid.blocks_x, grid.blocks_y};
}

__global__ void __launch_bounds__(kVisitThreads) find_living_chunks(PackedScene s, BlockLists lists) {
  const int chunk = blockIdx.x * kVisitThreads + threadIdx.x;
  if (chunk == 0) *lists.longest = 0;
  bool alive = false;
  if (chunk < s.chunk_count) {
    const float4 c = s.chunks[chunk];
    for (int f = 0; f < s.frames; ++f) alive = alive || (c.x <= s.times[f] && s.times[f] <= c.y);
  }
  const unsigned warp = __ballot_sync(0xffffffffu, alive);
  const int lane = threadIdx.x % 32;
  int first = lane == 0 && warp != 0 ? atomicAdd(lists.alive_count, __popc(warp)) : 0;
  first = __shfl_sync(0xffffffffu, first, 0);
  if (alive) lists.alive[first + __popc(warp & ((1u << lane) - 1))] = chunk;
}

// The lists of one level's blocks, as `visit` fills them.
struct LevelLists {
  const PackedScene& scene;
  const BlockLists& lists;
  const Grid& grid;

  __device__ __forceinline__ void slice(Living who, Slice<float>& slice, float& reach) const {
    const Record record = Record::load(scene, who.id);
    slice = record.slice(scene.times[who.frame]);
    reach = record.cutoff(scene.log2_scale) - slice.u * slice.u;
  }

  __device__ __forceinline__ int64_t reserve(int) const { return 0; }

  __device__ __forceinline__ void add(Living who, const Reached& reached, int column, int row, int64_t) const {
    const int64_t list = int64_t(who.frame) * scene.blocks + grid.first_block + row * grid.blocks_x + column;
    const int place = take_place(lists.counts + list);
    if (place < lists.room) {
      lists.entries[list * lists.room + place] = entry_of(who.id, reached.tiles(column, row));
    } else {
      atomicMax(lists.longest, static_cast<unsigned long long>(place) + 1);
    }
  }
};

// The frames of a visit at which the thread's Gaussian is alive, a bit each; no other frames of the chunk are looked
// at.
__device__ __forceinline__ unsigned frames_alive(const PackedScene& s, int id, float4 chunk, int first_frame) {
  const int frame = first_frame + static_cast<int>(threadIdx.x % 32);
  const float time = s.times[min(frame, s.frames - 1)];
  unsigned frames = __ballot_sync(0xffffffffu, frame < s.frames && chunk.x <= time && time <= chunk.y);
  const Record record = Record::load(s, id);
  const float cutoff = record.cutoff(s.log2_scale);
  unsigned alive = 0;
  for (; frames != 0; frames &= frames - 1) {
    const int f = __ffs(frames) - 1;
    const float u = record.deviation(s.times[first_frame + f]);
    alive |= static_cast<unsigned>(cutoff - u * u >= 0.f) << f;
  }
  return alive;
}

__global__ void __launch_bounds__(kVisitThreads) visit_chunks(PackedScene s, BlockLists lists) {
  wait_for_last_kernel();
  __shared__ VisitShared shared;
  const int first_frame = blockIdx.y * kFramesPerVisit;
  for (int k = blockIdx.x; k < *lists.alive_count; k += gridDim.x) {
    const int chunk = lists.alive[k], first_id = chunk * kChunkSize;
    const float4 header = s.chunks[chunk];
    const LevelLists level = {s, lists, s.grids[static_cast<int>(header.z)]};
    const unsigned alive = frames_alive(s, first_id + threadIdx.x, header, first_frame);
    visit(level, shared, blocks_of(level.grid), first_id, first_frame, alive);
  }
}

}  // namespace garv
