// Whole numbers of Gaussians to means, Cholesky factors and colours in pixels and frames.

#include <cmath>

#include "kernels.h"
#include "layer_model.h"
#include "parallel.h"

namespace garv {
namespace {

constexpr int64_t kGaussiansAtOnce = 2048;

const int64_t* rows_of(const Tensor& t, const char* name, int64_t rows, int64_t count) {
  check_longs(t, name, count);
  STD_TORCH_CHECK(t.size(0) == rows, name, " must have ", rows, " rows, got ", t.size(0));
  return t.const_data_ptr<int64_t>();
}

const int32_t* ints_of(const Tensor& t, const char* name, int64_t rows, int64_t count) {
  check_cpu(t, name);
  STD_TORCH_CHECK(t.scalar_type() == ScalarType::Int && t.dim() == 2 && t.size(0) == rows && t.size(1) == count, name,
                  " must be int32 [", rows, ", ", count, "]");
  return t.const_data_ptr<int32_t>();
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> dequantize_levels(Tensor layer, Tensor shapes, Tensor colors, Tensor exponents,
                                                     Tensor positions, Tensor steps, Tensor axes, double color_step) {
  check_longs(layer, "layer", kFlat);
  check_longs(steps, "steps", 2);
  const int64_t count = layer.size(0), layers = steps.size(0);
  const int64_t* of = layer.const_data_ptr<int64_t>();
  STD_TORCH_CHECK(std::all_of(of, of + count, [&](int64_t k) { return k >= 0 && k < layers; }),
                  "layer must be 0 to below ", layers);
  const int32_t* shape = ints_of(shapes, "shapes", 6, count);
  STD_TORCH_CHECK(colors.dim() == 2 && colors.size(0) >= 1 && colors.size(0) <= kMaxChannels, "colors must be [1 to ",
                  kMaxChannels, ", N]");
  const int64_t channels = colors.size(0);
  const int32_t* color = ints_of(colors, "colors", channels, count);
  const int64_t* exponent = rows_of(exponents, "exponents", 3, count);
  const int64_t* position = rows_of(positions, "positions", 3, count);
  check_floats(axes, "axes", ScalarType::Double, channels, channels);
  const double* axis = axes.const_data_ptr<double>();
  const int64_t* step = steps.const_data_ptr<int64_t>();
  Tensor means = torch::stable::new_empty(layer, {count, 3}, ScalarType::Float);
  Tensor cholesky = torch::stable::new_empty(layer, {count, 6}, ScalarType::Float);
  Tensor rgb = torch::stable::new_empty(layer, {count, channels}, ScalarType::Float);
  float *mean = means.mutable_data_ptr<float>(), *factor = cholesky.mutable_data_ptr<float>();
  float* shown = rgb.mutable_data_ptr<float>();
  for_each_parallel((count + kGaussiansAtOnce - 1) / kGaussiansAtOnce, [&](int64_t block) {
    const int64_t end = std::min(count, (block + 1) * kGaussiansAtOnce);
    for (int64_t n = block * kGaussiansAtOnce; n < end; ++n) {
      const double log_step = static_cast<double>(step[2 * of[n]]) / 65536;
      const double ratio_step = static_cast<double>(step[2 * of[n] + 1]) / 65536;
      double diagonal[3], ratios[3];  // l_tt, l_xx, l_yy, and the ratios of l_xt, l_yt, l_yx
      for (int k = 0; k < 3; ++k) {
        mean[3 * n + k] = static_cast<float>(
            std::ldexp(static_cast<double>(position[k * count + n]) + 0.5, static_cast<int>(exponent[k * count + n])));
        diagonal[k] = std::exp2(shape[k * count + n] * log_step);
        ratios[k] = shape[(3 + k) * count + n] * ratio_step;
      }
      const auto [tt, xx, yy] = diagonal;
      const double entries[6] = {tt, ratios[0] * xx, ratios[1] * yy, xx, ratios[2] * yy, yy};
      for (int k = 0; k < 6; ++k) factor[6 * n + k] = static_cast<float>(entries[k]);
      const double size = color_step / std::sqrt(tt * xx * yy);
      for (int64_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (int64_t k = 0; k < channels; ++k) sum += color[k * count + n] * size * axis[k * channels + c];
        shown[channels * n + c] = static_cast<float>(sum);
      }
    }
  });
  return std::make_tuple(means, cholesky, rgb);
}

}  // namespace garv
