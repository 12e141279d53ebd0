// Weights of Gaussians at pixels as operands of the tensor cores' matrix product m16n8k16 (PTX ISA, mma.sync): half
// precision in, float32 sums.
#pragma once

#include <cuda_fp16.h>

#include "common.cuh"

namespace garv {

constexpr unsigned kWholeWarp = 0xffffffffu;
constexpr int kProductColumns = 8;
constexpr float kNoWeight = -1000.f;  // an exponent of 2 that gives nothing

__device__ __forceinline__ uint32_t to_halves(float low, float high) {
  const __half2 h = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&h);
}

// Two numbers in half precision, and what is left of them in half precision again.
struct HalfPair {
  uint32_t high, low;
};

__device__ __forceinline__ HalfPair split(float a, float b) {
  const __half2 h = __floats2half2_rn(a, b);
  const float2 rounded = __half22float2(h);
  return {*reinterpret_cast<const uint32_t*>(&h), to_halves(a - rounded.x, b - rounded.y)};
}

// sum [16 x 8] += a [16 x 16] b [16 x 8]
__device__ __forceinline__ void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Down a column the exponent is quadratic, so the ratio of one row's weight to the last one's changes by the same
// factor each row: two multiplications replace a quadratic form and an exponential. Four rows from one start keep the
// error of the products below 1e-6. What can still reach 2^-24 within them starts above float32's smallest number as
// long as the Gaussian is not thinner than this curvature (0.42 pixels).
constexpr float kSteepest = -4.f;

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

  // From `row` to the next one; `recompute` without the recurrence.
  __device__ __forceinline__ void next_row(int row, bool recompute) {
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      weight[k] = recompute ? weight_at(k, dy0 + (row + 1)) : weight[k] * ratio[k];
      ratio[k] *= bend;
    }
  }

  __device__ __forceinline__ uint32_t half_pair(int k) const { return to_halves(weight[k], weight[k + 1]); }
};

}  // namespace garv
