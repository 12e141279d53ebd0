// Adam (Kingma and Ba, 2015) for one row of parameters, written once for the host and the device.
#pragma once

#include "gaussian.h"

namespace garv {

struct AdamSettings {
  double log2_beta1, log2_beta2;  // of the decays of the gradients' means and squares
  double beta1, beta2, eps;
  bool visible_only;  // whether a row without any gradient stays as it is
};

template <typename T>
GARV_HD void adam_row(const AdamSettings& a, int columns, const T* rates, const T* gradient, T* row, T* first,
                      T* second, T* steps) {
  bool seen = !a.visible_only;
  for (int k = 0; k < columns; ++k) seen = seen || gradient[k] != T(0);
  if (!seen) return;
  *steps += T(1);
  const T beta1 = T(a.beta1), beta2 = T(a.beta2), eps = T(a.eps);
  const T scale1 = T(1) / (T(1) - exp2(*steps * T(a.log2_beta1)));  // bias corrections
  const T scale2 = T(1) / (T(1) - exp2(*steps * T(a.log2_beta2)));
  for (int k = 0; k < columns; ++k) {
    const T g = gradient[k];
    first[k] += (T(1) - beta1) * (g - first[k]);
    second[k] += (T(1) - beta2) * (g * g - second[k]);
    row[k] -= rates[k] * scale1 * first[k] / (sqrt(second[k] * scale2) + eps);
  }
}

inline AdamSettings adam_settings(double beta1, double beta2, double eps, bool visible_only) {
  return {std::log2(beta1), std::log2(beta2), beta1, beta2, eps, visible_only};
}

}  // namespace garv
