// Kernels that follow each other, started before the last one has ended (programmatic dependent launch, from compute
// capability 9.0 on): a launch's own microsecond is then over when its turn comes.
#pragma once

#include <array>
#include <atomic>

#include "common.cuh"

namespace garv {

// Lets thread blocks of the next kernel start once all of this one's have come here or are done.
__device__ __forceinline__ void allow_next_kernel() {
#if __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

// What every kernel that `launch_after` starts comes to, so that it ends after the one before it; all that the kernels
// before it wrote is there then.
__device__ __forceinline__ void wait_for_last_kernel() {
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}

// Whether the kernels that run here were compiled with the wait; the device alone does not tell. All are compiled for
// the same devices, so that one of them tells for all, once for each device.
inline bool can_chain(const void* kernel) {
  constexpr int kMostDevices = 64;
  static std::array<std::atomic<int>, kMostDevices> known;  // 0 before it is asked for, then 1 for no and 2 for yes
  int device = 0;
  STD_CUDA_CHECK(cudaGetDevice(&device));
  std::atomic<int>& answer = known[device % kMostDevices];
  if (answer == 0) {
    cudaFuncAttributes attributes;
    STD_CUDA_CHECK(cudaFuncGetAttributes(&attributes, kernel));
    answer = attributes.ptxVersion >= 90 ? 2 : 1;
  }
  return answer == 2;
}

template <typename... Parameters, typename... Arguments>
void launch_after(cudaStream_t stream, void (*kernel)(Parameters...), dim3 grid, int threads,
                  const Arguments&... arguments) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = can_chain(reinterpret_cast<const void*>(kernel)) ? 1 : 0;
  STD_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...));
}

}  // namespace garv
