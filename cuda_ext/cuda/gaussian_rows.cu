#include "gaussian_rows.cuh"

namespace garv {
namespace {

constexpr int kPackThreads = 256;

__global__ void __launch_bounds__(kPackThreads)
    pack_each(Scene s, const float* colors, int channels, int first, float4* rows) {
  const int64_t id = int64_t(blockIdx.x) * kPackThreads + threadIdx.x;
  if (id >= s.n) return;
  const float *mean = s.means + id * 3, *cholesky = s.cholesky + id * 6;
  float color[kRowColors];
#pragma unroll
  for (int c = 0; c < kRowColors; ++c) color[c] = first + c < channels ? colors[id * channels + first + c] : 0.f;
  float4* const row = rows + id * kRowParts;
  row[0] = {mean[0], mean[1], mean[2], s.cutoffs[id]};
  row[1] = {cholesky[0], cholesky[1], cholesky[2], cholesky[3]};
  row[2] = {cholesky[4], cholesky[5], color[0], color[1]};
  row[3] = {color[2], color[3], color[4], color[5]};
}

}  // namespace

void pack_rows(const Scene& s, const float* colors, int channels, int first, float4* rows, cudaStream_t stream) {
  const int64_t blocks = (int64_t(s.n) + kPackThreads - 1) / kPackThreads;
  pack_each<<<static_cast<unsigned>(blocks), kPackThreads, 0, stream>>>(s, colors, channels, first, rows);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace garv
