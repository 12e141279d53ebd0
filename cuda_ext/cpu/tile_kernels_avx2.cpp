#if defined(__x86_64__)
#define GARV_ISA avx2
#define GARV_LANES 8
#define GARV_TARGET __attribute__((target("avx2,fma")))
#include "tile_kernels_impl.h"
#include "draw_kernels_impl.h"

namespace garv {
const TileKernels<float> kAvx2Float = avx2::kTable<avx2::Floats>;
const DrawKernels kAvx2Draw = avx2::kDraw;
}
#endif
