// The tensor cores' matrix products m16n8k16 and m16n8k8 (PTX ISA, mma.sync): half precision in, float32 sums.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#error \
    "the CUDA kernels need compute capability 8.0 (Ampere) or later: name one in TORCH_CUDA_ARCH_LIST, or build with GARV_BUILD_CUDA=0"
#endif

namespace garv {

constexpr unsigned kWholeWarp = 0xffffffffu;

__device__ __forceinline__ uint32_t as_word(__half2 h) { return *reinterpret_cast<const uint32_t*>(&h); }

// Products of two numbers each.
__device__ __forceinline__ uint32_t multiply(uint32_t a, uint32_t b) {
  return as_word(__hmul2(*reinterpret_cast<const __half2*>(&a), *reinterpret_cast<const __half2*>(&b)));
}

__device__ __forceinline__ uint32_t to_halves(float low, float high) { return as_word(__floats2half2_rn(low, high)); }

// What is too large becomes the largest number.
__device__ __forceinline__ __half2 to_finite_halves(float low, float high) {
  __half2 h;
  asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(*reinterpret_cast<uint32_t*>(&h)) : "f"(high), "f"(low));
  return h;
}

// sum [16 x 8] += a [16 x 16] b [16 x 8]
__device__ __forceinline__ void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8x8 matrices of halves as right-hand sides; lane k gives the place of row k % 8 of matrix k / 8 (16 bytes).
__device__ __forceinline__ void load_transposed(uint32_t (&b)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
               : "r"(address)
               : "memory");
}

// sum [16 x 8] += a [16 x 8] b [8 x 8]
__device__ __forceinline__ void multiply_add(float (&sum)[4], uint32_t a0, uint32_t a1, uint32_t b) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a0), "r"(a1), "r"(b));
}

}  // namespace garv
