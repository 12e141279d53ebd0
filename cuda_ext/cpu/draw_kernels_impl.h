// Body of `draw`'s kernels, included once for each instruction set after tile_kernels_impl.h, by whose rules it goes.

#include "draw_kernels.h"

namespace garv {
namespace GARV_ISA {

GARV_INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }

// The low 16 bits as half precision. A number's exponent moves by a multiplication, which normalises small ones, too.
GARV_INLINE Floats from_half(Ints bits) {
  const Ints magnitude = (bits & 0x7fff) << 13;
  const Ints number = (Ints)((Floats)magnitude * 0x1p112f);
  const Ints special = magnitude | 0x7f800000;
  return (Floats)(((bits & 0x7c00) == 0x7c00 ? special : number) | ((bits & 0x8000) << 16));
}

GARV_INLINE Floats low_half(Ints word) { return from_half(word); }
GARV_INLINE Floats high_half(Ints word) { return from_half((word >> 16) & 0xffff); }

GARV_INLINE Floats magnitude(Floats v) { return (Floats)((Ints)v & 0x7fffffff); }

// Of normal numbers above 0, to 3e-6: a polynomial for mantissas from sqrt(1/2) to sqrt(2).
GARV_INLINE Floats log2_of(Floats v) {
  const Ints exponent = ((Ints)v - 0x3f3504f3) >> 23;
  const Floats f = (Floats)((Ints)v - (exponent << 23)) - 1.0f;
  Floats p = f * -0.20658033542807797f + 0.32215181933516734f;
  p = p * f - 0.3674916637950922f;
  p = p * f + 0.479348298284319f;
  p = p * f - 0.7211317944069424f;
  p = p * f + 1.4427134784172153f;
  return p * f + __builtin_convertvector(exponent, Floats);
}

GARV_INLINE Floats at_least_least(Floats v) {
  const Floats least = splat<Floats>(float(kMinSigma));
  return v < least ? least : v;  // NaN stays NaN
}

// Whether a slice's ellipse, `half` wide (squared) to either side of `at`, meets [0, size]; false for NaN.
GARV_INLINE Ints meets(Floats at, Floats half, float size) {
  const Floats outside = larger(-at, at - size);
  return (half >= 0.0f) & ((outside <= 0.0f) | (outside * outside <= half));
}

GARV_TARGET inline int slice(const int32_t* records, float time, const Grid& grid, float log2_scale, Sliced* found) {
  constexpr int kLanesHere = GARV_LANES;
  constexpr float kTwoLn2 = 1.3862943611198906f;
  const float width = grid.tiles_x * kTileSize, height = grid.tiles_y * kTileSize;
  int count = 0;
  for (int first = 0; first < kChunkSize; first += kLanesHere) {
    alignas(64) int32_t words[kRecordWords][kLanesHere];
    for (int lane = 0; lane < kLanesHere; ++lane) {
      for (int k = 0; k < kRecordWords; ++k) words[k][lane] = records[(first + lane) * kRecordWords + k];
    }
    Ints w[kRecordWords];
    for (int k = 0; k < kRecordWords; ++k) w[k] = load<Ints>(words[k]);
    const Floats u = (time - (Floats)w[2]) / at_least_least(low_half(w[3]));
    const Floats x = ((Floats)w[0] - float(grid.left)) + u * high_half(w[3]);
    const Floats y = ((Floats)w[1] - float(grid.top)) + u * low_half(w[4]);
    const Floats a = at_least_least(high_half(w[4])), b = low_half(w[5]), c = at_least_least(high_half(w[5]));
    const Floats colors[kRecordChannels] = {low_half(w[6]), high_half(w[6]), low_half(w[7]), high_half(w[7])};
    const Floats largest = larger(larger(magnitude(colors[0]), magnitude(colors[1])),
                                  larger(magnitude(colors[2]), magnitude(colors[3])));
    const Floats reach = (log2_of(largest) + log2_scale) * kTwoLn2 - u * u;
    const Ints near = (largest > 0.0f) & meets(x, reach * a * a, width) & meets(y, reach * (b * b + c * c), height);
    const Floats columns[] = {u, x, y, a, b, c, reach, colors[0], colors[1], colors[2], colors[3]};
    alignas(64) float out[11][kLanesHere];
    static_assert(sizeof(Sliced) == sizeof(float) * 11, "the columns are the numbers of a Sliced");
    for (int k = 0; k < 11; ++k) store(out[k], columns[k]);
    alignas(64) int32_t chosen[kLanesHere];
    store(chosen, near);
    for (int lane = 0; lane < kLanesHere; ++lane) {
      float* to = reinterpret_cast<float*>(found + count);
      if (chosen[lane] == 0) continue;
      for (int k = 0; k < 11; ++k) to[k] = out[k][lane];
      ++count;
    }
  }
  return count;
}

constexpr int kTaps = 6;
constexpr float kUpsamplingTaps[kTaps] = {12 / 4096.f,   212 / 4096.f, 1316 / 4096.f,
                                          1861 / 4096.f, 642 / 4096.f, 53 / 4096.f};  // _reference_draw.py

// Half a row of a tile's samples at most.
constexpr int kHalfLanes = GARV_LANES < kTileSize / 2 ? GARV_LANES : kTileSize / 2;
typedef float HalfRow __attribute__((vector_size(4 * kHalfLanes)));
typedef int32_t HalfIndex __attribute__((vector_size(4 * kHalfLanes)));

#if defined(__clang__)
#define GARV_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define GARV_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, HalfIndex{__VA_ARGS__})
#endif
#if GARV_LANES == 4
#define GARV_FIRST_PAIRS 0, 4, 1, 5
#define GARV_LAST_PAIRS 2, 6, 3, 7
#else
#define GARV_FIRST_PAIRS 0, 8, 1, 9, 2, 10, 3, 11
#define GARV_LAST_PAIRS 4, 12, 5, 13, 6, 14, 7, 15
#endif

// Interpolates between a sample and the next: `even` a quarter before the middle one of seven, `odd` a quarter after.
template <typename V>
GARV_INLINE void interpolate(const float* first, int64_t step, V& even, V& odd) {
  V samples[kTaps + 1];
  for (int k = 0; k <= kTaps; ++k) samples[k] = load<V>(first + k * step);
  even = samples[0] * kUpsamplingTaps[0];
  odd = samples[kTaps] * kUpsamplingTaps[0];
  for (int k = 1; k < kTaps; ++k) {
    even += samples[k] * kUpsamplingTaps[k];
    odd += samples[kTaps - k] * kUpsamplingTaps[k];
  }
}

GARV_TARGET inline void add_upsampled(const Planes& coarse, int channels, float* tile) {
  for (int c = 0; c < channels; ++c, tile += kTilePixels) {
    const float* samples = coarse.samples + c * coarse.size;
    alignas(64) float rows[kTileSize][kTileSize];  // as many as the tile has, their samples still the coarse ones
    for (int row = 0; row < kTileSize; row += 2) {
      for (int column = 0; column < kTileSize; column += GARV_LANES) {
        Floats even, odd;
        interpolate(samples + row / 2 * coarse.stride + column, coarse.stride, even, odd);
        store(rows[row] + column, even);
        store(rows[row + 1] + column, odd);
      }
    }
    for (int row = 0; row < kTileSize; ++row) {
      float* out = tile + row * kTileSize;
      for (int column = 0; column < kTileSize / 2; column += kHalfLanes, out += 2 * kHalfLanes) {
        HalfRow even, odd;
        interpolate(rows[row] + column, 1, even, odd);
        float* const next = out + kHalfLanes;
        store(out, load<HalfRow>(out) + GARV_SHUFFLE(even, odd, GARV_FIRST_PAIRS));
        store(next, load<HalfRow>(next) + GARV_SHUFFLE(even, odd, GARV_LAST_PAIRS));
      }
    }
  }
}

GARV_TARGET inline void to_bytes(const float* tile, int channels, uint32_t* words) {
  for (int pixel = 0; pixel < kTilePixels; pixel += GARV_LANES) {
    Ints word = {};
    for (int c = 0; c < channels; ++c) {
      Floats v = load<Floats>(tile + c * kTilePixels + pixel) * 255.0f;
      v = v > 0.0f ? v : Floats{};
      v = v < 255.0f ? v : splat<Floats>(255.0f);
      // 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
      word |= ((Ints)(v + 12582912.0f) & 0xff) << (8 * c);
    }
    store(words + pixel, word);
  }
}

constexpr DrawKernels kDraw = {slice, add_upsampled, to_bytes};

}  // namespace GARV_ISA
}  // namespace garv
