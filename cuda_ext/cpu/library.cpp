#include <torch/csrc/stable/library.h>

#include "kernels.h"

STABLE_TORCH_LIBRARY_IMPL(garv, CPU, m) {
  m.impl("bin_gaussians", TORCH_BOX(&garv::bin_gaussians));
  m.impl("accumulate", TORCH_BOX(&garv::accumulate));
  m.impl("accumulate_bwd", TORCH_BOX(&garv::accumulate_bwd));
  m.impl("draw", TORCH_BOX(&garv::draw));
  m.impl("adam_step", TORCH_BOX(&garv::adam_step));
  m.impl("crop_gaussians", TORCH_BOX(&garv::crop_gaussians));
  m.impl("region_weights", TORCH_BOX(&garv::region_weights));
  m.impl("typical_spread", TORCH_BOX(&garv::typical_spread));
  m.impl("decode_levels", TORCH_BOX(&garv::decode_levels));
  m.impl("dequantize_levels", TORCH_BOX(&garv::dequantize_levels));
}
