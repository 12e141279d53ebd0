// Body of the tile kernels, included once for each instruction set. The including file names it: GARV_ISA is a
// namespace, GARV_LANES the floats of a register, GARV_TARGET a function attribute. Every function here carries that
// attribute and sits in that namespace, so no code for a newer machine can replace a shared inline function at link
// time.

#include <cstring>

#include "tile_kernels.h"

#define GARV_INLINE GARV_TARGET __attribute__((always_inline)) inline

namespace garv {
namespace GARV_ISA {

typedef float Floats __attribute__((vector_size(4 * GARV_LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * GARV_LANES)));

template <typename V>
struct Scalar {
  using type = double;  // the plain path, one lane wide
};
template <>
struct Scalar<Floats> {
  using type = float;
};

template <typename V>
constexpr int kLanes = sizeof(V) / sizeof(typename Scalar<V>::type);

template <typename V, typename T>
GARV_INLINE V load(const T* p) {
  V v;
  std::memcpy(&v, p, sizeof(V));
  return v;
}

template <typename V, typename T>
GARV_INLINE void store(T* p, V v) {
  std::memcpy(p, &v, sizeof(V));
}

template <typename V>
GARV_INLINE V splat(typename Scalar<V>::type v) {
  return V{} + v;
}

// 2^x for |x| <= 126, relative error below 3e-7: a minimax polynomial of degree 5 for the fraction, the rest goes into
// the exponent's bits. Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
GARV_INLINE Floats exp2_small(Floats x) {
  const Floats shifted = x + 12582912.0f;
  const Floats f = x - (shifted - 12582912.0f);
  Floats p = f * 0.0013276472454890609f + 0.009675540961325169f;
  p = p * f + 0.05550713092088699f;
  p = p * f + 0.24022120237350464f;
  p = p * f + 0.6931469440460205f;
  p = p * f + 1.0000001192092896f;
  return (Floats)((Ints)p + ((Ints)shifted << 23));
}

GARV_INLINE Floats exp2_or_zero(Floats x) {  // x <= 0
  const Floats p = exp2_small(x > -125.0f ? x : splat<Floats>(-125.0f));
  return x > -125.0f ? p : Floats{};
}

GARV_INLINE Floats exp2_bounded(Floats x) {  // kept finite, and never 0
  x = x > -125.0f ? x : splat<Floats>(-125.0f);
  return exp2_small(x < 125.0f ? x : splat<Floats>(125.0f));
}

GARV_INLINE double exp2_or_zero(double x) { return std::exp2(x); }
GARV_INLINE double exp2_bounded(double x) { return std::exp2(x < 125.0 ? x : 125.0); }

// Weights along a column follow w <- w r, r <- r step, in blocks of rows that begin afresh, so that the rounding stays
// at a few 1e-6. A weight that counts (exponent below kSpent) must not have begun at 0: over n steps of ic the exponent
// falls at most from 24 + 2 n sqrt(24) ic + n^2 ic^2 to 24, and the former stays below 125 within these limits.
constexpr float kLimitOf8Rows = 0.88f;  // l_yy > 0.97 pixels
constexpr float kLimitOf4Rows = 2.05f;  // l_yy > 0.42 pixels

struct Rows {
  int first, last;
};

// Rows of the tile that are not spent, out to whole blocks; a tile buffer has rows beyond the image.
template <int Block, typename T>
GARV_INLINE Rows rows_of(const Footprint<T>& f, const TileOrigin<T>& origin) {
  const T rows = T(origin.rows), at = f.y - origin.y;
  const int first = static_cast<int>(clamped(at - f.reach_y, T(0), rows));
  const int last = static_cast<int>(clamped(at + f.reach_y + T(1), T(0), rows));
  return {first & -Block, (last + Block - 1) & -Block};
}

GARV_INLINE Rows either(Rows a, Rows b) {
  return {a.first < b.first ? a.first : b.first, a.last > b.last ? a.last : b.last};
}

// One footprint on one register's columns of a tile.
template <typename V>
struct Columns {
  V dx, base, skew;  // base = peak + z1^2; z2 = skew + ic dy
  V step;            // 2^(-2 ic^2), the ratio of the ratios of the weights of consecutive rows
};

template <typename V, typename T>
GARV_INLINE Columns<V> columns_of(const Footprint<T>& f, T x0) {
  constexpr T kOffsets[kTileSize] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const V dx = load<V>(kOffsets) + (x0 - f.x);
  const V z1 = dx * f.ia;
  return {dx, z1 * z1 + f.peak, dx * f.k, splat<V>(f.step)};
}

// Weights of a block of rows, one after the other.
template <typename V>
struct Recurrence {
  V w, r, step;

  template <typename T>
  GARV_INLINE Recurrence(const Footprint<T>& f, const Columns<V>& columns, T dy) {
    const V z2 = columns.skew + f.ic * dy;
    w = exp2_or_zero(-(columns.base + z2 * z2));
    r = exp2_bounded((z2 + z2 + f.ic) * -f.ic);
    step = columns.step;
  }

  GARV_INLINE void next() {
    w *= r;
    r *= step;
  }
};

template <typename V, int C, int Block, typename T>
GARV_INLINE void add_one(const Footprint<T>& f, const TileOrigin<T>& origin, T* tile) {
  const Rows rows = rows_of<Block>(f, origin);
  for (int column = 0; column < kTileSize; column += kLanes<V>) {
    const Columns<V> columns = columns_of<V>(f, origin.x + T(column));
    for (int row = rows.first; row < rows.last; row += Block) {
      T* p = tile + row * kTileSize + column;
      Recurrence<V> at(f, columns, origin.y - f.y + T(row));
#pragma GCC unroll 8
      for (int i = 0; i < Block; ++i) {
        for (int c = 0; c < C; ++c) {
          T* pixels = p + i * kTileSize + c * kTilePixels;
          store(pixels, load<V>(pixels) + at.w * f.color[c]);
        }
        at.next();
      }
    }
  }
}

// Two at a time: half the loads and stores of the sum, and two recurrences for the processor to overlap.
template <typename V, int C, int Block, typename T>
GARV_INLINE void add_two(const Footprint<T>& f, const Footprint<T>& g, const TileOrigin<T>& origin, T* tile) {
  const Rows rows = either(rows_of<Block>(f, origin), rows_of<Block>(g, origin));
  for (int column = 0; column < kTileSize; column += kLanes<V>) {
    const Columns<V> columns_f = columns_of<V>(f, origin.x + T(column));
    const Columns<V> columns_g = columns_of<V>(g, origin.x + T(column));
    for (int row = rows.first; row < rows.last; row += Block) {
      T* p = tile + row * kTileSize + column;
      Recurrence<V> at_f(f, columns_f, origin.y - f.y + T(row));
      Recurrence<V> at_g(g, columns_g, origin.y - g.y + T(row));
#pragma GCC unroll 8
      for (int i = 0; i < Block; ++i) {
        for (int c = 0; c < C; ++c) {
          T* pixels = p + i * kTileSize + c * kTilePixels;
          store(pixels, load<V>(pixels) + at_f.w * f.color[c] + at_g.w * g.color[c]);
        }
        at_f.next();
        at_g.next();
      }
    }
  }
}

template <typename V, int C>
GARV_TARGET void add(const Footprint<typename Scalar<V>::type>* footprints, int count,
                     TileOrigin<typename Scalar<V>::type> origin, typename Scalar<V>::type* tile) {
  for (int i = 0; i < count; ++i) {
    const auto& f = footprints[i];
    if (i + 1 < count && f.ic <= kLimitOf8Rows && footprints[i + 1].ic <= kLimitOf8Rows) {
      add_two<V, C, 8>(f, footprints[++i], origin, tile);
    } else if (f.ic <= kLimitOf8Rows) {
      add_one<V, C, 8>(f, origin, tile);
    } else if (f.ic <= kLimitOf4Rows) {
      add_one<V, C, 4>(f, origin, tile);
    } else {
      add_one<V, C, 1>(f, origin, tile);
    }
  }
}

// Sums over pixels with h = weight * (v . colour), one lane for each column modulo the register's width.
template <typename V, int C>
struct Sums {
  V s0 = V{}, sx = V{}, sy = V{}, sxx = V{}, sxy = V{}, syy = V{};
  V color[C] = {};
};

// Sums of h {1, i, i^2} over a block of rows i = 0, 1, ...; adds the colour's share to color.
template <typename V, int C, int Block, typename T>
GARV_INLINE void gather_block(const Footprint<T>& f, Recurrence<V> at, const T* v, V* color, V* sums) {
#pragma GCC unroll 8
  for (int i = 0; i < Block; ++i) {
    V product = V{};
    for (int c = 0; c < C; ++c) {
      const V pixels = load<V>(v + i * kTileSize + c * kTilePixels);
      color[c] += at.w * pixels;
      product = c == 0 ? pixels * f.color[c] : product + pixels * f.color[c];
    }
    const V h = at.w * product;
    sums[0] += h;
    sums[1] += h * T(i);
    sums[2] += h * T(i * i);
    at.next();
  }
}

template <typename V, int C, int Block, typename T>
GARV_INLINE void gather_one(const Footprint<T>& f, const TileOrigin<T>& origin, const T* v_tile, Sums<V, C>& sums) {
  const Rows rows = rows_of<Block>(f, origin);
  for (int column = 0; column < kTileSize; column += kLanes<V>) {
    const Columns<V> columns = columns_of<V>(f, origin.x + T(column));
    V h0 = V{}, h1 = V{}, h2 = V{};
    for (int row = rows.first; row < rows.last; row += Block) {
      const T dy = origin.y - f.y + T(row);
      V block[3] = {};
      gather_block<V, C, Block>(f, Recurrence<V>(f, columns, dy), v_tile + row * kTileSize + column, sums.color, block);
      h0 += block[0];
      h1 += block[0] * dy + block[1];
      h2 += (block[0] * dy + block[1] * T(2)) * dy + block[2];
    }
    const V hx = h0 * columns.dx;
    sums.s0 += h0;
    sums.sx += hx;
    sums.sy += h1;
    sums.sxx += hx * columns.dx;
    sums.sxy += h1 * columns.dx;
    sums.syy += h2;
  }
}

typedef float Quad __attribute__((vector_size(16)));

GARV_INLINE float total(Floats v) {
  float lanes[GARV_LANES];
  store(lanes, v);
  Quad quad = load<Quad>(lanes);
  for (int i = 4; i < GARV_LANES; i += 4) quad += load<Quad>(lanes + i);
  return (quad[0] + quad[1]) + (quad[2] + quad[3]);
}

GARV_INLINE double total(double v) { return v; }

template <typename V, int C>
GARV_TARGET void gather(const Footprint<typename Scalar<V>::type>& footprint, const TileIndex* tiles, int count,
                        const typename Scalar<V>::type* v_frame, int tiles_x, int height,
                        typename Scalar<V>::type* out) {
  using T = typename Scalar<V>::type;
  const Footprint<T> f = footprint;
  Sums<V, C> sums;
  for (int i = 0; i < count; ++i) {
    const TileOrigin<T> origin = tile_origin<T>(tiles[i].x, tiles[i].y, height);
    const T* v_tile = v_frame + (int64_t(tiles[i].y) * tiles_x + tiles[i].x) * (C * kTilePixels);
    if (f.ic <= kLimitOf8Rows) {
      gather_one<V, C, 8>(f, origin, v_tile, sums);
    } else if (f.ic <= kLimitOf4Rows) {
      gather_one<V, C, 4>(f, origin, v_tile, sums);
    } else {
      gather_one<V, C, 1>(f, origin, v_tile, sums);
    }
  }
  const V moments[kMomentCount] = {sums.s0, sums.sx, sums.sy, sums.sxx, sums.sxy, sums.syy};
  for (int m = 0; m < kMomentCount; ++m) out[m] += total(moments[m]);
  for (int c = 0; c < C; ++c) out[kMomentCount + c] += total(sums.color[c]);
}

template <typename V>
constexpr TileKernels<typename Scalar<V>::type> kTable = {
    {add<V, 1>, add<V, 2>, add<V, 3>, add<V, 4>, add<V, 5>, add<V, 6>, add<V, 7>, add<V, 8>},
    {gather<V, 1>, gather<V, 2>, gather<V, 3>, gather<V, 4>, gather<V, 5>, gather<V, 6>, gather<V, 7>, gather<V, 8>}};

}  // namespace GARV_ISA
}  // namespace garv
