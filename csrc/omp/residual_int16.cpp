#include "omp/residual_int16.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "simd/kernels.hpp"

namespace coinr {

// With r = step (q + e), q integer, a.r / |a| differs from step a.q / |a| by at most step |e|.
void Int16Residual::set(const float* r, const Dictionary& dictionary) {
    const Kernels& kernel = kernels();
    stride_ = padded(dictionary.n);
    norm2_ = dictionary.kind == Kind::gaussian ? 0.0 : static_cast<double>(dictionary.n);
    rounded_.resize(stride_);
    const float inverse = std::min(32767.0f / kernel.max_abs(r, stride_), std::numeric_limits<float>::max());
    double size = 0;
    const double error = kernel.round_i16(r, stride_, inverse, rounded_.data(), &size);
    step_ = 1.0 / static_cast<double>(inverse);
    slack_ = step_ * (1.0001 * std::sqrt(error) + 2e-6 * std::sqrt(size));  // the second term: float32 arithmetic
}

double Int16Residual::score(const int8_t* row) const {
    const Kernels& kernel = kernels();
    const double norm2 = norm2_ > 0 ? norm2_ : static_cast<double>(kernel.dot_i8(row, row, stride_));
    const int64_t product = kernel.dot_i8_i16(row, rounded_.data(), stride_);
    return step_ * std::fabs(static_cast<double>(product)) / std::sqrt(norm2);
}

}  // namespace coinr
