// Frames out of packed Gaussians: the decoder's operator. A frame's levels are drawn from the coarsest to the finest,
// and each interpolated into the next one's tiles as they are drawn.

#include "frame_lists.h"
#include "image_output.h"
#include "kernels.h"

namespace garv {
namespace {

constexpr int kBatch = 64;  // footprints added at once; they stay in the first-level cache

// Sums of one tile, and the footprints that are to be added.
struct Tile {
  alignas(64) float samples[kRecordChannels * kTilePixels];
  Footprint<float> pending[kBatch];
};

template <typename Output>
class FrameDrawer {
 public:
  explicit FrameDrawer(const PackedScene& s) : s_(s) {
    for (int level = 1; level < s.levels; ++level) {
      const Grid& grid = s.grids[level];
      // The last tile of the finer level reads past the grid what it does not show.
      const int64_t stride = (grid.tiles_x + 1) * kTileSize, rows = (grid.tiles_y + 1) * kTileSize;
      memory_[level].assign(s.channels * rows * stride, 0.0f);
      images_[level] = {memory_[level].data(), stride, rows * stride};
    }
  }

  // Draws into `image` [height, width, channels]; by several threads where this is not called by one of them.
  void draw(int64_t frame, int threads, Output* image) {
    lists_.make(s_, frame, threads);
    for (int level = s_.levels - 1; level >= 0; --level) {
      const Grid& grid = s_.grids[level];
      for_each_parallel(grid.tiles(), [&](int64_t tile) {
        draw_tile(level, static_cast<int>(tile % grid.tiles_x), static_cast<int>(tile / grid.tiles_x), image);
      });
    }
  }

 private:
  void draw_tile(int level, int x, int y, Output* image) {
    const Grid& grid = s_.grids[level];
    Tile tile;
    std::fill(tile.samples, tile.samples + s_.channels * kTilePixels, 0.0f);
    const TileOrigin<float> origin = tile_origin<float>(x, y, grid.height);
    const auto add = tile_kernels<float>().add[s_.channels - 1];
    int pending = 0;
    lists_.for_each(grid.first_tile + y * grid.tiles_x + x, [&](const Footprint<float>& footprint) {
      tile.pending[pending++] = footprint;
      if (pending < kBatch) return;
      add(tile.pending, pending, origin, tile.samples);
      pending = 0;
    });
    add(tile.pending, pending, origin, tile.samples);
    if (level + 1 < s_.levels) add_coarser(level, x, y, tile.samples);
    if (level > 0) {
      keep(level, x, y, tile.samples);
    } else {
      write(tile.samples, x, y, image);
    }
  }

  // A coarse grid begins kApron samples early, of which its own interpolation looks at half.
  void add_coarser(int level, int x, int y, float* tile) const {
    const int apron = level > 0 ? 0 : kApron / 2;
    Planes coarse = images_[level + 1];
    coarse.samples += (y * kTileSize / 2 + apron) * coarse.stride + x * kTileSize / 2 + apron;
    draw_kernels().add_upsampled(coarse, s_.channels, tile);
  }

  void keep(int level, int x, int y, const float* tile) const {
    const Planes& image = images_[level];
    for (int c = 0; c < s_.channels; ++c) {
      float* out = image.samples + c * image.size + y * kTileSize * image.stride + x * kTileSize;
      for (int row = 0; row < kTileSize; ++row, out += image.stride, tile += kTileSize) {
        std::memcpy(out, tile, kTileSize * sizeof(float));
      }
    }
  }

  // The part of a tile that the window shows; its own grid begins up to kAlignment pixels before it.
  void write(const float* tile, int x, int y, Output* image) const {
    const Window& window = s_.window;
    const int left = s_.grids[0].left + x * kTileSize - window.left, top = s_.grids[0].top + y * kTileSize - window.top;
    const int first_x = std::max(0, -left), end_x = std::min(kTileSize, window.width - left);
    const int first_y = std::max(0, -top), end_y = std::min(kTileSize, window.height - top);
    if (first_x >= end_x) return;
    const TilePixels<Output> pixels(tile, s_.channels);
    for (int row = first_y; row < end_y; ++row) {
      Output* out = image + (int64_t(top + row) * window.width + left + first_x) * s_.channels;
      pixels.write(row * kTileSize + first_x, end_x - first_x, out);
    }
  }

  const PackedScene& s_;
  FrameLists lists_;
  std::vector<float> memory_[kMaxLevels];
  Planes images_[kMaxLevels];  // of the coarse levels
};

// Every thread draws whole frames while there are enough for all; all together draw the frames that are left.
template <typename Output>
void draw_frames(const PackedScene& s, Output* images) {
  const int threads = static_cast<int>(torch::stable::get_num_threads());
  const int64_t alone = s.frames - s.frames % threads;
  const int64_t size = int64_t(s.window.height) * s.window.width * s.channels;
  std::atomic<int64_t> next{0};
  for_each_parallel(std::min<int64_t>(alone, threads), [&](int64_t) {
    FrameDrawer<Output> drawer(s);
    for (int64_t i = next++; i < alone; i = next++) drawer.draw(i, 1, images + i * size);
  });
  if (alone == s.frames) return;
  FrameDrawer<Output> drawer(s);
  for (int64_t i = alone; i < s.frames; ++i) drawer.draw(i, threads, images + i * size);
}

void check(const Tensor& t, const char* name, ScalarType type, const char* type_name, int64_t rows, int64_t columns) {
  check_cpu(t, name);
  STD_TORCH_CHECK(t.scalar_type() == type, name, " must be ", type_name);
  STD_TORCH_CHECK(columns == 0 ? t.dim() == 1 : t.dim() == 2 && t.size(0) == rows && t.size(1) == columns, name,
                  " has not the shape that packing.pack gives it");
}

PackedScene packed_scene(const Tensor& records, const Tensor& chunks, const Tensor& times, const Tensor& motion,
                         int64_t levels, int64_t channels, double tau, const Window& window) {
  STD_TORCH_CHECK(chunks.dim() == 2, "chunks must be [M, 4]");
  STD_TORCH_CHECK(levels >= 1 && levels <= kMaxLevels, "levels must be 1 to ", kMaxLevels, ", got ", levels);
  STD_TORCH_CHECK(channels >= 1 && channels <= kRecordChannels, "channels must be 1 to 4, got ", channels);
  const int64_t count = chunks.size(0);
  check(chunks, "chunks", ScalarType::Float, "float32", count, 4);
  check(records, "records", ScalarType::Int, "int32", count * kChunkSize, kRecordWords);
  check(times, "times", ScalarType::Float, "float32", 0, 0);
  check(motion, "motion", ScalarType::Float, "float32", motion.size(0) == 0 ? 0 : times.size(0), 6);
  PackedScene s;
  s.records = records.const_data_ptr<int32_t>();
  s.chunks = static_cast<const ChunkHeader*>(chunks.const_data_ptr());
  s.times = times.const_data_ptr<float>();
  s.motion = motion.size(0) == 0 ? nullptr : static_cast<const PlaneMap<float>*>(motion.const_data_ptr());
  s.chunk_count = count;
  s.frames = times.size(0);
  s.levels = static_cast<int>(levels);
  s.channels = static_cast<int>(channels);
  s.log2_scale = static_cast<float>(std::log2(255.0 / tau));
  s.window = window;
  int64_t tiles = 0;
  for (int level = 0; level < s.levels; ++level) {
    s.grids[level] = grid_of(window, level, static_cast<int>(tiles));
    tiles += int64_t(s.grids[level].tiles_x) * s.grids[level].tiles_y;
    STD_TORCH_CHECK(tiles < INT32_MAX, "cannot draw ", window.width, "x", window.height, " pixels: draw parts of them");
  }
  s.tiles = static_cast<int>(tiles);
  for (int64_t chunk = 0; chunk < count; ++chunk) {
    const float level = s.chunks[chunk].level;
    STD_TORCH_CHECK(level >= 0 && level < s.levels, "a chunk has level ", level, " of ", s.levels);
  }
  return s;
}

}  // namespace

// Lists have all the room that they need, so none is ever `missing`; with no room they were to be measured.
Tensor draw(Tensor records, Tensor chunks, int64_t levels, int64_t channels, double tau, Tensor times, Tensor motion,
            int64_t left, int64_t top, int64_t width, int64_t height, int64_t room, bool as_float, Tensor) {
  const Window window = checked_window(left, top, width, height);
  const PackedScene s = packed_scene(records, chunks, times, motion, levels, channels, tau, window);
  STD_TORCH_CHECK(room >= 0, "room must be 0 to 2^31, got ", room);
  const std::initializer_list<int64_t> shape = {s.frames, height, width, channels};
  const ScalarType type = as_float ? ScalarType::Float : ScalarType::Byte;
  if (room == 0) return torch::stable::new_zeros(records, shape, type);
  Tensor images = torch::stable::new_empty(records, shape, type);
  if (as_float) {
    draw_frames(s, images.mutable_data_ptr<float>());
  } else {
    draw_frames(s, images.mutable_data_ptr<uint8_t>());
  }
  return images;
}

}  // namespace garv
