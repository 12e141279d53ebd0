// The math of one Gaussian, written once for the host and the device.
//
// Everything here is in pixels and frames. A Gaussian is its mean (x, y, t), the lower-triangular Cholesky factor L of
// its covariance in the axis order (t, x, y) and its colour.
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define GARV_HD __host__ __device__ __forceinline__
#else
#define GARV_HD inline
#endif

namespace garv {

constexpr int kTileSize = 16;   // pixels; ops/_reference.py holds the same number
constexpr int kBlockSize = 32;  // pixels; of the squares of tiles that Gaussians are listed for first, on CUDA
constexpr int kMaxChannels = 8;
// Pixels or frames. Below a thousandth of a pixel a Gaussian is a spike between the samples; dividing by less would
// take squared distances of long videos out of float32's range.
constexpr double kMinSigma = 1e-3;

template <typename T>
GARV_HD T at_least_min_sigma(T v) {
  return v < T(kMinSigma) ? T(kMinSigma) : v;  // NaN stays NaN, so that such a Gaussian drops out
}

// A Gaussian conditioned on one time (GaRV eqs. 5, 6): with u = (t - mu_t) / l_tt the mean moves by u (l_xt, l_yt), the
// weight is exp(-u^2 / 2) and the 2D Cholesky factor is the trailing block of L itself.
template <typename T>
struct Slice {
  T u;        // standard deviations between the slice and the Gaussian's mean time
  T x, y;     // 2D mean, pixels
  T a, b, c;  // 2D Cholesky factor: l_xx, l_yx, l_yy, pixels
};

template <typename T>
GARV_HD Slice<T> slice_at(const T* mean, const T* cholesky, T t) {
  Slice<T> s;
  s.u = (t - mean[2]) / at_least_min_sigma(cholesky[0]);
  s.x = mean[0] + s.u * cholesky[1];
  s.y = mean[1] + s.u * cholesky[2];
  s.a = at_least_min_sigma(cholesky[3]);
  s.b = cholesky[4];
  s.c = at_least_min_sigma(cholesky[5]);
  return s;
}

// How a frame sees the plane that the Gaussians lie in: (p, q) at (xx p + xy q + x, yx p + yy q + y), in pixels.
template <typename T>
struct PlaneMap {
  T xx, xy, yx, yy, x, y;

  GARV_HD T seen_x(T p, T q) const { return xx * p + xy * q + x; }
  GARV_HD T seen_y(T p, T q) const { return yx * p + yy * q + y; }
};

// A 2D Cholesky factor: l_xx, l_yx, l_yy.
template <typename T>
struct Factor2d {
  T a, b, c;
};

// The factor L of a covariance through a map: M L made triangular again.
template <typename T>
GARV_HD Factor2d<T> factor_through(const PlaneMap<T>& m, T a, T b, T c) {
  const T p = m.xx * a + m.xy * b, q = m.xy * c, r = m.yx * a + m.yy * b, v = m.yy * c;
  const T wide = std::sqrt(p * p + q * q), inverse = T(1) / wide;
  return {wide, (p * r + q * v) * inverse, (p * v - q * r) * inverse};
}

template <typename T>
GARV_HD Slice<T> seen_through(const PlaneMap<T>& m, const Slice<T>& s) {
  const Factor2d<T> factor = factor_through(m, s.a, s.b, s.c);
  Slice<T> seen;
  seen.u = s.u;
  seen.x = m.seen_x(s.x, s.y);
  seen.y = m.seen_y(s.x, s.y);
  seen.a = at_least_min_sigma(factor.a);
  seen.b = factor.b;
  seen.c = at_least_min_sigma(factor.c);
  return seen;
}

// The squared distance of the slice is A dx^2 + 2 B dx dy + C dy^2.
template <typename T>
struct Conic {
  T A, B, C;
};

template <typename T>
GARV_HD Conic<T> conic_of(const Slice<T>& s) {
  const T ia = T(1) / s.a, ic = T(1) / s.c;
  const T k = -s.b * ia * ic;  // L^-1 = [[ia, 0], [k, ic]]
  return {ia * ia + k * k, k * ic, ic * ic};
}

// A NaN among v and low gives low: bounds that are NaN stay so, and a NaN before a conversion to int does not.
template <typename T>
GARV_HD T clamped(T v, T low, T high) {
  return v > low ? (v < high ? v : high) : low;
}

// Smallest squared distance from the slice's mean to the pixel centres of a box at (x, y), in pixels.
// A convex quadratic has its minimum over a rectangle on an edge that faces its centre.
template <typename T>
GARV_HD T box_distance(const Slice<T>& s, const Conic<T>& q, int x, int y, int width, int height) {
  const T x0 = T(x) + T(0.5) - s.x, x1 = x0 + T(width - 1);
  const T y0 = T(y) + T(0.5) - s.y, y1 = y0 + T(height - 1);
  const T dx = clamped(T(0), x0, x1), dy = clamped(T(0), y0, y1);
  const T ey = clamped(-q.B / q.C * dx, y0, y1);
  const T ex = clamped(-q.B / q.A * dy, x0, x1);
  const T on_vertical = q.A * dx * dx + T(2) * q.B * dx * ey + q.C * ey * ey;
  const T on_horizontal = q.A * ex * ex + T(2) * q.B * ex * dy + q.C * dy * dy;
  // Inside along x (dx = 0) the vertical candidate is the centre line, which is no edge but never below the minimum.
  return on_vertical < on_horizontal ? on_vertical : on_horizontal;
}

template <typename T>
GARV_HD T tile_distance(const Slice<T>& s, const Conic<T>& q, int tile_x, int tile_y) {
  return box_distance(s, q, tile_x * kTileSize, tile_y * kTileSize, kTileSize, kTileSize);
}

// Tiles [x0, x1) x [y0, y1) that the ellipse of squared radius `reach` can touch. Conservative; tile_distance decides.
struct TileRange {
  int x0, y0, x1, y1;
};

template <typename T>
GARV_HD int to_tile(T pixel, int tiles) {  // clamped before the conversion: pixel may be infinite
  return static_cast<int>(clamped(std::floor(pixel / T(kTileSize)), T(0), T(tiles)));
}

template <typename T>
GARV_HD TileRange tiles_of(const Slice<T>& s, T reach, int tiles_x, int tiles_y) {
  const T r = std::sqrt(reach);
  const T hx = r * s.a, hy = r * std::sqrt(s.b * s.b + s.c * s.c);
  return {to_tile(s.x - hx, tiles_x), to_tile(s.y - hy, tiles_y), to_tile(s.x + hx + T(kTileSize), tiles_x),
          to_tile(s.y + hy + T(kTileSize), tiles_y)};
}

// Sums over pixels of h = (dL/dpixel . colour) w exp(-d/2), from which every geometric gradient follows.
template <typename T>
struct Moments {
  T s0, sx, sy, sxx, sxy, syy;  // sum of h {1, dx, dy, dx^2, dx dy, dy^2}
};

// The moments in the Gaussians' plane of those in a frame.
template <typename T>
GARV_HD Moments<T> moments_in_plane(const PlaneMap<T>& m, const Moments<T>& k) {
  const T one = T(1) / (m.xx * m.yy - m.xy * m.yx);
  const T a = m.yy * one, b = -m.xy * one, c = -m.yx * one, d = m.xx * one;  // the map back
  return {k.s0,
          a * k.sx + b * k.sy,
          c * k.sx + d * k.sy,
          a * a * k.sxx + T(2) * a * b * k.sxy + b * b * k.syy,
          a * c * k.sxx + (a * d + b * c) * k.sxy + b * d * k.syy,
          c * c * k.sxx + T(2) * c * d * k.sxy + d * d * k.syy};
}

// Chain rule from the moments to the nine geometric parameters; adds to grad[0..2] (mean) and grad[3..8] (cholesky).
template <typename T>
GARV_HD void geometry_gradient(const Slice<T>& s, const Conic<T>& q, const T* cholesky, const Moments<T>& m, T* grad) {
  const T vx = q.A * m.sx + q.B * m.sy;
  const T vy = q.B * m.sx + q.C * m.sy;
  const T vu = vx * cholesky[1] + vy * cholesky[2] - s.u * m.s0;
  const T itt = T(1) / at_least_min_sigma(cholesky[0]);
  const T ia = T(1) / s.a, ic = T(1) / s.c, bac = s.b * ia * ic;
  const T vA = T(-0.5) * m.sxx, vB = -m.sxy, vC = T(-0.5) * m.syy;
  grad[0] += vx;
  grad[1] += vy;
  grad[2] -= vu * itt;
  grad[3] -= cholesky[0] > T(kMinSigma) ? vu * s.u * itt : T(0);
  grad[4] += s.u * vx;
  grad[5] += s.u * vy;
  grad[6] -= cholesky[3] > T(kMinSigma) ? (T(2) * q.A * vA + q.B * vB) * ia : T(0);
  grad[7] += (T(2) * bac * vA - ic * vB) * ia * ic;
  grad[8] -= cholesky[5] > T(kMinSigma) ? T(2) * ic * (bac * bac * vA - bac * ic * vB + ic * ic * vC) : T(0);
}

}  // namespace garv
