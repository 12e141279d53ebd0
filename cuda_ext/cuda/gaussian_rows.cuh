// Gaussians as a fit's kernels read them: 64 bytes each, in one place. Tiles ask for them in no order, and what counts
// then is how many loads there are and how many sectors of memory they touch.
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
    return reaching(s, frame, slice_at(mean, cholesky, s.times[frame]), cutoff);
  }
};

// Has a row brought near for a load to come; none for an id below 0.
__device__ __forceinline__ void fetch_row(const float4* rows, int id) {
  if (id >= 0) asm volatile("prefetch.global.L1 [%0];" ::"l"(rows + int64_t(id) * kRowParts));
}

// Room for the rows of all Gaussians.
inline Tensor new_rows(const Scene& s, const Tensor& like) {
  return torch::stable::new_empty(like, {s.n, kRowParts * 4}, ScalarType::Float);
}

// Writes the rows of all Gaussians, with kRowColors of their `channels` colours from channel `first` on; 0 past the
// last.
void pack_rows(const Scene& s, const float* colors, int channels, int first, float4* rows, cudaStream_t stream);

}  // namespace garv
