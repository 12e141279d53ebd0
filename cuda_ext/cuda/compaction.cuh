// Gaussians that a test keeps, in their order: one kernel tests, one adds up, and one, for which there is memory by
// then, writes.
#pragma once

#include <cub/block/block_scan.cuh>

#include <tuple>

#include "common.cuh"

namespace garv {

constexpr int kRowThreads = 256;  // and Gaussians a thread block looks at
constexpr int kRowWarps = kRowThreads / 32;
constexpr int kSumThreads = 1024;
constexpr int kSumItems = 8;

inline int row_blocks(int64_t count) { return static_cast<int>((count + kRowThreads - 1) / kRowThreads); }

// A number that the device writes for the host, which reads it once it has waited: to copy one over takes longer. Each
// thread of the host has one.
class HostNumber {
 public:
  HostNumber() { STD_CUDA_CHECK(cudaHostAlloc(&place_, sizeof(int), cudaHostAllocPortable)); }
  ~HostNumber() { cudaFreeHost(place_); }
  HostNumber(const HostNumber&) = delete;
  HostNumber& operator=(const HostNumber&) = delete;

  int* place() const { return place_; }

 private:
  int* place_ = nullptr;
};

// What is kept: a bit for each Gaussian, and where a block's first one goes.
struct Kept {
  unsigned* masks;  // [blocks * kRowWarps]
  int* firsts;      // [blocks + 1], the last is the number of all; until they are added up each block's own number
  int* total;       // the number of all once more, where the host reads it
};

// What is kept and how it is changed; all that it reads lies on the device.
//   bool keep(int64_t n)
//   T mean(int64_t n, int column), cholesky(n, column), color(n, column): the n-th Gaussian's numbers
template <typename Part>
__global__ void __launch_bounds__(kRowThreads) find_kept(Part part, int64_t count, Kept kept) {
  const int64_t n = int64_t(blockIdx.x) * kRowThreads + threadIdx.x;
  const bool keeps = n < count && part.keep(n);
  const unsigned mask = __ballot_sync(0xffffffffu, keeps);
  if (threadIdx.x % 32 == 0) kept.masks[blockIdx.x * kRowWarps + threadIdx.x / 32] = mask;
  const int found = __syncthreads_count(keeps);
  if (threadIdx.x == 0) kept.firsts[blockIdx.x] = found;
}

// By one thread block; a template so that it may stand in a header.
template <typename = void>
__global__ void __launch_bounds__(kSumThreads) add_up(Kept kept, int blocks) {
  using Scan = cub::BlockScan<int, kSumThreads>;
  __shared__ typename Scan::TempStorage scan;
  int before = 0;
  for (int start = 0; start < blocks; start += kSumThreads * kSumItems) {
    int counts[kSumItems], total;
    const int first = start + threadIdx.x * kSumItems;
    for (int k = 0; k < kSumItems; ++k) counts[k] = first + k < blocks ? kept.firsts[first + k] : 0;
    Scan(scan).ExclusiveSum(counts, counts, total);
    for (int k = 0; k < kSumItems; ++k) {
      if (first + k < blocks) kept.firsts[first + k] = before + counts[k];
    }
    before += total;
    __syncthreads();
  }
  if (threadIdx.x > 0) return;
  kept.firsts[blocks] = before;
  *kept.total = before;
}

template <typename T>
struct Rows {
  T *means, *cholesky, *colors;  // [count, 3], [count, 6], [count, channels]
};

// A block's kept Gaussians are written number by number, so that neighbours in memory are written together.
template <typename T, typename Part>
__global__ void __launch_bounds__(kRowThreads) write_kept(Part part, int channels, Kept kept, Rows<T> rows) {
  __shared__ int ids[kRowThreads];
  const unsigned* const masks = kept.masks + blockIdx.x * kRowWarps;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int place = __popc(masks[warp] & ((1u << lane) - 1));
  for (int k = 0; k < warp; ++k) place += __popc(masks[k]);
  if (masks[warp] >> lane & 1) ids[place] = threadIdx.x;
  __syncthreads();
  const int64_t begin = int64_t(blockIdx.x) * kRowThreads, first = kept.firsts[blockIdx.x];
  const int count = kept.firsts[blockIdx.x + 1] - kept.firsts[blockIdx.x];
  for (int k = threadIdx.x; k < count * 3; k += kRowThreads) {
    rows.means[first * 3 + k] = part.mean(begin + ids[k / 3], k % 3);
  }
  for (int k = threadIdx.x; k < count * 6; k += kRowThreads) {
    rows.cholesky[first * 6 + k] = part.cholesky(begin + ids[k / 6], k % 6);
  }
  for (int k = threadIdx.x; k < count * channels; k += kRowThreads) {
    rows.colors[first * channels + k] = part.color(begin + ids[k / channels], k % channels);
  }
}

// Means, Cholesky factors and colours of what is kept of `count` Gaussians. Waits once, for their number.
template <typename T, typename Part>
std::tuple<Tensor, Tensor, Tensor> compact(const Part& part, int64_t count, int channels, const Tensor& like) {
  STD_TORCH_CHECK(count < INT32_MAX - kRowThreads, "at most 2^31 Gaussians, got ", count);
  const cudaStream_t stream = stream_of(like);
  const int blocks = row_blocks(count);
  int total = 0;
  Kept kept = {};
  Tensor space = new_tensor(like, {int64_t(blocks) * (kRowWarps + 1) + 1}, aoti_torch_dtype_int32());
  if (blocks > 0) {
    kept.firsts = static_cast<int*>(space.mutable_data_ptr());
    kept.masks = reinterpret_cast<unsigned*>(kept.firsts + blocks + 1);
    static thread_local const HostNumber number;
    kept.total = number.place();
    find_kept<<<blocks, kRowThreads, 0, stream>>>(part, count, kept);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    add_up<><<<1, kSumThreads, 0, stream>>>(kept, blocks);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    STD_CUDA_CHECK(cudaStreamSynchronize(stream));
    total = *kept.total;
  }
  Tensor means = new_tensor(like, {total, 3}), cholesky = new_tensor(like, {total, 6});
  Tensor colors = new_tensor(like, {total, channels});
  if (total > 0) {
    const Rows<T> rows = {static_cast<T*>(means.mutable_data_ptr()), static_cast<T*>(cholesky.mutable_data_ptr()),
                          static_cast<T*>(colors.mutable_data_ptr())};
    write_kept<T><<<blocks, kRowThreads, 0, stream>>>(part, channels, kept, rows);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
  return {means, cholesky, colors};
}

}  // namespace garv
