#pragma once

#include <tuple>
#include <vector>

#include "inputs.h"

namespace garv {

std::tuple<Tensor, Tensor> bin_gaussians(Tensor means, Tensor cholesky, Tensor cutoffs, Tensor times, int64_t width,
                                         int64_t height, int64_t capacity);

Tensor accumulate(Tensor means, Tensor cholesky, Tensor colors, Tensor cutoffs, Tensor times, Tensor isect_offsets,
                  Tensor flatten_ids, int64_t width, int64_t height);

std::tuple<Tensor, Tensor, Tensor> accumulate_bwd(Tensor v_image, Tensor means, Tensor cholesky, Tensor colors,
                                                  Tensor cutoffs, Tensor times, Tensor isect_offsets,
                                                  Tensor flatten_ids);

void adam_step(Tensor rows, Tensor gradient, Tensor exp_avg, Tensor exp_avg_sq, Tensor steps, Tensor rates,
               double beta1, double beta2, double eps, bool visible_only);

std::tuple<Tensor, Tensor, Tensor> crop_gaussians(Tensor means, Tensor cholesky, Tensor colors,
                                                  std::vector<int64_t> size, std::vector<int64_t> low,
                                                  std::vector<int64_t> high, double threshold);

Tensor region_weights(Tensor means, Tensor cholesky, Tensor boxes, Tensor spread, double narrower, double feather);

}  // namespace garv
