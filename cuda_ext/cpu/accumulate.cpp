// The sum of the slices, one tile at a time.

#include "kernels.h"
#include "parallel.h"

namespace garv {
namespace {

constexpr int kBatch = 64;  // footprints prepared at once; they stay in the first-level cache

template <typename T>
class TileSum {
 public:
  TileSum(const Scene<T>& scene, const T* colors, int channels, int64_t frame, int tile_x, int tile_y)
      : scene_(scene),
        colors_(colors),
        channels_(channels),
        frame_(frame),
        tile_x_(tile_x),
        tile_y_(tile_y),
        origin_(tile_origin<T>(tile_x, tile_y, scene.height)),
        add_(tile_kernels<T>().add[channels - 1]) {
    std::fill(pixels_, pixels_ + channels * kTilePixels, T(0));
  }

  void add_list(const int32_t* ids, int64_t count) {
    for (int64_t i = 0; i < count; ++i) add(ids[i]);
    flush();
  }

  // For a list that did not fit: asks every Gaussian again.
  void search() {
    for (int64_t n = 0; n < scene_.count; ++n) {
      const Slice<T> s = scene_.slice(n, frame_);
      const T reach = scene_.reach(n, s);
      if (reach >= T(0) && tile_distance(s, conic_of(s), tile_x_, tile_y_) <= reach) add(n);
    }
    flush();
  }

  void write(T* image) const {
    const int columns = std::min(kTileSize, scene_.width - tile_x_ * kTileSize);
    T* frame = image + frame_ * scene_.height * scene_.width * channels_;
    for (int row = 0; row < origin_.rows; ++row) {
      const int64_t y = int64_t(tile_y_) * kTileSize + row;
      T* out = frame + (y * scene_.width + int64_t(tile_x_) * kTileSize) * channels_;
      for (int c = 0; c < channels_; ++c) {
        const T* plane = pixels_ + c * kTilePixels + row * kTileSize;
        for (int x = 0; x < columns; ++x) out[x * channels_ + c] = plane[x];
      }
    }
  }

 private:
  void add(int64_t n) {
    footprints_[pending_++] = footprint_of(scene_.slice(n, frame_), colors_ + n * channels_, channels_);
    if (pending_ == kBatch) flush();
  }

  void flush() {
    add_(footprints_, pending_, origin_, pixels_);
    pending_ = 0;
  }

  const Scene<T>& scene_;
  const T* colors_;
  const int channels_;
  const int64_t frame_;
  const int tile_x_, tile_y_;
  const TileOrigin<T> origin_;
  const typename TileKernels<T>::Add add_;
  int pending_ = 0;
  Footprint<T> footprints_[kBatch];
  alignas(64) T pixels_[kMaxChannels * kTilePixels];
};

}  // namespace

Tensor accumulate(Tensor means, Tensor cholesky, Tensor colors, Tensor cutoffs, Tensor times, Tensor motion,
                  Tensor isect_offsets, Tensor flatten_ids, int64_t width, int64_t height) {
  return with_dtype(means, [&](auto zero) {
    using T = decltype(zero);
    const Scene<T> scene = scene_of<T>(means, cholesky, cutoffs, times, motion, width, height);
    const int channels = checked_channels(colors, means);
    const Lists lists = lists_of(isect_offsets, flatten_ids, scene.frames * scene.tiles());
    Tensor out = torch::stable::new_empty(colors, {scene.frames, height, width, channels});
    const T* color = colors.const_data_ptr<T>();
    T* image = out.mutable_data_ptr<T>();
    for_each_parallel(scene.frames * scene.tiles(), [&](int64_t item) {
      const int64_t frame = item / scene.tiles(), tile = item % scene.tiles();
      TileSum<T> sum(scene, color, channels, frame, tile % scene.tiles_x, tile / scene.tiles_x);
      const int64_t start = lists.offsets[item], end = lists.offsets[item + 1];
      if (end <= lists.capacity) {
        sum.add_list(lists.ids + start, end - start);
      } else {
        sum.search();
      }
      sum.write(image);
    });
    return out;
  });
}

}  // namespace garv
