// Gaussians as a fit's kernels read them: 64 bytes each, in one place. Tiles ask for them in no order, and what counts then
// is how many loads there are and how many sectors of memory they touch.
#pragma once

#include "common.cuh"

namespace garv {

constexpr int kRowParts = 4;   // of four numbers
constexpr int kRowColors = 6;  // that there is room for

struct GaussianRow {
  float mean[3], cutoff, cholesky[6], colors[kRowColors];

  __device__ __forceinline__ static GaussianRow load(const float4* rows, int id) {
    const float4* const row = rows + int64_t(id) * kRowParts;
    const float4 a = row[0], b = row[1], c = row[2], d = row[3];
    return {{a.x, a.y, a.z}, a.w, {b.x, b.y, b.z, b.w, c.x, c.y}, {c.z, c.w, d.x, d.y, d.z, d.w}};
  }

  __device__ __forceinline__ ReachingSlice slice(const Scene& s, int frame) const {
    ReachingSlice r;
    r.slice = slice_at(mean, cholesky, s.times[frame]);
    if (s.motion != nullptr) r.slice = seen_through(s.motion[frame], r.slice);
    r.conic = conic_of(r.slice);
    r.reach = cutoff - r.slice.u * r.slice.u;
    return r;
  }
};

// A thread for each part of a row; colours from channel `first` on, 0 past the last one.
__global__ void pack_rows(Scene s, const float* colors, int channels, int first, float4* rows) {
  const int64_t k = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t id = k / kRowParts;
  if (id >= s.n) return;
  const float *mean = s.means + id * 3, *cholesky = s.cholesky + id * 6;
  const auto color = [&](int c) { return first + c < channels ? colors[id * channels + first + c] : 0.f; };
  switch (k % kRowParts) {
    case 0: rows[k] = {mean[0], mean[1], mean[2], s.cutoffs[id]}; break;
    case 1: rows[k] = {cholesky[0], cholesky[1], cholesky[2], cholesky[3]}; break;
    case 2: rows[k] = {cholesky[4], cholesky[5], color(0), color(1)}; break;
    case 3: rows[k] = {color(2), color(3), color(4), color(5)}; break;
  }
}

// Room for the rows of all Gaussians.
inline Tensor new_rows(const Scene& s, const Tensor& like) {
  return torch::stable::new_empty(like, {s.n, kRowParts * 4}, ScalarType::Float);
}

inline void launch_pack_rows(const Scene& s, const float* colors, int channels, int first, float4* rows,
                             cudaStream_t stream) {
  constexpr int kPackThreads = 256;
  const int64_t blocks = (int64_t(s.n) * kRowParts + kPackThreads - 1) / kPackThreads;
  pack_rows<<<static_cast<unsigned>(blocks), kPackThreads, 0, stream>>>(s, colors, channels, first, rows);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace garv
