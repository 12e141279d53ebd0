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

// For a frame alone, whose visit finds the living chunks itself: sets what it counts in to 0 meanwhile.
__global__ void __launch_bounds__(kVisitThreads) clear(int* numbers, int count) {
  allow_next_kernel();
  const int k = blockIdx.x * kVisitThreads + threadIdx.x;
  if (k < count) numbers[k] = 0;
}

// A Gaussian at a time, and the patches of 2x2 blocks that cover what it reaches then.
struct Patches {
  Reached reached;
  int frame, column, across, count;  // the first patch's first column of blocks; patches in a row, and all of them

  // Of lane `from`.
  __device__ __forceinline__ Patches of_lane(int from) const {
    Patches p;
    int* const to = reinterpret_cast<int*>(&p);
    const int* const words = reinterpret_cast<const int*>(this);
#pragma unroll
    for (size_t k = 0; k < sizeof(Patches) / sizeof(int); ++k) to[k] = __shfl_sync(0xffffffffu, words[k], from);
    return p;
  }
};

__device__ __forceinline__ Patches patches_of(const PackedScene& s, const Record& record, float cutoff,
                                              const Grid& grid, int level, int frame) {
  const SeenSlice seen = record.seen(s, frame, level);
  const float reach = cutoff + seen.brighter - seen.slice.u * seen.slice.u;
  Patches p;
  p.reached = Reached(blocks_of(grid), seen.slice, reach);
  p.frame = frame;
  const int2 columns = p.reached.columns(sqrtf(reach) * seen.slice.a, grid.blocks_x);
  p.column = columns.x;
  p.across = (max(0, columns.y - columns.x) + 1) / 2;
  p.count = p.across * ((max(0, p.reached.row1 - p.reached.row0) + 1) / 2);
  return p;
}

// Adds a Gaussian to the lists of those of a patch's blocks that it touches a tile of; all lanes have to call it. Lanes
// with the same list ask once, for neighbours in memory are often neighbours in the image, and a list's counter takes
// one request at a time.
__device__ __forceinline__ void list_patch(const PackedScene& s, const BlockLists& lists, const Grid& grid, int id,
                                           const Patches& p, int column, int row) {
  constexpr int kSide = 2 * kTilesPerSide;
  const int begin = column * kTilesPerSide, end = min(begin + kSide, grid.blocks_x * kTilesPerSide);
  unsigned touched[kSide];  // a bit for each tile of a row of tiles
#pragma unroll
  for (int y = 0; y < kSide; ++y) {
    const int2 c = p.reached.touched<kTileSize>(row * kTilesPerSide + y, begin, end);
    touched[y] = row + y / kTilesPerSide < p.reached.row1 ? Reached::bits(c.x - begin, c.y - begin) : 0;
  }
  unsigned tiles[4], peers[4];
  int list[4], place[4];
  const int corner = p.frame * s.blocks + grid.first_block + row * grid.blocks_x + column;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const unsigned* const rows = touched + k / 2 * kTilesPerSide;
    const int shift = k % 2 * kTilesPerSide;
    tiles[k] = (rows[0] >> shift & 3) | (rows[1] >> shift & 3) << kTilesPerSide;
    list[k] = corner + k / 2 * grid.blocks_x + k % 2;
    peers[k] = __match_any_sync(0xffffffffu, tiles[k] != 0 ? list[k] : -1);
  }
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < 4; ++k) {  // all lists are asked before the first answers
    const bool leads = tiles[k] != 0 && lane == __ffs(peers[k]) - 1;
    place[k] = leads ? atomicAdd(lists.counts + list[k], __popc(peers[k])) : 0;
  }
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    place[k] = __shfl_sync(0xffffffffu, place[k], __ffs(peers[k]) - 1) + __popc(peers[k] & ((1u << lane) - 1));
    if (tiles[k] == 0) continue;
    if (place[k] < lists.room) {
      lists.entries[int64_t(list[k]) * lists.room + place[k]] = entry_of(id, tiles[k]);
    } else {
      atomicMax(lists.longest, static_cast<unsigned long long>(place[k]) + 1);
    }
  }
}

// Adds a warp's Gaussians, `first_id` and those after it, to the lists of what they reach. Mostly that is one patch,
// but of some it is many, so patches are dealt out to the lanes anew.
__device__ __forceinline__ void list_patches(const PackedScene& s, const BlockLists& lists, const Grid& grid,
                                             int first_id, const Patches& own) {
  const int lane = threadIdx.x % 32;
  int end = own.count;  // of the lane's own patches among the warp's
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int before = __shfl_up_sync(0xffffffffu, end, step);
    if (lane >= step) end += before;
  }
  const int start = end - own.count, total = __shfl_sync(0xffffffffu, end, 31);
  for (int first = 0; first < total; first += 32) {
    const int k = first + lane;
    int owner = 0;  // the last lane that starts at or before k
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
      if (__shfl_sync(0xffffffffu, start, owner + step) <= k) owner += step;
    }
    Patches p = own.of_lane(owner);
    const int patch = k - __shfl_sync(0xffffffffu, start, owner), row = patch / max(1, p.across);
    if (k >= total) p.reached.row1 = 0;
    list_patch(s, lists, grid, first_id + owner, p, p.column + 2 * (patch - row * p.across), p.reached.row0 + 2 * row);
  }
}

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

// The frames [first_frame, end_frame) of a visit that fall into a chunk's time, a bit each.
__device__ __forceinline__ unsigned frames_within(const PackedScene& s, float4 chunk, int first_frame, int end_frame) {
  const int frame = first_frame + static_cast<int>(threadIdx.x % 32);
  const float time = s.times[min(frame, end_frame - 1)];
  return __ballot_sync(0xffffffffu, frame < end_frame && chunk.x <= time && time <= chunk.y);
}

// Those of `frames` at which a Gaussian is alive; none for one that stays outside of the grid, so that what a crop does
// not show costs next to nothing.
__device__ __forceinline__ unsigned frames_alive(const PackedScene& s, const Record& record, float cutoff,
                                                 const Grid& grid, int first_frame, unsigned frames) {
  const float most = cutoff + (s.motion == nullptr ? 0.f : kMostBrighter);
  if (!(most >= 0.f) || (s.motion == nullptr && !reaches(record, most, grid))) return 0;
  unsigned alive = 0;
  for (; frames != 0; frames &= frames - 1) {
    const int f = __ffs(frames) - 1;
    const float u = record.deviation(s.times[first_frame + f]);
    alive |= static_cast<unsigned>(most - u * u >= 0.f) << f;
  }
  return alive;
}

inline __host__ __device__ int most_parts(int frames) { return (frames + kFewestFrames - 1) / kFewestFrames; }

// A visit goes through its Gaussians' frames one after the other. Where few chunks are alive, the frames of each are
// dealt out to several visits, or most of the GPU would wait for a few long ones.
__device__ __forceinline__ int frames_per_visit(int frames, int chunks) {
  const int parts = min(max(1, kVisits / max(1, chunks)), most_parts(frames));
  return (frames + parts - 1) / parts;
}

// Lists the Gaussians of a chunk of a level at those of 32 frames, from `first_frame` on, that have their bit set.
__device__ __forceinline__ void visit_chunk(const PackedScene& s, const BlockLists& lists, int chunk, int level,
                                            int first_frame, unsigned frames) {
  const Grid& grid = s.grids[level];
  const int id = chunk * kChunkSize + threadIdx.x;
  const Record record = Record::load(s, id);
  const float cutoff = record.cutoff(s.log2_scale);
  unsigned alive = frames_alive(s, record, cutoff, grid, first_frame, frames);
  wait_for_last_kernel();  // for lists that are empty
  for (; __any_sync(0xffffffffu, alive != 0); alive &= alive - 1) {
    Patches own = {};
    if (alive != 0) own = patches_of(s, record, cutoff, grid, level, first_frame + __ffs(alive) - 1);
    list_patches(s, lists, grid, id / 32 * 32, own);
  }
}

__global__ void __launch_bounds__(kVisitThreads) visit_chunks(PackedScene s, BlockLists lists) {
  allow_next_kernel();
  wait_for_last_kernel();
  const int chunks = *lists.alive_count, begin = blockIdx.y * kFramesPerVisit;
  const int end = min(s.frames, begin + kFramesPerVisit), step = frames_per_visit(end - begin, chunks);
  const int parts = (end - begin + step - 1) / step;
  for (int k = blockIdx.x; k < chunks * parts; k += gridDim.x) {
    const int chunk = lists.alive[k / parts], first_frame = begin + k % parts * step;
    const float4 header = s.chunks[chunk];
    const unsigned frames = frames_within(s, header, first_frame, min(end, first_frame + step));
    if (frames != 0) visit_chunk(s, lists, chunk, static_cast<int>(header.z), first_frame, frames);
  }
}

// The same for a frame alone, with no kernel before it that finds the living chunks. All warps of a thread block look
// at the same chunks, as many at once as they have lanes, far from each other: living ones are neighbours, and so are
// dealt out evenly.
__global__ void __launch_bounds__(kVisitThreads) visit_frame(PackedScene s, BlockLists lists) {
  allow_next_kernel();
  const float time = s.times[0];
  const int step = gridDim.x, lane = threadIdx.x % 32;
  for (int first = blockIdx.x; first < s.chunk_count; first += 32 * step) {
    const int mine = first + lane * step;
    const float4 header = s.chunks[min(mine, s.chunk_count - 1)];
    const bool alive = mine < s.chunk_count && header.x <= time && time <= header.y;
    for (unsigned left = __ballot_sync(0xffffffffu, alive); left != 0; left &= left - 1) {
      const int k = __ffs(left) - 1;
      visit_chunk(s, lists, first + k * step, static_cast<int>(__shfl_sync(0xffffffffu, header.z, k)), 0, 1u);
    }
  }
  wait_for_last_kernel();  // without a chunk, too, so that whatever waits for this kernel waits for both
}

}  // namespace garv
