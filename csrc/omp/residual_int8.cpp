#include "omp/residual_int8.hpp"

#include <algorithm>
#include <cmath>

#include "simd/kernels.hpp"

namespace coinr {
namespace {

// Largest digit for which |sum of codes * digits| stays below 2^31 for codes up to 8.
int32_t largest_digit(int64_t n) {
    return static_cast<int32_t>(std::min<int64_t>(127, ((int64_t{1} << 31) - 1) / (8 * n)));
}

}  // namespace

QuantizedRows::QuantizedRows(const std::vector<Query>& queries, int64_t n, int64_t steps, int digits_, int code_offset,
                             Team& team)
    : digits(digits_), row_bytes(4 * steps), row_count(0) {
    const int32_t top = largest_digit(n);
    base = static_cast<float>(2 * top);
    const int max_rows = kernels().screen_rows;
    const int64_t needed = static_cast<int64_t>(queries.size()) * digits;
    std::vector<int64_t> first_of(needed), block_of(needed);
    while (row_count < needed) {
        const int block = screen_rows(max_rows, needed - row_count);
        for (int64_t i = row_count; i < std::min<int64_t>(needed, row_count + block); ++i)
            first_of[i] = row_count, block_of[i] = block;
        row_count += block;
    }
    rows.assign(row_count * row_bytes, 0);
    offset.assign(row_count, 0);
    slack.assign(queries.size(), 0.0f);
    step.assign(queries.size(), 0.0f);
    size.assign(queries.size(), 0.0f);
    const Kernels& kernel = kernels();
    const int32_t range = digits == 2 ? top * 2 * top : top;
    team.for_each(static_cast<int64_t>(queries.size()), 8, [&](int64_t v, int) {
        const float* r = queries[v].residual;
        const float largest = kernel.max_abs(r, padded(n));
        if (largest == 0) return;
        step[v] = largest / static_cast<float>(range);
        int8_t* to[2] = {nullptr, nullptr};
        int64_t stride[2] = {0, 0};
        for (int d = 0; d < digits; ++d) {
            const int64_t row = v * digits + d;
            to[d] = rows.data() + first_of[row] * row_bytes + (row - first_of[row]) * 4;
            stride[d] = 4 * block_of[row];
        }
        QuantizeSums sums;
        kernel.quantize(r, n, static_cast<float>(range) / largest, digits, base, to, stride, &sums);
        for (int d = 0; d < digits; ++d) offset[v * digits + d] = static_cast<int32_t>(sums.sum[d] * code_offset);
        size[v] = static_cast<float>(std::sqrt(sums.size));
        // The second term covers the float32 arithmetic of the quantizer and of the integer scores.
        slack[v] = static_cast<float>(1.0001 * std::sqrt(sums.error) + 2e-6 * std::sqrt(sums.size));
    });
}

}  // namespace coinr
