// A step of Adam over rows of parameters, in place: a thread a row.
#include "adam.h"

#include "common.cuh"

namespace garv {
namespace {

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads)
    move_rows(AdamSettings settings, int count, int columns, const float* __restrict__ rates,
              const float* __restrict__ gradient, float* __restrict__ rows, float* __restrict__ first,
              float* __restrict__ second, float* __restrict__ steps) {
  const int n = blockIdx.x * kThreads + threadIdx.x;
  if (n >= count) return;
  const int64_t at = int64_t(n) * columns;
  adam_row(settings, columns, rates, gradient + at, rows + at, first + at, second + at, steps + n);
}

void adam_step(const Tensor& rows, const Tensor& gradient, const Tensor& exp_avg, const Tensor& exp_avg_sq,
               const Tensor& steps, const Tensor& rates, double beta1, double beta2, double eps, bool visible_only) {
  STD_TORCH_CHECK(rows.dim() == 2, "rows must be [N, K]");
  const int64_t count = rows.size(0), columns = rows.size(1);
  STD_TORCH_CHECK(count < INT32_MAX - kThreads, "at most 2^31 rows, got ", count);
  for (const auto& [tensor, name] : {std::pair(&rows, "rows"), std::pair(&gradient, "gradient"),
                                     std::pair(&exp_avg, "exp_avg"), std::pair(&exp_avg_sq, "exp_avg_sq")}) {
    check_tensor(*tensor, ScalarType::Float, {count, columns}, name);
  }
  check_tensor(steps, ScalarType::Float, {count, 1}, "steps");
  check_tensor(rates, ScalarType::Float, {columns}, "rates");
  if (count == 0) return;
  const DeviceGuard guard(rows.get_device_index());
  move_rows<<<static_cast<unsigned>((count + kThreads - 1) / kThreads), kThreads, 0, stream_of(rows)>>>(
      adam_settings(beta1, beta2, eps, visible_only), static_cast<int>(count), static_cast<int>(columns),
      static_cast<const float*>(rates.const_data_ptr()), static_cast<const float*>(gradient.const_data_ptr()),
      static_cast<float*>(rows.mutable_data_ptr()), static_cast<float*>(exp_avg.mutable_data_ptr()),
      static_cast<float*>(exp_avg_sq.mutable_data_ptr()), static_cast<float*>(steps.mutable_data_ptr()));
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(garv, CUDA, m) { m.impl("adam_step", TORCH_BOX(&adam_step)); }

}  // namespace garv
