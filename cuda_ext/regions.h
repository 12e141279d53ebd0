// Which Gaussians a part of a video needs, written once for the host and the device. Everything is in the unit cube,
// boxes of pixels and frames apart.
#pragma once

#include <torch/headeronly/util/Exception.h>

#include <vector>

#include "gaussian.h"

namespace garv {

// Standard deviations along x, y and t of a Cholesky factor in the axis order (t, x, y).
template <typename T>
GARV_HD void standard_deviations(const T* cholesky, T (&deviations)[3]) {
  deviations[0] = std::sqrt(cholesky[1] * cholesky[1] + cholesky[3] * cholesky[3]);
  deviations[1] = std::sqrt(cholesky[2] * cholesky[2] + cholesky[4] * cholesky[4] + cholesky[5] * cholesky[5]);
  deviations[2] = cholesky[0] < T(0) ? -cholesky[0] : cholesky[0];
}

template <typename T>
GARV_HD T of_axis(const T (&v)[3], int axis) {  // by a choice: an index would put them into slow memory on the device
  return axis == 0 ? v[0] : axis == 1 ? v[1] : v[2];
}

// How frames see the plane that the Gaussians lie in, one after the other; no frames where nothing moves.
template <typename T>
struct PlaneMaps {
  const PlaneMap<T>* maps;  // [frames]
  int frames;

  // In proportion between two frames, before the first and after the last one theirs.
  GARV_HD PlaneMap<T> at(T time) const {
    const T place = clamped(time * T(frames) - T(0.5), T(0), T(frames - 1));
    const int before = static_cast<int>(place), after = before + 1 < frames ? before + 1 : before;
    const T part = place - T(before);
    const PlaneMap<T> a = maps[before], b = maps[after];
    return {a.xx + part * (b.xx - a.xx), a.xy + part * (b.xy - a.xy), a.yx + part * (b.yx - a.yx),
            a.yy + part * (b.yy - a.yy), a.x + part * (b.x - a.x),    a.y + part * (b.y - a.y)};
  }
};

template <typename T>
struct Gaussian {
  T mean[3], cholesky[6];  // as tensors have them
};

// A Gaussian as frames see it at its mean time, moving as they see it move from a standard deviation of time before it
// to one after it.
template <typename T>
GARV_HD Gaussian<T> as_seen(const PlaneMaps<T>& maps, const T* mean, const T* cholesky) {
  const T x = mean[0], y = mean[1], t = mean[2], tt = cholesky[0], xt = cholesky[1], yt = cholesky[2];
  if (maps.frames == 0) return {{x, y, t}, {tt, xt, yt, cholesky[3], cholesky[4], cholesky[5]}};
  const PlaneMap<T> before = maps.at(t - tt), now = maps.at(t), later = maps.at(t + tt);
  const T way_x = (later.seen_x(x + xt, y + yt) - before.seen_x(x - xt, y - yt)) / T(2);
  const T way_y = (later.seen_y(x + xt, y + yt) - before.seen_y(x - xt, y - yt)) / T(2);
  const Factor2d<T> factor = factor_through(now, cholesky[3], cholesky[4], cholesky[5]);
  return {{now.seen_x(x, y), now.seen_y(x, y), t}, {tt, way_x, way_y, factor.a, factor.b, factor.c}};
}

// A box of whole pixels and frames, and what carries Gaussians into it.
template <typename T>
struct CropBox {
  T size[3];              // of the video along x, y, t, in pixels and frames
  T first[3], last[3];    // what the box sees of the Gaussians' plane, likewise
  T scale[3], offset[3];  // from the video's unit cube to the box's
  T threshold;

  // Whether a Gaussian adds `threshold` of white somewhere in what the box sees.
  GARV_HD bool reached_by(const T* mean, const T* cholesky, const T* color, int channels) const {
    T largest = T(0);
    for (int c = 0; c < channels; ++c) {
      const T value = color[c] < T(0) ? -color[c] : color[c];
      largest = value > largest ? value : largest;
    }
    const T times = largest / threshold;
    const T radius = std::sqrt(T(2) * std::log(times < T(1) ? T(1) : times));  // NaN stays NaN, and is nowhere
    T deviations[3];
    standard_deviations(cholesky, deviations);
    bool reached = true;
    for (int k = 0; k < 3; ++k) {
      const T middle = mean[k] * size[k], half = radius * (deviations[k] * size[k]);
      reached = reached && middle - half <= last[k] && middle + half >= first[k];
    }
    return reached;
  }

  GARV_HD T mean(int axis, T value) const { return value * of_axis(scale, axis) + of_axis(offset, axis); }

  // Of column k of a Cholesky factor: its rows are t, x, x-y.
  GARV_HD T cholesky(int k, T value) const { return value * of_axis(scale, k == 0 ? 2 : k == 1 || k == 3 ? 0 : 1); }
};

// low and high: of the box in whole pixels and frames; first and last: of what it sees of the Gaussians' plane; size:
// of the video.
template <typename T>
CropBox<T> crop_box(const std::vector<int64_t>& size, const std::vector<int64_t>& low, const std::vector<int64_t>& high,
                    const std::vector<double>& first, const std::vector<double>& last, double threshold) {
  STD_TORCH_CHECK(size.size() == 3 && low.size() == 3 && high.size() == 3 && first.size() == 3 && last.size() == 3,
                  "size, low, high, first and last must be an x, y and t");
  CropBox<T> box;
  for (int k = 0; k < 3; ++k) {
    const double extent = double(high[k] - low[k]);
    STD_TORCH_CHECK(extent > 0, "the box must hold pixels and frames");
    box.size[k] = T(size[k]);
    box.first[k] = T(first[k]);
    box.last[k] = T(last[k]);
    box.scale[k] = T(size[k] / extent);
    box.offset[k] = T(-low[k] / extent);
  }
  box.threshold = T(threshold);
  return box;
}

// The boxes of a region as columns: x0, y0, t0, x1, y1, t1, and the latest t1 of a box and those before it. They are
// sorted by t0.
template <typename T>
struct RegionBoxes {
  const T* columns;  // [7, count]
  int count;

  GARV_HD T at(int column, int box) const { return columns[int64_t(column) * count + box]; }

  // The first box whose number in a column, which rises, is at least v; or above it.
  template <bool kAbove>
  GARV_HD int first_box(int column, T v) const {
    int low = 0, high = count;
    while (low < high) {
      const int middle = (low + high) / 2;
      const T found = at(column, middle);
      const bool before = kAbove ? found <= v : found < v;
      low = before ? middle + 1 : low;
      high = before ? high : middle;
    }
    return low;
  }
};

template <typename T>
GARV_HD T past(T v, T low, T high) {  // how far v lies from [low, high], with its sign
  return v < low ? v - low : v > high ? v - high : T(0);
}

// 1 up to `feather` units around the region, then over as much to 0. Distances are those of the closest of a Gaussian's
// mean and the places of its picture a standard deviation of time before and after. The unit is `spread`, or `narrower`
// times the Gaussian's own standard deviation where that is larger.
template <typename T>
GARV_HD T region_weight(const RegionBoxes<T>& boxes, const Gaussian<T>& seen, const T* spread, T narrower, T feather) {
  T unit[3];
  standard_deviations(seen.cholesky, unit);
  for (int k = 0; k < 3; ++k) {
    const T own = unit[k] * narrower;
    unit[k] = own < spread[k] ? spread[k] : own;
  }
  const T inverse[3] = {T(1) / unit[0], T(1) / unit[1], T(1) / unit[2]};
  const T near = feather * feather, far = T(4) * near, span = T(2) * feather * unit[2], t = seen.mean[2];
  const int last = boxes.template first_box<true>(2, t + span);
  T closest = far;
  for (int box = boxes.template first_box<false>(6, t - span); box < last && closest > near; ++box) {
    const T dt = past(t, boxes.at(2, box), boxes.at(5, box)) * inverse[2];
    if (!(dt * dt < closest)) continue;
    const T x0 = boxes.at(0, box), y0 = boxes.at(1, box), x1 = boxes.at(3, box), y1 = boxes.at(4, box);
    for (int side = -1; side <= 1; ++side) {
      const T dx = past(seen.mean[0] + side * seen.cholesky[1], x0, x1) * inverse[0];
      const T dy = past(seen.mean[1] + side * seen.cholesky[2], y0, y1) * inverse[1];
      const T distance = dx * dx + dy * dy + dt * dt;
      closest = distance < closest ? distance : closest;
    }
  }
  if (!(closest < far)) return T(0);
  return closest <= near ? T(1) : T(2) - std::sqrt(closest) / feather;
}

}  // namespace garv
