// Weights of a Gaussian row by row, down columns of pixels.
#pragma once

#include "weights.cuh"

namespace garv {

// The least coefficient of dy^2 with which kPerStart rows may follow from one start; weights.cuh says why there is one.
template <int kPerStart>
constexpr float kSteepestOf = kPerStart == 1   ? -INFINITY
                              : kPerStart == 8 ? -0.8f
                                               : kSteepest;

template <int kColumns>
struct ColumnWeights {
  float slope[kColumns], constant[kColumns], weight[kColumns], ratio[kColumns];
  float dy0, c, bend;

  __device__ __forceinline__ void set_gaussian(const Exponent& e, float first_dy) {
    dy0 = first_dy;
    c = e.c;
    bend = exp2_approx(2.f * e.c);
  }

  __device__ __forceinline__ void set_column(int k, const Exponent& e, float dx) {
    slope[k] = e.b * dx;
    constant[k] = fmaf(e.a * dx, dx, e.k);
  }

  __device__ __forceinline__ void start(int row) {
    const float dy = dy0 + row, step = c * fmaf(2.f, dy, 1.f);
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      weight[k] = exp2_approx(fmaf(fmaf(c, dy, slope[k]), dy, constant[k]));
      // Bounded, or a ratio past the largest number would turn a weight of 0 into NaN.
      ratio[k] = exp2_approx(fminf(step + slope[k], 126.f));
    }
  }

  __device__ __forceinline__ void next_row() {
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      weight[k] *= ratio[k];
      ratio[k] *= bend;
    }
  }
};

}  // namespace garv
