// Gradients, one Gaussian at a time: a thread owns a range of Gaussians and walks their tiles again, so it needs no
// lists and no atomic operations, and the sums do not depend on the number of threads.

#include <memory>
#include <new>

#include "kernels.h"
#include "parallel.h"

namespace garv {
namespace {

constexpr int64_t kRange = 512;  // Gaussians; their gradients and one frame stay in the second-level cache
constexpr int kGeometry = 9;

constexpr std::align_val_t kCacheLine{64};  // a row of a tile, so that no load crosses two lines

struct AlignedDelete {
  void operator()(void* p) const { ::operator delete[](p, kCacheLine); }
};

template <typename T>
using AlignedArray = std::unique_ptr<T[], AlignedDelete>;

// v_image [B, H, W, C] as [B][tiles][C][16][16], 0 outside the image.
template <typename T>
AlignedArray<T> to_tiles(const Scene<T>& scene, const T* v_image, int channels) {
  const int64_t tile_size = int64_t(channels) * kTilePixels;
  AlignedArray<T> planar(new (kCacheLine) T[scene.frames * scene.tiles() * tile_size]);
  for_each_parallel(scene.frames * scene.tiles_y, [&](int64_t item) {
    const int64_t frame = item / scene.tiles_y, tile_y = item % scene.tiles_y;
    T* tiles = planar.get() + (frame * scene.tiles() + tile_y * scene.tiles_x) * tile_size;
    std::fill(tiles, tiles + scene.tiles_x * tile_size, T(0));
    const int64_t rows = std::min<int64_t>(kTileSize, scene.height - tile_y * kTileSize);
    for (int64_t row = 0; row < rows; ++row) {
      const T* in = v_image + (frame * scene.height + tile_y * kTileSize + row) * scene.width * channels;
      for (int x = 0; x < scene.width; ++x) {
        T* out = tiles + (x / kTileSize) * tile_size + row * kTileSize + x % kTileSize;
        for (int c = 0; c < channels; ++c) out[c * kTilePixels] = in[x * channels + c];
      }
    }
  });
  return planar;
}

template <typename T>
struct Gradients {
  T *means, *cholesky, *colors;
};

template <typename T>
class Gatherer {
 public:
  Gatherer(const Scene<T>& scene, const T* colors, int channels, const T* v_tiles, Gradients<T> out)
      : scene_(scene),
        colors_(colors),
        channels_(channels),
        v_tiles_(v_tiles),
        out_(out),
        gather_(tile_kernels<T>().gather[channels - 1]) {}

  // Frames outside, Gaussians inside, so that one frame's gradients are read while they are in the cache.
  void range(int64_t begin, int64_t end) const {
    for (int64_t frame = 0; frame < scene_.frames; ++frame) {
      for (int64_t n = begin; n < end; ++n) {
        const Slice<T> s = scene_.slice(n, frame);
        const T reach = scene_.reach(n, s);
        if (reach >= T(0)) one(n, frame, s, reach);
      }
    }
  }

 private:
  void one(int64_t n, int64_t frame, const Slice<T>& s, T reach) const {
    const Footprint<T> f = footprint_of(s, colors_ + n * channels_, channels_);
    const T* v_frame = v_tiles_ + frame * scene_.tiles() * channels_ * kTilePixels;
    T sums[kMomentCount + kMaxChannels] = {};
    bool visible = false;
    visit_tiles(scene_, s, reach, [&](const TileIndex* tiles, int found) {
      gather_(f, tiles, found, v_frame, scene_.tiles_x, scene_.height, sums);
      visible = true;
    });
    if (visible) add_gradients(n, frame, s, sums);  // where a NaN hides a Gaussian, 0 times NaN must not appear
  }

  void add_gradients(int64_t n, int64_t frame, Slice<T> s, const T* sums) const {
    Moments<T> moments = {sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]};
    if (scene_.motion != nullptr) {
      moments = moments_in_plane(scene_.motion[frame], moments);
      s = scene_.slice_in_plane(n, frame);
    }
    T gradient[kGeometry] = {};
    geometry_gradient(s, conic_of(s), scene_.cholesky + 6 * n, moments, gradient);
    for (int i = 0; i < 3; ++i) out_.means[3 * n + i] += gradient[i];
    for (int i = 0; i < 6; ++i) out_.cholesky[6 * n + i] += gradient[3 + i];
    for (int c = 0; c < channels_; ++c) out_.colors[n * channels_ + c] += sums[kMomentCount + c];
  }

  const Scene<T>& scene_;
  const T* colors_;
  const int channels_;
  const T* v_tiles_;
  const Gradients<T> out_;
  const typename TileKernels<T>::Gather gather_;
};

}  // namespace

std::tuple<Tensor, Tensor, Tensor> accumulate_bwd(Tensor v_image, Tensor means, Tensor cholesky, Tensor colors,
                                                  Tensor cutoffs, Tensor times, Tensor motion,
                                                  Tensor isect_offsets, Tensor flatten_ids) {
  return with_dtype(means, [&](auto zero) {
    using T = decltype(zero);
    const int channels = checked_channels(colors, means);
    check_cpu(v_image, "v_image");
    STD_TORCH_CHECK(v_image.dim() == 4 && v_image.size(0) == times.numel() && v_image.size(3) == channels &&
                        v_image.scalar_type() == means.scalar_type(),
                    "v_image must be [", times.numel(), " frames, height, width, ", channels,
                    " channels] with the dtype of means");
    const Scene<T> scene = scene_of<T>(means, cholesky, cutoffs, times, motion, v_image.size(2), v_image.size(1));
    Tensor v_means = torch::stable::new_zeros(means, {scene.count, 3});
    Tensor v_cholesky = torch::stable::new_zeros(means, {scene.count, 6});
    Tensor v_colors = torch::stable::new_zeros(means, {scene.count, channels});
    const auto v_tiles = to_tiles(scene, v_image.const_data_ptr<T>(), channels);
    const Gatherer<T> gatherer(
        scene, colors.const_data_ptr<T>(), channels, v_tiles.get(),
        {v_means.mutable_data_ptr<T>(), v_cholesky.mutable_data_ptr<T>(), v_colors.mutable_data_ptr<T>()});
    for_each_parallel((scene.count + kRange - 1) / kRange,
                      [&](int64_t i) { gatherer.range(i * kRange, std::min(scene.count, (i + 1) * kRange)); });
    return std::make_tuple(v_means, v_cholesky, v_colors);
  });
}

}  // namespace garv
