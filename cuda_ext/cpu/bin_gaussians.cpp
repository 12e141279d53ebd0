// Lists the Gaussians of every tile: count, prefix sum, fill. Work is cut into (frame, range of Gaussians); a range's
// entries in a tile's list follow those of the ranges before it, so every list is sorted and no thread waits for
// another.

#include <vector>

#include "kernels.h"
#include "parallel.h"

namespace garv {
namespace {

constexpr int64_t kRangesPerThread = 4;
constexpr int64_t kMinRange = 256;

struct Entry {
  int32_t gaussian, tile;
};

// What a range found, kept from the count for the fill unless it grows past its share of the memory.
struct Found {
  std::vector<Entry> entries;
  bool complete = true;

  void add(Entry entry, size_t limit) {
    if (complete && entries.size() < limit) {
      entries.push_back(entry);
    } else {
      complete = false;
    }
  }
};

template <typename T>
class Binner {
 public:
  Binner(const Scene<T>& scene, int64_t capacity) : scene_(scene), capacity_(capacity) {
    const int64_t wanted = kRangesPerThread * torch::stable::get_num_threads();
    const int64_t per_frame = (wanted + std::max<int64_t>(1, scene.frames) - 1) / std::max<int64_t>(1, scene.frames);
    ranges_ = std::max<int64_t>(1, std::min(per_frame, scene.count / kMinRange));
    cursors_.assign(scene.frames * ranges_ * scene.tiles(), 0);
    found_.resize(scene.frames * ranges_);
  }

  void count() {
    const int64_t items = scene_.frames * ranges_;
    for_each_parallel(items, [&](int64_t item) {
      int64_t* counts = cursors_.data() + item * scene_.tiles();
      const size_t limit = 2 * capacity_ / items;
      visit(item, [&](int32_t n, int32_t tile) {
        ++counts[tile];
        found_[item].add({n, tile}, limit);
      });
    });
  }

  // Turns the counts into the place of each range's first entry in each tile; returns the number of all entries.
  int64_t prefix_sum(int64_t* offsets) {
    int64_t running = 0;
    for (int64_t frame = 0; frame < scene_.frames; ++frame) {
      for (int64_t tile = 0; tile < scene_.tiles(); ++tile) {
        offsets[frame * scene_.tiles() + tile] = running;
        for (int64_t range = 0; range < ranges_; ++range) {
          int64_t& cursor = cursors_[(frame * ranges_ + range) * scene_.tiles() + tile];
          const int64_t entries = cursor;
          cursor = running;
          running += entries;
        }
      }
    }
    offsets[scene_.frames * scene_.tiles()] = running;
    return running;
  }

  void fill(int32_t* ids) {
    for_each_parallel(scene_.frames * ranges_, [&](int64_t item) {
      int64_t* cursors = cursors_.data() + item * scene_.tiles();
      if (cursors[0] >= capacity_) return;  // the frame's first tile, so all of its lists lie beyond
      const auto write = [&](int32_t n, int32_t tile) {
        const int64_t at = cursors[tile]++;
        if (at < capacity_) ids[at] = n;
      };
      if (found_[item].complete) {
        for (const Entry& entry : found_[item].entries) write(entry.gaussian, entry.tile);
      } else {
        visit(item, write);
      }
    });
  }

 private:
  template <typename Use>
  void visit(int64_t item, const Use& use) const {
    const int64_t frame = item / ranges_, range = item % ranges_;
    const int64_t end = scene_.count * (range + 1) / ranges_;
    for (int64_t n = scene_.count * range / ranges_; n < end; ++n) {
      const Slice<T> s = scene_.slice(n, frame);
      const T reach = scene_.reach(n, s);
      if (!(reach >= T(0))) continue;
      visit_tiles(scene_, s, reach, [&](const TileIndex* tiles, int found) {
        for (int i = 0; i < found; ++i) use(static_cast<int32_t>(n), tiles[i].y * scene_.tiles_x + tiles[i].x);
      });
    }
  }

  const Scene<T>& scene_;
  const int64_t capacity_;
  int64_t ranges_;
  std::vector<Found> found_;      // [frames][ranges]
  std::vector<int64_t> cursors_;  // [frames][ranges][tiles]: first counts, then where the next entry goes
};

}  // namespace

std::tuple<Tensor, Tensor> bin_gaussians(Tensor means, Tensor cholesky, Tensor cutoffs, Tensor times, Tensor motion,
                                         int64_t width, int64_t height, int64_t capacity) {
  STD_TORCH_CHECK(capacity >= 0, "capacity must not be negative, got ", capacity);
  return with_dtype(means, [&](auto zero) {
    const auto scene = scene_of<decltype(zero)>(means, cholesky, cutoffs, times, motion, width, height);
    Tensor offsets = torch::stable::new_empty(means, {scene.frames * scene.tiles() + 1}, ScalarType::Long);
    Tensor ids = torch::stable::new_empty(means, {capacity}, ScalarType::Int);
    int32_t* flatten_ids = ids.mutable_data_ptr<int32_t>();
    Binner<decltype(zero)> binner(scene, capacity);
    binner.count();
    const int64_t total = binner.prefix_sum(offsets.mutable_data_ptr<int64_t>());
    if (capacity > 0) binner.fill(flatten_ids);
    if (total < capacity) std::fill(flatten_ids + total, flatten_ids + capacity, 0);
    return std::make_tuple(offsets, ids);
  });
}

}  // namespace garv
