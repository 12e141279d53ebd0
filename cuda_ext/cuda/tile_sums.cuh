// The sum over a tile of 16x16 samples, held by one warp in the accumulators of the tensor cores' product. One product
// covers a row of the tile's upper half and the same row of its lower half: of weights [16 columns x (4 Gaussians,
// half)] times colours [(4 Gaussians, half) x (half, channel)], which are 0 where the halves differ.
//
// Down a column a weight's exponent is quadratic: of a few rows it is the chord from the first of them to the last, and
// a bulge that is the same in all columns. Along the chord weights grow by one factor from row to row, in float32; the
// bulge goes into the row's colours. Both are rounded to half precision for the product, each by up to 2^-11 of a
// Gaussian's contribution, as is the bulge itself.
#pragma once

#include "common.cuh"
#include "tensor_cores.cuh"
#include "weights.cuh"

namespace garv {

constexpr int kHalfHeight = kTileSize / 2;
constexpr int kGroup = 4;   // Gaussians a product takes
constexpr int kBatch = 32;  // Gaussians a warp makes ready at once

// Curvature up to which all eight rows of a half follow from one start (0.96 pixels): what can still reach 2^-24 starts
// above float32's smallest number.
constexpr float kSteepestOfHalf = -0.79f;

// Exponent that weights take from the colours: then no bulge brightens a colour, and none leaves half precision.
constexpr float kBulgeRoom = 10.f;
constexpr int kWidestBulge = 12;  // times the curvature: j (7 - j) in row j of eight
static_assert(-kSteepestOfHalf * kWidestBulge <= kBulgeRoom && -kSteepest * 2 <= kBulgeRoom);
constexpr int kHeadroom = 5;  // exponent that may come on top: 2^15 is the largest power of 2 in half precision

// A Gaussian of one tile, ready to be drawn. At 96 bytes from one to the next, the lanes' loads meet in no bank.
struct alignas(32) ReadyGaussian {
  float4 place;     // x and y of the mean, exponent's constant and coefficient of dx^2
  float4 bend;      // coefficients of dx dy and dy^2, ratio of ratios 8 rows apart, bulges of rows 1 and 2 of eight
  uint4 colors[2];  // what a product's columns take: the upper half's channels, then the lower half's
  __half2 bulges;   // of row 3 of eight, and of row 1 of four

  // brighter: exponent of 2 that the weights are raised by, at most kHeadroom. channels: four, in half precision.
  __device__ __forceinline__ void set(const Slice<float>& g, const Conic<float>& conic, float brighter,
                                      uint2 channels) {
    const Exponent e = exponent_of(g, conic);
    place = make_float4(g.x, g.y, brighter + (e.k + kBulgeRoom), e.a);
    const uint32_t first_bulges = to_halves(bulge(e.c, 6.f), bulge(e.c, 10.f));
    bend = make_float4(e.b, e.c, exp2_approx(2.f * kHalfHeight * e.c), __uint_as_float(first_bulges));
    bulges = __floats2half2_rn(bulge(e.c, kWidestBulge), bulge(e.c, 2.f));
    const uint32_t c01 = channels.x, c23 = channels.y, high = 0xffff0000u;
    colors[0] = make_uint4(c01 & ~high, c01 >> 16, c23 & ~high, c23 >> 16);
    colors[1] = make_uint4(c01 << 16, c01 & high, c23 << 16, c23 & high);
  }

  __device__ __forceinline__ void set_nothing() {
    place = make_float4(0.f, 0.f, kNoWeight, 0.f);
    bend = make_float4(0.f, 0.f, 1.f, 0.f);
    bulges = __float2half2_rn(0.f);
    colors[0] = colors[1] = make_uint4(0, 0, 0, 0);
  }

 private:
  __device__ __forceinline__ static float bulge(float c, float width) {
    return exp2_approx(fmaf(-width, c, -kBulgeRoom));
  }
};

// A lane's Gaussian in its two columns, eight apart.
struct LaneColumns {
  float slope[2], constant[2];
  float dy, c, bend_of_half;
  __half2 bulges[2];  // of rows 1 and 2 of eight, then of row 3 of eight and of row 1 of four

  __device__ __forceinline__ LaneColumns(const ReadyGaussian& gaussian, float x, float y) {
    const float4 place = gaussian.place, b = gaussian.bend;
    dy = y - place.y;
    c = b.y;
    bend_of_half = b.z;
    const uint32_t first_bulges = __float_as_uint(b.w);
    bulges[0] = *reinterpret_cast<const __half2*>(&first_bulges);
    bulges[1] = gaussian.bulges;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const float dx = x + 8 * k - place.x;
      slope[k] = b.x * dx;
      constant[k] = fmaf(place.w * dx, dx, place.z);
    }
  }

  // Weights of a row of both halves, and their ratios to the next row's on the chord of kPerStart rows.
  template <int kPerStart>
  __device__ __forceinline__ void start(int row, float (&weight)[2][2], float (&ratio)[2][2]) const {
    const float upper = dy + row, lower = upper + kHalfHeight, step = c * fmaf(2.f, upper, kPerStart - 1.f);
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      weight[0][k] = exp2_approx(fmaf(fmaf(c, upper, slope[k]), upper, constant[k]));
      weight[1][k] = exp2_approx(fmaf(fmaf(c, lower, slope[k]), lower, constant[k]));
      // Bounded, or a ratio past the largest number would turn a weight of 0 into NaN; that of eight rows is squared.
      // Where the bound counts, all of the upper half's weights are 0, and the lower half's if it is 16 rows.
      ratio[0][k] = exp2_approx(fminf(step + slope[k], kPerStart == kHalfHeight ? 63.f : 126.f));
      ratio[1][k] = ratio[0][k] * bend_of_half;
    }
  }

  // The colours that rows of kPerStart are multiplied by, from the first of them to the middle; then they come again.
  template <int kPerStart>
  __device__ __forceinline__ void bulge(__half2 colors, uint32_t (&bulging)[(kPerStart + 1) / 2]) const {
    bulging[0] = as_word(__hmul2(colors, __float2half2_rn(1.f / (1 << int(kBulgeRoom)))));
    if constexpr (kPerStart == 4) bulging[1] = as_word(__hmul2(colors, __high2half2(bulges[1])));
    if constexpr (kPerStart == kHalfHeight) {
      bulging[1] = as_word(__hmul2(colors, __low2half2(bulges[0])));
      bulging[2] = as_word(__hmul2(colors, __high2half2(bulges[0])));
      bulging[3] = as_word(__hmul2(colors, __low2half2(bulges[1])));
    }
  }
};

struct TileSums {
  // Of each row of a half: two channels in the lane's first column, the same in its second. Lanes 0 and 1 of four hold
  // the upper half's channels, lanes 2 and 3 the lower half's.
  float rows[kHalfHeight][4];

  // Adds a group of Gaussians, in the tile whose first sample is at (x, y).
  __device__ __forceinline__ void add_group(const ReadyGaussian* group, float x, float y) {
    const int lane = threadIdx.x % 32, column = lane / 4;
    const ReadyGaussian& gaussian = group[lane % 4];
    const LaneColumns columns(gaussian, x + column, y);
    const __half2 colors = reinterpret_cast<const __half2*>(gaussian.colors)[column];
    if (__all_sync(kWholeWarp, columns.c > kSteepestOfHalf)) {
      add_pairs_of_rows(columns, colors);
    } else if (__all_sync(kWholeWarp, columns.c > kSteepest)) {
      add_rows<4>(columns, colors);
    } else {
      add_rows<1>(columns, colors);
    }
  }

  __device__ __forceinline__ void multiply_by(float factor) {
#pragma unroll
    for (int k = 0; k < kHalfHeight * 4; ++k) rows[k / 4][k % 4] *= factor;
  }

  // Calls use(row, column, channel, value) for the samples that the lane holds.
  template <int C, typename Use>
  __device__ __forceinline__ void for_each_sample(const Use& use) {
    const int lane = threadIdx.x % 32, channel = lane % 2 * 2, half = lane % 4 / 2 * kHalfHeight;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if (channel + k % 2 >= C) continue;
#pragma unroll
      for (int row = 0; row < kHalfHeight; ++row) {
        use(half + row, lane / 4 + k / 2 * 8, channel + k % 2, rows[row][k]);
      }
    }
  }

 private:
  // All rows follow from one start, every other one in half precision: what is lost there is not handed on.
  __device__ __forceinline__ void add_pairs_of_rows(const LaneColumns& columns, __half2 colors) {
    float weight[2][2], ratio[2][2];  // [half][column]
    uint32_t bulging[kHalfHeight / 2];
    columns.bulge<kHalfHeight>(colors, bulging);
    columns.start<kHalfHeight>(0, weight, ratio);
    __half2 next[2];  // ratios of a column
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      next[k] = to_finite_halves(ratio[0][k], ratio[1][k]);
      ratio[0][k] *= ratio[0][k];
      ratio[1][k] *= ratio[1][k];
    }
#pragma unroll
    for (int row = 0; row < kHalfHeight; row += 2) {
      const __half2 a = __floats2half2_rn(weight[0][0], weight[1][0]);
      const __half2 b = __floats2half2_rn(weight[0][1], weight[1][1]);
      const int at = min(row, kHalfHeight - 1 - row), after = min(row + 1, kHalfHeight - 2 - row);
      multiply_add(rows[row], as_word(a), as_word(b), bulging[at]);
      multiply_add(rows[row + 1], as_word(__hmul2(a, next[0])), as_word(__hmul2(b, next[1])), bulging[after]);
#pragma unroll
      for (int k = 0; k < 4; ++k) weight[k / 2][k % 2] *= ratio[k / 2][k % 2];
    }
  }

  // kPerStart rows follow from one start.
  template <int kPerStart>
  __device__ __forceinline__ void add_rows(const LaneColumns& columns, __half2 colors) {
    float weight[2][2], ratio[2][2];  // [half][column]
    uint32_t bulging[(kPerStart + 1) / 2];
    columns.bulge<kPerStart>(colors, bulging);
#pragma unroll
    for (int row = 0; row < kHalfHeight; ++row) {
      const int j = row % kPerStart;
      if (j == 0) {
        columns.start<kPerStart>(row, weight, ratio);
      } else {
#pragma unroll
        for (int k = 0; k < 4; ++k) weight[k / 2][k % 2] *= ratio[k / 2][k % 2];
      }
      // Finite: exponents of a Gaussian as thin as float32 can tell may round to more than their constant.
      multiply_add(rows[row], as_word(to_finite_halves(weight[0][0], weight[1][0])),
                   as_word(to_finite_halves(weight[0][1], weight[1][1])), bulging[min(j, kPerStart - 1 - j)]);
    }
  }
};

}  // namespace garv
