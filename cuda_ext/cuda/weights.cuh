// Weights p(t) exp(-d/2) of Gaussians at pixels.
#pragma once

#include "common.cuh"

namespace garv {

constexpr float kLog2e = 1.4426950408889634f;

// The weight p(t) exp(-d/2) as a power of two of a quadratic in the distance to the mean: constant, and coefficients of
// dx^2, dx dy and dy^2.
struct Exponent {
  float k, a, b, c;
};

__device__ __forceinline__ Exponent exponent_of(const Slice<float>& g, const Conic<float>& conic) {
  constexpr float h = -0.5f * kLog2e;
  return {h * g.u * g.u, h * conic.A, 2.f * h * conic.B, h * conic.C};
}

__device__ __forceinline__ Exponent exponent_of(const ReachingSlice& r) { return exponent_of(r.slice, r.conic); }

__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

constexpr float kNoWeight = -1000.f;  // an exponent of 2 that gives nothing

// Down a column the exponent is quadratic, so the ratio of one row's weight to the last one's changes by the same
// factor each row: two multiplications replace a quadratic form and an exponential. Four rows from one start keep the
// error of the products below 1e-6. What can still reach 2^-24 within them starts above float32's smallest number as
// long as the Gaussian is not thinner than this curvature (0.45 pixels).
constexpr float kSteepest = -3.5f;

// The weights of one Gaussian in kColumns columns of pixels, row by row.
template <int kColumns>
struct ColumnWeights {
  float slope[kColumns], constant[kColumns], weight[kColumns], ratio[kColumns];
  float dy0, c, bend;

  __device__ __forceinline__ void set_column(int k, const Exponent& e, float dx) {
    slope[k] = e.b * dx;
    constant[k] = fmaf(e.a * dx, dx, e.k);
  }

  __device__ __forceinline__ void set_gaussian(const Exponent& e, float second_difference, float first_dy) {
    dy0 = first_dy;
    c = e.c;
    bend = second_difference;
  }

  __device__ __forceinline__ bool steep() const { return c < kSteepest; }

  __device__ __forceinline__ float weight_at(int k, float dy) const {
    return exp2_approx(fmaf(fmaf(c, dy, slope[k]), dy, constant[k]));
  }

  __device__ __forceinline__ void start_rows(int row) {
    const float dy = dy0 + row, step = c * fmaf(2.f, dy, 1.f);
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      weight[k] = weight_at(k, dy);
      // Bounded, or a ratio past the largest number would turn a weight of 0 into NaN.
      ratio[k] = exp2_approx(fminf(step + slope[k], 126.f));
    }
  }

  // From `row` to the next one; kSteep without the recurrence.
  template <bool kSteep>
  __device__ __forceinline__ void next_row(int row) {
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      weight[k] = kSteep ? weight_at(k, dy0 + (row + 1)) : weight[k] * ratio[k];
      ratio[k] *= bend;
    }
  }
};

}  // namespace garv
