// Residuals as rows of int8 digits, in the layout of Kernels::screen.
#pragma once

#include <cstdint>
#include <vector>

#include "omp/select.hpp"
#include "simd/aligned.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {

struct QuantizedRows {
    // One or two digits per residual; entries are summed up to `steps` groups of four. `code_offset` is
    // the difference between the codes and the entries of the dictionary, up to sign.
    QuantizedRows(const std::vector<Query>& queries, int64_t n, int64_t steps, int digits, int code_offset, Team& team);

    int digits;
    float base;
    int64_t row_bytes, row_count;
    Aligned<int8_t> rows;
    std::vector<int32_t> offset;
    std::vector<float> slack;       // bound of |integer score - exact score| in steps of the quantizer
    std::vector<float> step;        // of the quantizer
    std::vector<float> size;        // norm of the quantized residual
};

}  // namespace coinr
