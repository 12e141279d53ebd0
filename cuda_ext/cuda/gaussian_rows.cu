// Packs the rows that a fit's forward and backward read; gaussian_rows.cuh says why there are rows.
#include "gaussian_rows.cuh"

namespace garv {
namespace {

constexpr int kPackThreads = 256;

// A thread for each part of a row, so that neighbours write to neighbouring places.
__global__ void __launch_bounds__(kPackThreads)
    pack_parts(Scene s, const float* colors, int channels, int first, float4* rows) {
  const int64_t k = int64_t(blockIdx.x) * kPackThreads + threadIdx.x, id = k / kRowParts;
  if (id >= s.n) return;
  const float *mean = s.means + id * 3, *cholesky = s.cholesky + id * 6;
  const auto color = [&](int c) { return first + c < channels ? colors[id * channels + first + c] : 0.f; };
  switch (k % kRowParts) {
    case 0:
      rows[k] = {mean[0], mean[1], mean[2], s.cutoffs[id]};
      break;
    case 1:
      rows[k] = {cholesky[0], cholesky[1], cholesky[2], cholesky[3]};
      break;
    case 2:
      rows[k] = {cholesky[4], cholesky[5], color(0), color(1)};
      break;
    case 3:
      rows[k] = {color(2), color(3), color(4), color(5)};
      break;
  }
}

}  // namespace

void pack_rows(const Scene& s, const float* colors, int channels, int first, float4* rows, cudaStream_t stream) {
  const int64_t blocks = (int64_t(s.n) * kRowParts + kPackThreads - 1) / kPackThreads;
  pack_parts<<<static_cast<unsigned>(blocks), kPackThreads, 0, stream>>>(s, colors, channels, first, rows);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace garv
