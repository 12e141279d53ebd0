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

  __device__ __forceinline__ int64_t list(int frame, int column, int row) const {
    return int64_t(frame) * scene.blocks + grid.first_block + row * grid.blocks_x + column;
  }

  __device__ __forceinline__ void write(int64_t list, int place, unsigned entry) const {
    if (place < lists.room) {
      lists.entries[list * lists.room + place] = entry;
    } else {
      atomicMax(lists.longest, static_cast<unsigned long long>(place) + 1);
    }
  }

  __device__ __forceinline__ void add(Living who, const Reached& reached, int column, int row, int64_t) const {
    const int64_t to = list(who.frame, column, row);
    const PlaceInList asked(lists.counts + to, __activemask());
    const unsigned entry = entry_of(who.id, reached.tiles(column, row));
    write(to, asked.get(), entry);
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

// A visit of a frame alone, which has no kernel before it that finds the living chunks, nor frames to choose from: what
// it takes is waiting for memory, so it does that as seldom as can be.
struct FrameVisit {
  typename VisitScan::TempStorage scan;
  Reached reached[kVisitThreads];
  int2 columns[kVisitThreads];
  int first_pair[kVisitThreads];
};

// Whether a launch is one; the pairs of a chunk are counted in 32 bits then.
inline bool is_frame_alone(const PackedScene& s) { return s.frames == 1 && s.blocks <= INT32_MAX / kChunkSize; }

// Sets what `visit_frame` counts in to 0, while that begins.
__global__ void __launch_bounds__(kVisitThreads) clear(int* numbers, int count) {
  allow_next_kernel();
  const int k = blockIdx.x * kVisitThreads + threadIdx.x;
  if (k < count) numbers[k] = 0;
}

// The k-th pair of a chunk on its way into its block's list; none past the last one, and where no tile is touched.
class FoundPair {
 public:
  __device__ __forceinline__ FoundPair(const LevelLists& level, const FrameVisit& shared, int first_id, int k, int pairs)
      : list_(0), entry_(k < pairs ? find(level, shared, first_id, k) : 0),
        asked_(entry_ == 0 ? nullptr : level.lists.counts + list_, 0xffffffffu) {}

  __device__ __forceinline__ void write(const LevelLists& level) const {
    const int place = asked_.get();
    if (entry_ != 0) level.write(list_, place, entry_);
  }

 private:
  __device__ __forceinline__ unsigned find(const LevelLists& level, const FrameVisit& shared, int first_id, int k) {
    const int owner = owner_of(shared.first_pair, k), nth = k - shared.first_pair[owner];
    const int2 columns = shared.columns[owner];
    const int down = nth / (columns.y - columns.x), across = nth - down * (columns.y - columns.x);
    const int column = columns.x + across, row = shared.reached[owner].row0 + down;
    list_ = level.list(0, column, row);
    const unsigned tiles = shared.reached[owner].tiles(column, row);
    return tiles == 0 ? 0 : entry_of(first_id + owner, tiles);
  }

  int64_t list_;
  unsigned entry_;
  PlaceInList asked_;
};

// Finds all pairs of a chunk. Each Gaussian is tried with all blocks of the rectangle around its ellipse: on its level
// it is narrow, and mostly these are no more than it reaches. That takes one prefix sum and one search instead of three.
__device__ __forceinline__ void visit_chunk(const LevelLists& level, FrameVisit& shared, int first_id) {
  const Blocks blocks = blocks_of(level.grid);
  Slice<float> slice;
  float reach;
  level.slice({first_id + static_cast<int>(threadIdx.x), 0}, slice, reach);
  int mine = 0;
  if (reach >= 0.f) {
    const Reached reached(blocks, slice, reach);
    const int2 columns = reached.columns(slice.a, blocks.columns);
    mine = max(0, reached.row1 - reached.row0) * max(0, columns.y - columns.x);
    shared.reached[threadIdx.x] = reached;
    shared.columns[threadIdx.x] = columns;
  }
  const int pairs = deal_out(shared, mine, shared.first_pair, [](int) {});
  wait_for_last_kernel();  // which clears the counters
  for (int first = 0; first < pairs; first += 2 * kVisitThreads) {
    const int k = first + threadIdx.x;  // two at once, as a thread waits for their places
    const FoundPair one(level, shared, first_id, k, pairs), other(level, shared, first_id, k + kVisitThreads, pairs);
    one.write(level);
    other.write(level);
  }
  __syncthreads();
}

// All warps of a thread block look at the same chunks, as many at once as they have lanes, far from each other: living
// ones are neighbours, and so are dealt out evenly.
__global__ void __launch_bounds__(kVisitThreads) visit_frame(PackedScene s, BlockLists lists) {
  allow_next_kernel();
  __shared__ FrameVisit shared;
  const float time = s.times[0];
  const int lane = threadIdx.x % 32, step = gridDim.x;
  for (int first = blockIdx.x; first < s.chunk_count; first += 32 * step) {
    const int mine = first + lane * step;
    const float4 header = s.chunks[min(mine, s.chunk_count - 1)];
    const bool alive = mine < s.chunk_count && header.x <= time && time <= header.y;
    for (unsigned left = __ballot_sync(0xffffffffu, alive); left != 0; left &= left - 1) {
      const int k = __ffs(left) - 1, number = static_cast<int>(__shfl_sync(0xffffffffu, header.z, k));
      const LevelLists level = {s, lists, s.grids[number], number};
      visit_chunk(level, shared, (first + k * step) * kChunkSize);
    }
  }
  wait_for_last_kernel();  // without a chunk, too, so that whatever waits for this kernel waits for both
}

}  // namespace garv
