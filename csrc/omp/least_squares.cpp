#include "omp/least_squares.hpp"

#include <algorithm>
#include <cmath>

#include "simd/kernels.hpp"

namespace coinr {
namespace {

// An atom counts as in the span of the support if the squared sine of the angle between them is at most this.
constexpr double kDependent = 1e-10;
// The residual is recomputed when its energy has fallen by this factor.
constexpr double kRefresh = 1e-2;
// Coefficients of a residual update are rounded to this many levels.
constexpr double kLevels = 1 << 20;

// Offset and length of row k of the basis: see Kernels::project.
int64_t basis_start(int64_t k) {
    const int64_t group = k / kSignGroup;
    return kSignGroup * (group + 1) * (4 * group + k % kSignGroup);
}
int64_t basis_length(int64_t k) { return padded_to_group(k + 1); }

// Rows of the basis in one piece of work.
constexpr int64_t kBasisRows = 64;

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
    row_.resize(stride_);
    atoms_.start(dictionary, s);
    basis_.resize(basis_start(padded_to_group(s)));
    for (Aligned<double>* buffer : {&gram_, &inner_, &coefficients_}) buffer->resize(padded_to_group(s));
    update_.resize(padded_to_group(s));
    w_.assign(stride_, 0.0f);
    exponent_ = scale_exponent(w, n_);
    for (int64_t i = 0; i < n_; ++i) w_[i] = std::ldexp(w[i], -exponent_);
    r_ = w_;
    Team serial(1);  // start() runs on one thread
    energy_ = input_energy_ = refreshed_energy_ = coinr::energy(r_.data(), stride_, serial);
}

bool Pursuit::add(const Dictionary& dictionary, int64_t atom, double floor, Team& team) {
    const Kernels& kernel = kernels();
    const int64_t k = size();
    dictionary.row(atom, row_.data());
    const double norm2 = kernel.dot_i8(row_.data(), row_.data(), stride_);
    const double product = kernel.dot_i8_f32(row_.data(), r_.data(), stride_);
    if (std::fabs(product) <= floor * std::sqrt(norm2)) return false;
    // Gram-Schmidt in coefficients: l_i = q_i . a, q_k = (a - sum_i l_i q_i) / rho.
    atoms_.gram(row_.data(), gram_.data(), team);
    const double rho2 = norm2 - project(team);
    if (!(rho2 > kDependent * norm2)) return false;
    const double inverse = 1.0 / std::sqrt(rho2), z = product * inverse;
    if (k % kSignGroup == 0) std::fill_n(coefficients_.begin() + k, kSignGroup, 0.0);
    coefficients_[k] = 1.0;
    // Integer coefficients make the sums exact, and equal on every processor.
    const double largest = kernel.basis_row(coefficients_.data(), k + 1, inverse, kLevels,
                                            basis_.data() + basis_start(k), update_.data());
    atoms_.add(row_.data());
    energy_ = atoms_.subtract(update_.data(), z * (largest / kLevels), r_.data(), team);
    support_.push_back(static_cast<int32_t>(atom));
    z_.push_back(z);
    if (energy_ < kRefresh * refreshed_energy_) refresh(team);
    return true;
}

double Pursuit::project(Team& team) {
    const int64_t k = size(), pieces = (k + kBasisRows - 1) / kBasisRows, stride = padded_to_group(k);
    if (pieces <= 1) return kernels().project(basis_.data(), gram_.data(), 0, k, inner_.data(), coefficients_.data());
    partial_.resize(pieces * stride);
    std::vector<double> energies(pieces);
    team.for_each_static(pieces, [&](int64_t i, int) {
        const int64_t piece = pieces - 1 - i, first = piece * kBasisRows;  // the longest rows first
        energies[piece] = kernels().project(basis_.data() + basis_start(first), gram_.data(), first,
                                            std::min(first + kBasisRows, k), inner_.data(),
                                            partial_.data() + piece * stride);
    });
    std::fill_n(coefficients_.begin(), stride, 0.0);
    double energy = 0;
    for (int64_t piece = 0; piece < pieces; ++piece) {
        const double* part = partial_.data() + piece * stride;
        for (int64_t i = 0; i < std::min((piece + 1) * kBasisRows, stride); ++i) coefficients_[i] += part[i];
        energy += energies[piece];
    }
    return energy;
}

void Pursuit::refresh(Team& team) {
    const Kernels& kernel = kernels();
    atoms_.correlate(w_.data(), gram_.data(), team);
    for (int64_t i = 0; i < size(); ++i)
        z_[i] = kernel.dot_f64(basis_.data() + basis_start(i), gram_.data(), basis_length(i));
    const std::vector<double> x = solution();
    atoms_.residual(x.data(), w_.data(), r_.data(), team);
    energy_ = refreshed_energy_ = coinr::energy(r_.data(), stride_, team);
}

std::vector<double> Pursuit::solution() const {
    std::vector<double> x(padded_to_group(size()), 0.0);
    for (int64_t i = 0; i < size(); ++i)
        kernels().axpy_f64(z_[i], basis_.data() + basis_start(i), basis_length(i), x.data());
    x.resize(size());
    return x;
}

}  // namespace coinr
