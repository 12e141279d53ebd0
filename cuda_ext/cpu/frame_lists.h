// Which Gaussians a frame's tiles hold, of all levels.
#pragma once

#include <vector>

#include "draw_kernels.h"
#include "inputs.h"
#include "parallel.h"

namespace garv {

// What some of a frame's living chunks leave on its tiles: footprints, and for each tile a list of them in order.
class ChunkLists {
 public:
  void make(const PackedScene& s, int64_t frame, const int* chunks, int count) {
    footprints_.clear();
    entries_.clear();
    offsets_.assign(s.tiles + 1, 0);
    for (int i = 0; i < count; ++i) visit(s, frame, chunks[i]);
    sort_by_tile(s.tiles);
  }

  // Hands the footprints of a tile to use(footprint).
  template <typename Use>
  void for_each(int tile, const Use& use) const {
    for (int i = offsets_[tile]; i < offsets_[tile + 1]; ++i) use(footprints_[ids_[i]]);
  }

 private:
  struct Entry {
    int32_t footprint, tile;
  };

  // A grid around what another one sees of the Gaussians' plane.
  static Grid seen_of_plane(const PlaneMap<float>& map, const Grid& grid) {
    const float one = 1.0f / (map.xx * map.yy - map.xy * map.yx);
    const float x[2] = {grid.left - map.x, grid.left + grid.tiles_x * kTileSize - map.x};
    const float y[2] = {grid.top - map.y, grid.top + grid.tiles_y * kTileSize - map.y};
    float low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (int k = 0; k < 4; ++k) {
      const float corner[2] = {one * (map.yy * x[k & 1] - map.xy * y[k >> 1]),
                               one * (map.xx * y[k >> 1] - map.yx * x[k & 1])};
      for (int axis = 0; axis < 2; ++axis) {
        low[axis] = std::min(low[axis], corner[axis]);
        high[axis] = std::max(high[axis], corner[axis]);
      }
    }
    Grid plane = grid;
    constexpr float kMost = 1 << 24;  // beyond, numbers are no samples any more
    plane.left = static_cast<int>(clamped(std::floor(low[0]), -kMost, kMost));
    plane.top = static_cast<int>(clamped(std::floor(low[1]), -kMost, kMost));
    plane.tiles_x = static_cast<int>(clamped((high[0] - plane.left) / kTileSize, 0.0f, kMost)) + 1;
    plane.tiles_y = static_cast<int>(clamped((high[1] - plane.top) / kTileSize, 0.0f, kMost)) + 1;
    return plane;
  }

  // As a frame sees a chunk's Gaussians through its map.
  static int see(const PackedScene& s, int64_t frame, int level, const int32_t* records, Sliced* found) {
    constexpr float kMostBrighterLog2 = 0.5f * kMostBrighter * 1.4426950408889634f;
    const Grid& grid = s.grids[level];
    const Grid plane = seen_of_plane(map_of_level(s.motion[frame], level), grid);
    const float scale = s.log2_scale + kMostBrighterLog2;
    const int count = draw_kernels().slice(records, s.times[frame], plane, scale, found);
    for (int i = 0; i < count; ++i) {
      found[i].slice.x += plane.left;
      found[i].slice.y += plane.top;
      const SeenSlice seen = seen_on_level(s.motion[frame], level, found[i].slice);
      found[i].slice = seen.slice;
      found[i].slice.x -= grid.left;
      found[i].slice.y -= grid.top;
      found[i].reach += seen.brighter - kMostBrighter;
      const float gain = std::exp(0.5f * seen.brighter);
      for (float& color : found[i].color) color *= gain;
    }
    return count;
  }

  void visit(const PackedScene& s, int64_t frame, int chunk) {
    Sliced found[kChunkSize];
    const int level = static_cast<int>(s.chunks[chunk].level);
    const Grid& grid = s.grids[level];
    const int32_t* records = s.records + int64_t(chunk) * kChunkSize * kRecordWords;
    const int count = s.motion == nullptr
                          ? draw_kernels().slice(records, s.times[frame], grid, s.log2_scale, found)
                          : see(s, frame, level, records, found);
    for (int i = 0; i < count; ++i) {
      const int32_t id = static_cast<int32_t>(footprints_.size());
      const size_t before = entries_.size();
      if (!(found[i].reach >= 0.0f)) continue;
      visit_tiles(grid, found[i].slice, found[i].reach, [&](const TileIndex* tiles, int reached) {
        for (int k = 0; k < reached; ++k) {
          const int tile = grid.first_tile + tiles[k].y * grid.tiles_x + tiles[k].x;
          entries_.push_back({id, tile});
          ++offsets_[tile + 1];
        }
      });
      if (entries_.size() > before) {
        footprints_.push_back(footprint_of(found[i].slice, found[i].color, kRecordChannels));
      }
    }
  }

  void sort_by_tile(int tiles) {
    ids_.resize(entries_.size());
    // While filling, offsets_[tile] is where the tile's next entry goes; that ends where the next tile begins.
    for (int tile = 0; tile < tiles; ++tile) offsets_[tile + 1] += offsets_[tile];
    for (const Entry& entry : entries_) ids_[offsets_[entry.tile]++] = entry.footprint;
    for (int tile = tiles; tile > 0; --tile) offsets_[tile] = offsets_[tile - 1];
    offsets_[0] = 0;
  }

  std::vector<Footprint<float>> footprints_;
  std::vector<Entry> entries_;
  std::vector<int32_t> ids_;
  std::vector<int32_t> offsets_;  // [tiles + 1]
};

// Lists of one frame, made by several threads, each of a part of the chunks; one after the other the parts are in
// order, so what is drawn does not depend on their number.
class FrameLists {
 public:
  void make(const PackedScene& s, int64_t frame, int threads) {
    const float time = s.times[frame];
    alive_.clear();
    for (int chunk = 0; chunk < s.chunk_count; ++chunk) {
      const ChunkHeader& header = s.chunks[chunk];
      if (header.first <= time && time <= header.last) alive_.push_back(chunk);
    }
    constexpr int64_t kPartsPerThread = 2;
    const int64_t count = alive_.size();
    parts_.resize(threads > 1 ? std::max<int64_t>(1, std::min(count / 4, kPartsPerThread * threads)) : 1);
    const int64_t parts = parts_.size();
    for_each_parallel(parts, [&](int64_t part) {
      const int64_t start = count * part / parts, end = count * (part + 1) / parts;
      parts_[part].make(s, frame, alive_.data() + start, static_cast<int>(end - start));
    });
  }

  template <typename Use>
  void for_each(int tile, const Use& use) const {
    for (const ChunkLists& part : parts_) part.for_each(tile, use);
  }

 private:
  std::vector<int> alive_;
  std::vector<ChunkLists> parts_;
};

}  // namespace garv
