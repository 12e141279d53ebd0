#if defined(__x86_64__)
#define GARV_ISA avx512
#define GARV_LANES 16
#define GARV_TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,prefer-vector-width=512")))
#include "tile_kernels_impl.h"
#include "draw_kernels_impl.h"

namespace garv {
const TileKernels<float> kAvx512Float = avx512::kTable<avx512::Floats>;
const DrawKernels kAvx512Draw = avx512::kDraw;
}
#endif
