// A step of Adam over rows of parameters, in place.

#include "adam.h"

#include "kernels.h"
#include "parallel.h"

namespace garv {
namespace {

constexpr int64_t kRowsAtOnce = 1024;

}  // namespace

void adam_step(Tensor rows, Tensor gradient, Tensor exp_avg, Tensor exp_avg_sq, Tensor steps, Tensor rates,
               double beta1, double beta2, double eps, bool visible_only) {
  with_dtype(rows, [&](auto zero) {
    using T = decltype(zero);
    STD_TORCH_CHECK(rows.dim() == 2, "rows must be [N, K]");
    const int64_t count = rows.size(0), columns = rows.size(1);
    const ScalarType type = rows.scalar_type();
    check_cpu(rows, "rows");
    check_floats(gradient, "gradient", type, count, columns);
    check_floats(exp_avg, "exp_avg", type, count, columns);
    check_floats(exp_avg_sq, "exp_avg_sq", type, count, columns);
    check_floats(steps, "steps", type, count, 1);
    check_floats(rates, "rates", type, columns, 0);
    const AdamSettings settings = adam_settings(beta1, beta2, eps, visible_only);
    const T *rate = rates.const_data_ptr<T>(), *g = gradient.const_data_ptr<T>();
    T *row = rows.mutable_data_ptr<T>(), *first = exp_avg.mutable_data_ptr<T>();
    T *second = exp_avg_sq.mutable_data_ptr<T>(), *step = steps.mutable_data_ptr<T>();
    for_each_parallel((count + kRowsAtOnce - 1) / kRowsAtOnce, [&](int64_t block) {
      const int64_t end = std::min(count, (block + 1) * kRowsAtOnce);
      for (int64_t n = block * kRowsAtOnce; n < end; ++n) {
        const int64_t at = n * columns;
        adam_row(settings, static_cast<int>(columns), rate, g + at, row + at, first + at, second + at, step + n);
      }
    });
  });
}

}  // namespace garv
