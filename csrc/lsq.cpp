#include "lsq.hpp"

#include <algorithm>
#include <cmath>

#include "kernels.hpp"

namespace coinr {
namespace {

// An atom is in the span of its support when the squared sine of the angle between them is below this.
constexpr double kSpan = 1e-10;
constexpr double kRefresh = 1e-2;
constexpr double kLevels = 1 << 20;  // of the coefficients of a residual update

}  // namespace

int scale_exponent(const float* w, int64_t n) {
    float largest = 0;
    for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(w[i]));
    int exponent = 0;
    if (largest > 0) std::frexp(largest, &exponent);
    return exponent;
}

void Pursuit::start(const Dictionary& dictionary, const float* w, int64_t s) {
    n_ = dictionary.n;
    stride_ = padded(n_);
    support_.clear();
    z_.clear();
    support_.reserve(s);
    z_.reserve(s);
    atoms_.resize(s * stride_);
    basis_.resize(s * (s + 1) / 2);
    gram_.resize(s + 1);
    coefficients_.resize(s + 1);
    update_.resize(s + 1);
    w_.assign(stride_, 0.0f);
    exponent_ = scale_exponent(w, n_);
    for (int64_t i = 0; i < n_; ++i) w_[i] = std::ldexp(w[i], -exponent_);
    r_ = w_;
    energy_ = input_energy_ = refreshed_energy_ = kernels().energy(r_.data(), stride_);
}

bool Pursuit::contains(int64_t atom) const {
    return std::find(support_.begin(), support_.end(), static_cast<int32_t>(atom)) != support_.end();
}

bool Pursuit::add(const Dictionary& dictionary, int64_t atom, double floor) {
    const Kernels& kernel = kernels();
    const int64_t k = size();
    int8_t* row = atoms_.data() + k * stride_;
    dictionary.row(atom, row);
    const double norm2 = kernel.dot_i8(row, row, stride_);
    const double product = kernel.dot_i8_f32(row, r_.data(), stride_);
    if (std::fabs(product) <= floor * std::sqrt(norm2)) return false;
    kernel.gram(atoms_.data(), row, k, stride_, gram_.data());
    // Gram-Schmidt in coefficients: l_i = q_i . a, q_k = (a - sum_i l_i q_i) / rho.
    std::fill_n(coefficients_.begin(), k, 0.0);
    double inside = 0;
    for (int64_t i = 0; i < k; ++i) {
        const double* v = basis_.data() + i * (i + 1) / 2;
        const double l = kernel.dot_f64(v, gram_.data(), i + 1);
        kernel.axpy_f64(-l, v, i + 1, coefficients_.data());
        inside += l * l;
    }
    const double rho2 = norm2 - inside;
    if (!(rho2 > kSpan * norm2)) return false;
    coefficients_[k] = 1.0;
    const double inverse = 1.0 / std::sqrt(rho2);
    double* v = basis_.data() + k * (k + 1) / 2;
    for (int64_t i = 0; i <= k; ++i) v[i] = coefficients_[i] * inverse;
    const double z = product * inverse;
    // The coefficients of the update in integers: exact sums, the same on every processor.
    double largest = 0;
    for (int64_t i = 0; i <= k; ++i) largest = std::max(largest, std::fabs(v[i]));
    const double to_integer = kLevels / largest;
    for (int64_t i = 0; i <= k; ++i) update_[i] = static_cast<int32_t>(std::lrint(v[i] * to_integer));
    kernel.subtract(atoms_.data(), update_.data(), k + 1, stride_, z * (largest / kLevels), r_.data());
    support_.push_back(static_cast<int32_t>(atom));
    z_.push_back(z);
    energy_ = kernel.energy(r_.data(), stride_);
    if (energy_ < kRefresh * refreshed_energy_) refresh();
    return true;
}

void Pursuit::refresh() {
    const Kernels& kernel = kernels();
    const int64_t k = size();
    for (int64_t i = 0; i < k; ++i)
        gram_[i] = kernel.dot_i8_f32(atoms_.data() + i * stride_, w_.data(), stride_);
    for (int64_t i = 0; i < k; ++i) z_[i] = kernel.dot_f64(basis_.data() + i * (i + 1) / 2, gram_.data(), i + 1);
    const std::vector<double> x = solution();
    kernel.residual(atoms_.data(), x.data(), k, stride_, w_.data(), r_.data());
    energy_ = refreshed_energy_ = kernel.energy(r_.data(), stride_);
}

std::vector<double> Pursuit::solution() const {
    std::vector<double> x(support_.size(), 0.0);
    for (int64_t i = 0; i < size(); ++i) kernels().axpy_f64(z_[i], basis_.data() + i * (i + 1) / 2, i + 1, x.data());
    return x;
}

}  // namespace coinr
