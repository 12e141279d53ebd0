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

// A Gaussian of one tile, ready to be drawn: as much of it as the tile's columns share. Places are from the tile's
// first sample on. At 96 bytes from one to the next, the lanes' loads meet in no bank.
struct alignas(32) ReadyGaussian {
  float4 column;     // x of the mean, coefficients of dx^2 and dx dy, exponent of eight rows' first ratio at dx = 0
  float4 first_row;  // of the upper and of the lower half: coefficient of dx and constant, each
  float4 down;       // ratio of ratios 8 rows apart, bulges of rows 1, 2 and 3 of eight and 1 of four, curvature: the
                     // coefficient of dy^2
  uint4 colors[2];   // what a product's columns take: the upper half's channels, then the lower half's
  float dy, constant;

  // (left, top): the tile's first sample. brighter: exponent of 2 that the weights are raised by, at most kHeadroom.
  // channels: four, in half precision.
  __device__ __forceinline__ void set(const Slice<float>& g, const Conic<float>& conic, float left, float top,
                                      float brighter, uint2 channels) {
    const Exponent e = exponent_of(g, conic);
    dy = top - g.y;
    constant = brighter + (e.k + kBulgeRoom);
    const float lower = dy + kHalfHeight;
    column = make_float4(g.x - left, e.a, e.b, e.c * fmaf(2.f, dy, kHalfHeight - 1.f));
    first_row = make_float4(e.b * dy, fmaf(e.c * dy, dy, constant), e.b * lower, fmaf(e.c * lower, lower, constant));
    const uint32_t bulges_12 = to_halves(bulge(e.c, 6.f), bulge(e.c, 10.f));
    const uint32_t others = to_halves(bulge(e.c, kWidestBulge), bulge(e.c, 2.f));
    down = make_float4(exp2_approx(2.f * kHalfHeight * e.c), __uint_as_float(bulges_12), __uint_as_float(others), e.c);
    const uint32_t c01 = channels.x, c23 = channels.y, high = 0xffff0000u;
    colors[0] = make_uint4(c01 & ~high, c01 >> 16, c23 & ~high, c23 >> 16);
    colors[1] = make_uint4(c01 << 16, c01 & high, c23 << 16, c23 & high);
  }

  __device__ __forceinline__ void set_nothing() {
    column = down = make_float4(0.f, 0.f, 0.f, 0.f);
    first_row = make_float4(0.f, kNoWeight, 0.f, kNoWeight);
    colors[0] = colors[1] = make_uint4(0, 0, 0, 0);
    dy = 0.f;
    constant = kNoWeight;
  }

 private:
  __device__ __forceinline__ static float bulge(float c, float width) {
    return exp2_approx(fmaf(-width, c, -kBulgeRoom));
  }
};

// Weights of a row of both halves in a lane's two columns, eight apart, and the ratios that lead to a later row's.
struct RowWeights {
  float weight[2][2], ratio[2][2];  // [half][column]

  __device__ __forceinline__ void step() {
#pragma unroll
    for (int k = 0; k < 4; ++k) weight[k / 2][k % 2] *= ratio[k / 2][k % 2];
  }
};

__device__ __forceinline__ __half2 as_halves(float word) { return *reinterpret_cast<const __half2*>(&word); }

// The colours times the least bulge there is, that of the first and the last row.
__device__ __forceinline__ uint32_t without_bulge(__half2 colors) {
  return as_word(__hmul2(colors, __float2half2_rn(1.f / (1 << int(kBulgeRoom)))));
}

struct TileSums {
  // Of each row of a half: two channels in the lane's first column, the same in its second. Lanes 0 and 1 of four hold
  // the upper half's channels, lanes 2 and 3 the lower half's.
  float rows[kHalfHeight][4];

  // Adds the first `count` Gaussians of a batch of the tile; those after them weigh nothing.
  __device__ __forceinline__ void add(const ReadyGaussian* batch, int count) {
    const int lane = threadIdx.x % 32;
    unsigned steep = __ballot_sync(kWholeWarp, !(batch[lane].down.w > kSteepestOfHalf));
    const ReadyGaussian* const end = batch + count;
    for (const ReadyGaussian* group = batch; group < end; group += kGroup, steep >>= kGroup) {
      const ReadyGaussian& gaussian = group[lane % kGroup];
      const __half2 colors = reinterpret_cast<const __half2*>(gaussian.colors)[lane / kGroup];
      if (steep % (1 << kGroup) == 0) {
        add_pairs_of_rows(gaussian, colors);
      } else if (__all_sync(kWholeWarp, gaussian.down.w > kSteepest)) {
        add_rows<4>(gaussian, colors);
      } else {
        add_rows<1>(gaussian, colors);
      }
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
  __device__ __forceinline__ void add_pairs_of_rows(const ReadyGaussian& gaussian, __half2 colors) {
    const float4 column = gaussian.column, first_row = gaussian.first_row, down = gaussian.down;
    const __half2 bulges_12 = as_halves(down.y), others = as_halves(down.z);
    const uint32_t bulging[kHalfHeight / 2] = {
        without_bulge(colors), as_word(__hmul2(colors, __low2half2(bulges_12))),
        as_word(__hmul2(colors, __high2half2(bulges_12))), as_word(__hmul2(colors, __low2half2(others)))};
    RowWeights row;
    __half2 next[2];  // ratios of a column
    const float first = static_cast<float>(threadIdx.x % 32 / kGroup) - column.x;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const float dx = k == 0 ? first : first + 8.f;
      row.weight[0][k] = exp2_approx(fmaf(fmaf(column.y, dx, first_row.x), dx, first_row.y));
      row.weight[1][k] = exp2_approx(fmaf(fmaf(column.y, dx, first_row.z), dx, first_row.w));
      // Bounded, or a ratio past the largest number, squared, would turn a weight of 0 into NaN. Where the bound
      // counts, all of the upper half's weights are 0, and the lower half's if it is 16 rows.
      const float upper = exp2_approx(fminf(fmaf(column.z, dx, column.w), 63.f)), lower = upper * down.x;
      next[k] = to_finite_halves(upper, lower);
      row.ratio[0][k] = upper * upper;
      row.ratio[1][k] = lower * lower;
    }
#pragma unroll
    for (int j = 0; j < kHalfHeight; j += 2, row.step()) {
      const __half2 a = __floats2half2_rn(row.weight[0][0], row.weight[1][0]);
      const __half2 b = __floats2half2_rn(row.weight[0][1], row.weight[1][1]);
      const int at = min(j, kHalfHeight - 1 - j), after = min(j + 1, kHalfHeight - 2 - j);
      multiply_add(rows[j], as_word(a), as_word(b), bulging[at]);
      multiply_add(rows[j + 1], as_word(__hmul2(a, next[0])), as_word(__hmul2(b, next[1])), bulging[after]);
    }
  }

  // kPerStart rows follow from one start: four or one.
  template <int kPerStart>
  __device__ __forceinline__ void add_rows(const ReadyGaussian& gaussian, __half2 colors) {
    const float4 column = gaussian.column;
    const float c = gaussian.down.w, bend = gaussian.down.x;
    const uint32_t bulging[2] = {without_bulge(colors),
                                 as_word(__hmul2(colors, __high2half2(as_halves(gaussian.down.z))))};
    float slope[2], constant[2];
    const float first = static_cast<float>(threadIdx.x % 32 / kGroup) - column.x;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const float dx = k == 0 ? first : first + 8.f;
      slope[k] = column.z * dx;
      constant[k] = fmaf(column.y * dx, dx, gaussian.constant);
    }
    RowWeights row;
#pragma unroll
    for (int j = 0; j < kHalfHeight; ++j) {
      if (j % kPerStart == 0) {
        const float upper = gaussian.dy + j, lower = upper + kHalfHeight, step = c * fmaf(2.f, upper, kPerStart - 1.f);
#pragma unroll
        for (int k = 0; k < 2; ++k) {
          row.weight[0][k] = exp2_approx(fmaf(fmaf(c, upper, slope[k]), upper, constant[k]));
          row.weight[1][k] = exp2_approx(fmaf(fmaf(c, lower, slope[k]), lower, constant[k]));
          row.ratio[0][k] = exp2_approx(fminf(step + slope[k], 126.f));
          row.ratio[1][k] = row.ratio[0][k] * bend;
        }
      } else {
        row.step();
      }
      // Finite: exponents of a Gaussian as thin as float32 can tell may round to more than their constant.
      multiply_add(rows[j], as_word(to_finite_halves(row.weight[0][0], row.weight[1][0])),
                   as_word(to_finite_halves(row.weight[0][1], row.weight[1][1])),
                   bulging[min(j % kPerStart, kPerStart - 1 - j % kPerStart)]);
    }
  }
};

}  // namespace garv
