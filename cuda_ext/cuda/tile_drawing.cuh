// Adding the Gaussians of a tile up: from its block's list through what a warp keeps in shared memory into its sums.
#pragma once

#include "packed_lists.cuh"
#include "upsampling.cuh"

namespace garv {

constexpr int kDrawWarps = kTilesPerBlock;  // of a thread block: a tile each, or all for one tile
constexpr int kDrawThreads = 32 * kDrawWarps;

// Gaussians of a tile on their way into its sums.
struct Pending {
  ReadyGaussian batch[kBatch];
  int ids[2 * kBatch];  // that wait to be made ready: the k-th of the tile at k modulo their number
};

// What one warp needs beside its registers, at different times.
union Scratch {
  Pending pending;
  CoarseWindow window;
  uint8_t bytes[kTilePixels * kRecordChannels];
  __device__ Scratch() {}
};

// What a warp draws: every `parts`-th batch of its tile's Gaussians, from the `part`-th on.
struct Place {
  int level, frame, block, tile, x, y;  // `tile` counts within the block; x and y are from the grid's corner
  int part, parts;

  // Of the thread block at (column, row) of a launch with a thread block for every block or, if shared, for every tile.
  __device__ __forceinline__ Place(const Grid& grid, int level, int frame, int column, int row, bool shared)
      : level(level), frame(frame) {
    const int warp = threadIdx.x / 32;
    part = shared ? warp : 0;
    parts = shared ? kDrawWarps : 1;
    const int tile_x = shared ? column : column * kTilesPerSide + warp % kTilesPerSide;
    const int tile_y = shared ? row : row * kTilesPerSide + warp / kTilesPerSide;
    tile = tile_y % kTilesPerSide * kTilesPerSide + tile_x % kTilesPerSide;
    block = tile_y / kTilesPerSide * grid.blocks_x + tile_x / kTilesPerSide;
    x = tile_x * kTileSize;
    y = tile_y * kTileSize;
  }
};

// Gaussians that are looked at for a list that did not fit.
__device__ __forceinline__ int searched(const PackedScene& s, const BlockLists& lists) {
  return (lists.alive == nullptr ? s.chunk_count : *lists.alive_count) * kChunkSize;
}

// The entry that the k-th of them would have in it.
__device__ unsigned search(const PackedScene& s, const BlockLists& lists, const Place& place, int k) {
  const int nth = k / kChunkSize, chunk = lists.alive == nullptr ? nth : lists.alive[nth];
  const int id = chunk * kChunkSize + k % kChunkSize;
  const float4 header = s.chunks[chunk];
  const float time = s.times[place.frame];
  if (static_cast<int>(header.z) != place.level || !(header.x <= time && time <= header.y)) return 0;
  const Record record = Record::load(s, id);
  const SeenSlice seen = record.seen(s, place.frame, place.level);
  const float reach = record.cutoff(s.log2_scale) + seen.brighter - seen.slice.u * seen.slice.u;
  if (!(reach >= 0.f)) return 0;
  const Reached reached(blocks_of(s.grids[place.level]), seen.slice, reach);
  const int row = place.y / kBlockSize;
  return row >= reached.row0 && row < reached.row1 ? entry_of(id, reached.tiles(place.x / kBlockSize, row)) : 0;
}

// Makes the tile's next `count` Gaussians ready and adds them, after the first `added`; lanes past them fill the last
// group up.
__device__ __forceinline__ void add_batch(TileSums& sums, Pending& pending, const PackedScene& s, unsigned added,
                                          unsigned count, const Place& place, float x, float y) {
  const unsigned lane = threadIdx.x % 32;
  __syncwarp();
  if (lane < count) {
    const Record record = Record::load(s, pending.ids[(added + lane) % (2 * kBatch)]);
    const SeenSlice seen = record.seen(s, place.frame, place.level);
    const uint2 colors = make_uint2(record.b.z, record.b.w);
    pending.batch[lane].set(seen.slice, conic_of(seen.slice), x, y, 0.5f * kLog2e * seen.brighter, colors);
  } else {
    pending.batch[lane].set_nothing();
  }
  __syncwarp();
  sums.add(pending.batch, count);
  __syncwarp();
}

// Adds all Gaussians of the warp's tile.
__device__ __forceinline__ void add_gaussians(TileSums& sums, Pending& pending, const PackedScene& s,
                                              const BlockLists& lists, const Place& place) {
  const Grid& grid = s.grids[place.level];
  const int list = place.frame * s.blocks + grid.first_block + place.block;
  const int length = lists.counts[list];
  const bool listed = length <= lists.room;
  const int count = listed ? length : searched(s, lists);
  const unsigned* const entries = lists.entries + int64_t(list) * lists.room;
  const int lane = threadIdx.x % 32, step = 32 * place.parts;
  const float x = grid.left + place.x + 0.5f, y = grid.top + place.y + 0.5f;
  unsigned found = 0, added = 0;
  for (int first = 32 * place.part; first < count || added < found; first += step) {
    const int k = first + lane;
    unsigned entry = 0;
    if (k < count) entry = listed ? entries[k] : search(s, lists, place, k);
    const bool touched = touches(entry, place.tile);
    const unsigned touching = __ballot_sync(kWholeWarp, touched);
    if (touched) pending.ids[(found + __popc(touching & ((1u << lane) - 1))) % (2 * kBatch)] = id_of(entry);
    found += __popc(touching);
    const unsigned waiting = found - added;
    const bool more = first + step < count;
    if (waiting < kBatch && (more || waiting == 0)) continue;
    const unsigned batch = min(waiting, kBatch);
    add_batch(sums, pending, s, added, batch, place, x, y);
    added += batch;
  }
}

// Sums of the warps that share a tile, for the first of them; the others are done.
struct SharedSums {
  float partial[kDrawWarps - 1][kHalfHeight * 4][32];

  __device__ __forceinline__ bool gather(TileSums& sums, const Place& place) {
    if (place.parts == 1) return true;
    const int lane = threadIdx.x % 32;
    if (place.part > 0) {
#pragma unroll
      for (int k = 0; k < kHalfHeight * 4; ++k) partial[place.part - 1][k][lane] = sums.rows[k / 4][k % 4];
    }
    __syncthreads();
    if (place.part > 0) return false;
    for (int part = 0; part < kDrawWarps - 1; ++part) {
#pragma unroll
      for (int k = 0; k < kHalfHeight * 4; ++k) sums.rows[k / 4][k % 4] += partial[part][k][lane];
    }
    return true;
  }
};

}  // namespace garv
