// Parts of a video: the Gaussians that a box needs, and the weights that a region gives to Gaussians.
#include "regions.h"

#include <array>

#include "kernels.h"
#include "parallel.h"

namespace garv {
namespace {

constexpr int64_t kRowsAtOnce = 4096;

int64_t row_blocks(int64_t count) { return (count + kRowsAtOnce - 1) / kRowsAtOnce; }

// Calls use(n) for the Gaussians of a block.
template <typename Use>
void for_each_row(int64_t block, int64_t count, const Use& use) {
  const int64_t end = std::min(count, (block + 1) * kRowsAtOnce);
  for (int64_t n = block * kRowsAtOnce; n < end; ++n) use(n);
}

template <typename T>
PlaneMaps<T> maps_of(const Tensor& maps, ScalarType type) {
  check_floats(maps, "maps", type, maps.size(0), 6);
  STD_TORCH_CHECK(maps.size(0) < std::numeric_limits<int32_t>::max(), "at most 2^31 frames, got ", maps.size(0));
  return {reinterpret_cast<const PlaneMap<T>*>(maps.const_data_ptr<T>()), static_cast<int>(maps.size(0))};
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> crop_gaussians(Tensor means, Tensor cholesky, Tensor colors,
                                                  std::vector<int64_t> size, std::vector<int64_t> low,
                                                  std::vector<int64_t> high, std::vector<double> first,
                                                  std::vector<double> last, double threshold) {
  return with_dtype(means, [&](auto zero) {
    using T = decltype(zero);
    const ScalarType type = means.scalar_type();
    const int64_t count = means.size(0);
    STD_TORCH_CHECK(colors.dim() == 2, "colors must be [N, C]");
    const int channels = static_cast<int>(colors.size(1));
    check_floats(means, "means", type, count, 3);
    check_floats(cholesky, "cholesky", type, count, 6);
    check_floats(colors, "colors", type, count, channels);
    const CropBox<T> box = crop_box<T>(size, low, high, first, last, threshold);
    const T *m = means.const_data_ptr<T>(), *l = cholesky.const_data_ptr<T>(), *c = colors.const_data_ptr<T>();
    std::vector<std::vector<int64_t>> kept(row_blocks(count));  // of each block
    for_each_parallel(row_blocks(count), [&](int64_t block) {
      for_each_row(block, count, [&](int64_t n) {
        if (box.reached_by(m + 3 * n, l + 6 * n, c + channels * n, channels)) kept[block].push_back(n);
      });
    });
    std::vector<int64_t> firsts(1, 0);
    for (const auto& ids : kept) firsts.push_back(firsts.back() + static_cast<int64_t>(ids.size()));
    const auto rows = [&](int64_t columns) { return torch::stable::new_empty(means, {firsts.back(), columns}); };
    Tensor new_means = rows(3), new_cholesky = rows(6), new_colors = rows(channels);
    T *to_m = new_means.mutable_data_ptr<T>(), *to_l = new_cholesky.mutable_data_ptr<T>();
    T* to_c = new_colors.mutable_data_ptr<T>();
    for_each_parallel(row_blocks(count), [&](int64_t block) {
      int64_t at = firsts[block];
      for (const int64_t n : kept[block]) {
        for (int k = 0; k < 3; ++k) to_m[3 * at + k] = box.mean(k, m[3 * n + k]);
        for (int k = 0; k < 6; ++k) to_l[6 * at + k] = box.cholesky(k, l[6 * n + k]);
        std::copy_n(c + channels * n, channels, to_c + channels * at);
        ++at;
      }
    });
    return std::make_tuple(new_means, new_cholesky, new_colors);
  });
}

Tensor region_weights(Tensor means, Tensor cholesky, Tensor maps, Tensor boxes, Tensor spread, double narrower,
                      double feather) {
  return with_dtype(means, [&](auto zero) {
    using T = decltype(zero);
    const ScalarType type = means.scalar_type();
    const int64_t count = means.size(0);
    STD_TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) < std::numeric_limits<int32_t>::max(), "boxes must be [7, K]");
    check_floats(means, "means", type, count, 3);
    check_floats(cholesky, "cholesky", type, count, 6);
    check_floats(boxes, "boxes", type, 7, boxes.size(1));
    check_floats(spread, "spread", type, 3, 0);
    const PlaneMaps<T> frames = maps_of<T>(maps, type);
    const RegionBoxes<T> region = {boxes.const_data_ptr<T>(), static_cast<int>(boxes.size(1))};
    const T *m = means.const_data_ptr<T>(), *l = cholesky.const_data_ptr<T>(), *unit = spread.const_data_ptr<T>();
    Tensor weights = torch::stable::new_empty(means, {count});
    T* const to = weights.mutable_data_ptr<T>();
    for_each_parallel(row_blocks(count), [&](int64_t block) {
      for_each_row(block, count, [&](int64_t n) {
        to[n] = region_weight(region, as_seen(frames, m + 3 * n, l + 6 * n), unit, T(narrower), T(feather));
      });
    });
    return weights;
  });
}

Tensor typical_spread(Tensor means, Tensor cholesky, Tensor maps) {
  return with_dtype(means, [&](auto zero) {
    using T = decltype(zero);
    const ScalarType type = means.scalar_type();
    const int64_t count = means.size(0);
    check_floats(means, "means", type, count, 3);
    check_floats(cholesky, "cholesky", type, count, 6);
    const PlaneMaps<T> frames = maps_of<T>(maps, type);
    const T *m = means.const_data_ptr<T>(), *l = cholesky.const_data_ptr<T>();
    std::vector<std::array<double, 3>> sums(row_blocks(count));  // of logarithms, of each block
    for_each_parallel(row_blocks(count), [&](int64_t block) {
      std::array<double, 3> sum = {};
      for_each_row(block, count, [&](int64_t n) {
        T deviations[3];
        standard_deviations(as_seen(frames, m + 3 * n, l + 6 * n).cholesky, deviations);
        for (int k = 0; k < 3; ++k) sum[k] += std::log(deviations[k]);
      });
      sums[block] = sum;
    });
    Tensor spread = torch::stable::new_empty(means, {3});
    for (int k = 0; k < 3; ++k) {
      double all = 0.0;
      for (const auto& sum : sums) all += sum[k];
      spread.mutable_data_ptr<T>()[k] = T(std::exp(all / double(count)));
    }
    return spread;
  });
}

}  // namespace garv
