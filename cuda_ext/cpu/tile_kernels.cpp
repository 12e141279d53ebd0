// What every machine has (SSE2, NEON), the plain double path, and the choice between all.
#define GARV_ISA baseline
#define GARV_LANES 4
#define GARV_TARGET
#include <cstdlib>
#include <string>

#include "tile_kernels_impl.h"
#include "draw_kernels_impl.h"

namespace garv {

const TileKernels<float> kBaselineFloat = baseline::kTable<baseline::Floats>;
const TileKernels<double> kBaselineDouble = baseline::kTable<double>;
const DrawKernels kBaselineDraw = baseline::kDraw;

namespace {

struct Kernels {
  const TileKernels<float>& tiles;
  const DrawKernels& drawing;
};

Kernels best_kernels() {
#if defined(__x86_64__)
  // torch's own switch for its kernels: default, avx2 or avx512 at most.
  const char* given = std::getenv("ATEN_CPU_CAPABILITY");
  const std::string limit = given ? given : "avx512";
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  if (limit == "avx512" && has_avx512) return {kAvx512Float, kAvx512Draw};
  if (limit != "default" && has_avx2) return {kAvx2Float, kAvx2Draw};
#endif
  return {kBaselineFloat, kBaselineDraw};
}

const Kernels& kernels() {
  static const Kernels chosen = best_kernels();
  return chosen;
}

}  // namespace

template <>
const TileKernels<float>& tile_kernels<float>() {
  return kernels().tiles;
}

template <>
const TileKernels<double>& tile_kernels<double>() {
  return kBaselineDouble;
}

const DrawKernels& draw_kernels() { return kernels().drawing; }

}  // namespace garv
