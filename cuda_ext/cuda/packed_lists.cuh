// Which packed Gaussians touch which blocks of 32x32 samples: every pair is found once, by one visit of the chunks that
// are alive, and takes its place in its block's list at once. Nothing is sorted and nothing waits for the host.
#pragma once

#include "chaining.cuh"
#include "packed.cuh"
#include "visiting.cuh"

namespace garv {

static_assert(kVisitThreads == kChunkSize);

constexpr int kVisits = 2048;     // at a time: more than a large GPU holds, so that short ones make way for others
constexpr int kFewestFrames = 4;  // of a visit: with less to do, reading the Gaussians counts

__device__ __forceinline__ Blocks blocks_of(const Grid& grid) {
  return {grid.left, grid.top, grid.blocks_x, grid.blocks_y};
}

// A place at the end of a list for every lane that wants one.
__device__ __forceinline__ int append(int* count, bool wanted) {
  const unsigned warp = __ballot_sync(0xffffffffu, wanted);
  const int lane = threadIdx.x % 32;
  int first = lane == 0 && warp != 0 ? atomicAdd(count, __popc(warp)) : 0;
  first = __shfl_sync(0xffffffffu, first, 0);
  return first + __popc(warp & ((1u << lane) - 1));
}

__global__ void __launch_bounds__(kVisitThreads) find_living_chunks(PackedScene s, BlockLists lists) {
  allow_next_kernel();
  const int chunk = blockIdx.x * kVisitThreads + threadIdx.x;
  bool alive = false;
  if (chunk < s.chunk_count) {
    const float4 c = s.chunks[chunk];
    for (int f = 0; f < s.frames; ++f) alive = alive || (c.x <= s.times[f] && s.times[f] <= c.y);
  }
  const int place = append(lists.alive_count, alive);
  if (alive) lists.alive[place] = chunk;
}

constexpr int kLoneThreads = 1024;

// The same for a frame alone by one thread block, which also sets `zeroed` to 0: a launch less to wait for.
__global__ void __launch_bounds__(kLoneThreads)
    find_chunks_of_frame(PackedScene s, BlockLists lists, int* zeroed, int zeros) {
  allow_next_kernel();
  __shared__ int count;
  for (int k = threadIdx.x; k < zeros; k += kLoneThreads) zeroed[k] = 0;
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  const float time = s.times[0];
  constexpr int kAtOnce = 4;  // a thread, so that it waits for memory once
  for (int first = 0; first < s.chunk_count; first += kAtOnce * kLoneThreads) {
    bool alive[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const int chunk = first + k * kLoneThreads + threadIdx.x;
      const float4 c = s.chunks[min(chunk, s.chunk_count - 1)];
      alive[k] = chunk < s.chunk_count && c.x <= time && time <= c.y;
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const int place = append(&count, alive[k]);
      if (alive[k]) lists.alive[place] = first + k * kLoneThreads + threadIdx.x;
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) *lists.alive_count = count;
}

// The lists of one level's blocks, as `visit` fills them.
struct LevelLists {
  const PackedScene& scene;
  const BlockLists& lists;
  const Grid& grid;
  int level;

  __device__ __forceinline__ void slice(Living who, Slice<float>& slice, float& reach) const {
    const Record record = Record::load(scene, who.id);
    const SeenSlice seen = record.seen(scene, who.frame, level);
    slice = seen.slice;
    reach = record.cutoff(scene.log2_scale) + seen.brighter - slice.u * slice.u;
  }

  __device__ __forceinline__ int64_t reserve(int) const { return 0; }

  __device__ __forceinline__ void add(Living who, const Reached& reached, int column, int row, int64_t) const {
    const int64_t list = int64_t(who.frame) * scene.blocks + grid.first_block + row * grid.blocks_x + column;
    const PlaceInList asked(lists.counts + list, __activemask());
    const unsigned entry = entry_of(who.id, reached.tiles(column, row));
    const int place = asked.get();
    if (place < lists.room) {
      lists.entries[list * lists.room + place] = entry;
    } else {
      atomicMax(lists.longest, static_cast<unsigned long long>(place) + 1);
    }
  }
};

// Whether a Gaussian reaches into a grid's blocks at some time; its cutoff is not negative.
__device__ __forceinline__ bool reaches(const Record& record, float cutoff, const Grid& grid) {
  const float2 xt = Record::halves(record.a.w), yt_xx = Record::halves(record.b.x), yx_yy = Record::halves(record.b.y);
  const float xx = at_least_min_sigma(yt_xx.y), yy = at_least_min_sigma(yx_yy.y), radius = sqrtf(cutoff);
  const float half_x = radius * sqrtf(xt.y * xt.y + xx * xx);
  const float half_y = radius * sqrtf(yt_xx.x * yt_xx.x + yx_yy.x * yx_yy.x + yy * yy);
  const float x = __int_as_float(record.a.x) - grid.left, y = __int_as_float(record.a.y) - grid.top;
  return x - half_x <= grid.blocks_x * kBlockSize && x + half_x >= 0.f && y - half_y <= grid.blocks_y * kBlockSize &&
         y + half_y >= 0.f;
}

// The frames [first_frame, end_frame) of a visit at which the thread's Gaussian is alive, a bit each; none for one that
// stays outside of the grid, so that what a crop does not show costs next to nothing. No other frames of the chunk are
// looked at.
__device__ __forceinline__ unsigned frames_alive(const PackedScene& s, int id, float4 chunk, const Grid& grid,
                                                 int first_frame, int end_frame) {
  const int frame = first_frame + static_cast<int>(threadIdx.x % 32);
  const float time = s.times[min(frame, end_frame - 1)];
  unsigned frames = __ballot_sync(0xffffffffu, frame < end_frame && chunk.x <= time && time <= chunk.y);
  if (frames == 0) return 0;
  const Record record = Record::load(s, id);
  const float cutoff = record.cutoff(s.log2_scale) + (s.motion == nullptr ? 0.f : kMostBrighter);
  if (!(cutoff >= 0.f) || (s.motion == nullptr && !reaches(record, cutoff, grid))) return 0;
  unsigned alive = 0;
  for (; frames != 0; frames &= frames - 1) {
    const int f = __ffs(frames) - 1;
    const float u = record.deviation(s.times[first_frame + f]);
    alive |= static_cast<unsigned>(cutoff - u * u >= 0.f) << f;
  }
  return alive;
}

inline __host__ __device__ int most_parts(int frames) { return (frames + kFewestFrames - 1) / kFewestFrames; }

// A visit goes through its Gaussians' frames round after round. Where few chunks are alive, the frames of each are
// dealt out to several visits, or most of the GPU would wait for a few long ones.
__device__ __forceinline__ int frames_per_visit(int frames, int chunks) {
  const int parts = min(max(1, kVisits / max(1, chunks)), most_parts(frames));
  return (frames + parts - 1) / parts;
}

__global__ void __launch_bounds__(kVisitThreads) visit_chunks(PackedScene s, BlockLists lists) {
  allow_next_kernel();
  wait_for_last_kernel();
  __shared__ VisitShared shared;
  const int chunks = *lists.alive_count, begin = blockIdx.y * kFramesPerVisit;
  const int end = min(s.frames, begin + kFramesPerVisit), step = frames_per_visit(end - begin, chunks);
  const int parts = (end - begin + step - 1) / step;
  for (int k = blockIdx.x; k < chunks * parts; k += gridDim.x) {
    const int chunk = lists.alive[k / parts], first_id = chunk * kChunkSize;
    const int first_frame = begin + k % parts * step, end_frame = min(end, first_frame + step);
    const float4 header = s.chunks[chunk];
    const int number = static_cast<int>(header.z);
    const LevelLists level = {s, lists, s.grids[number], number};
    const unsigned alive = frames_alive(s, first_id + threadIdx.x, header, level.grid, first_frame, end_frame);
    visit(level, shared, blocks_of(level.grid), first_id, first_frame, alive);
  }
}

}  // namespace garv
