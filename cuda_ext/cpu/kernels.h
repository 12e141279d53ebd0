#pragma once

#include <tuple>
#include <vector>

#include "inputs.h"

namespace garv {

std::tuple<Tensor, Tensor> bin_gaussians(Tensor means, Tensor cholesky, Tensor cutoffs, Tensor times, Tensor motion,
                                         int64_t width, int64_t height, int64_t capacity);

Tensor accumulate(Tensor means, Tensor cholesky, Tensor colors, Tensor cutoffs, Tensor times, Tensor motion,
                  Tensor isect_offsets, Tensor flatten_ids, int64_t width, int64_t height);

std::tuple<Tensor, Tensor, Tensor> accumulate_bwd(Tensor v_image, Tensor means, Tensor cholesky, Tensor colors,
                                                  Tensor cutoffs, Tensor times, Tensor motion, Tensor isect_offsets,
                                                  Tensor flatten_ids);

void adam_step(Tensor rows, Tensor gradient, Tensor exp_avg, Tensor exp_avg_sq, Tensor steps, Tensor rates,
               double beta1, double beta2, double eps, bool visible_only);

Tensor draw(Tensor records, Tensor chunks, int64_t levels, int64_t channels, double tau, Tensor times, Tensor motion,
            int64_t left, int64_t top, int64_t width, int64_t height, int64_t room, bool as_float, Tensor missing);

std::tuple<Tensor, Tensor, Tensor> crop_gaussians(Tensor means, Tensor cholesky, Tensor colors,
                                                  std::vector<int64_t> size, std::vector<int64_t> low,
                                                  std::vector<int64_t> high, std::vector<double> first,
                                                  std::vector<double> last, double threshold);

Tensor region_weights(Tensor means, Tensor cholesky, Tensor maps, Tensor boxes, Tensor spread, double narrower,
                      double feather);

Tensor typical_spread(Tensor means, Tensor cholesky, Tensor maps);

std::tuple<Tensor, Tensor, Tensor, Tensor> decode_levels(Tensor data, Tensor sizes, Tensor counts, Tensor tables,
                                                         Tensor heights, Tensor contexts, Tensor steps);

std::tuple<Tensor, Tensor, Tensor> dequantize_levels(Tensor layer, Tensor shapes, Tensor colors, Tensor exponents,
                                                     Tensor positions, Tensor steps, Tensor axes, double color_step);

}  // namespace garv
