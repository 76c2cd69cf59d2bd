#include "optimizers/orthogonal_factor.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace coinr {
namespace {

constexpr int kSteps = 4;
constexpr float kLinear = 3.4445f, kCubic = -4.7750f, kQuintic = 2.0315f;

constexpr int64_t kLine = 16;      // floats of a cache line, a multiple of the lanes of every instruction set
constexpr int64_t kStrip = kLine;  // rows of a symmetric matrix that are computed together
constexpr int64_t kRows = 64;      // rows of another one

int64_t up(int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; }

// An odd number of lines, so that a column's entries spread over the whole cache.
int64_t row_stride(int64_t columns) {
    const int64_t lines = up(columns, kLine) / kLine;
    return (lines > 4 ? lines | 1 : lines) * kLine;
}

}  // namespace

OrthogonalFactor::OrthogonalFactor(int64_t rows, int64_t columns, Team* team)
    : rows_(rows), columns_(columns), wide_(up(columns, kLine)), stride_(row_stride(columns)), team_(team),
      kernels_(*kernels().mlp), matrix_(rows * stride_), next_(rows * stride_), square_(wide_ * stride_),
      polynomial_(wide_ * stride_) {}

void OrthogonalFactor::each(int64_t count, const std::function<void(int64_t)>& body) const {
    if (team_)
        team_->for_each(count, 1, [&](int64_t i, int) { body(i); });
    else
        for (int64_t i = 0; i < count; ++i) body(i);
}

void OrthogonalFactor::load(const float* gradients, float* means, float weight) {
    const int64_t strips = up(rows_, kRows) / kRows;
    std::vector<double> sums(strips);
    const auto for_rows = [&](const std::function<void(int64_t, int64_t)>& body) {
        each(strips, [&](int64_t i) {
            for (int64_t r = i * kRows; r < std::min((i + 1) * kRows, rows_); ++r) body(i, r);
        });
    };
    for_rows([&](int64_t i, int64_t r) {
        const int64_t at = r * columns_;
        sums[i] += kernels_.mix(gradients + at, means + at, weight, columns_, &matrix_[r * stride_]);
    });
    double total = 0;
    for (double sum : sums) total += sum;
    const float factor = static_cast<float>(1 / (std::sqrt(total) + 1e-30));
    for_rows([&](int64_t, int64_t r) { kernels_.scale(&matrix_[r * stride_], factor, columns_); });
}

// out = in^T in, of `depth` rows, or the polynomial of `in` if that is A.
void OrthogonalFactor::square(const float* in, int64_t depth, float* out, bool to_polynomial) const {
    each(up(columns_, kStrip) / kStrip, [&](int64_t i) {
        const int64_t first = i * kStrip, rows = std::min(kStrip, columns_ - first), columns = wide_ - first;
        float* const strip = out + first * stride_ + first;
        Product product{in + first, false,   1,       in + first, stride_, kernels_.block_columns,
                        strip,      stride_, nullptr, nullptr,    rows,    depth,
                        columns};
        product.a_step = stride_;
        kernels_.multiply(product);
        if (to_polynomial)
            for (int64_t r = 0; r < rows; ++r) {
                kernels_.combine(strip + r * stride_, kQuintic, in + (first + r) * stride_ + first, kCubic, columns);
                strip[r * stride_ + r] += kLinear;
            }
        if (columns > kStrip)
            kernels_.mirror(strip + kStrip, kStrip, columns - kStrip, strip + kStrip * stride_, stride_);
    });
}

void OrthogonalFactor::multiply_rows(int64_t first, int64_t count) {
    kernels_.multiply({&matrix_[first * stride_], false, stride_, polynomial_.data(), stride_, kernels_.block_columns,
                       &next_[first * stride_], stride_, nullptr, nullptr, count, columns_, wide_});
}

void OrthogonalFactor::subtract_from(float* values, float rate) {
    for (int step = 0; step < kSteps; ++step) {
        square(matrix_.data(), rows_, square_.data(), false);
        square(square_.data(), columns_, polynomial_.data(), true);
        each(up(rows_, kRows) / kRows, [&](int64_t i) {
            const int64_t first = i * kRows, stop = std::min(first + kRows, rows_);
            multiply_rows(first, stop - first);
            if (step + 1 < kSteps) return;
            for (int64_t r = first; r < stop; ++r)
                kernels_.combine(values + r * columns_, 1, &next_[r * stride_], -rate, columns_);
        });
        matrix_.swap(next_);
    }
}

}  // namespace coinr
