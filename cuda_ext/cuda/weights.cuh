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

}  // namespace garv
