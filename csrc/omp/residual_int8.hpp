// Residuals as rows of int8 digits, packed the way Kernels::screen reads them.
#pragma once

#include <cstdint>
#include <vector>

#include "simd/aligned.hpp"
#include "omp/select.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {

struct QuantisedRows {
    // One or two digits per residual; entries are summed up to `steps` groups of four. `code_offset` is what the
    // dictionary's codes exceed its entries by, up to sign.
    QuantisedRows(const std::vector<Query>& queries, int64_t n, int64_t steps, int digits, int code_offset, Team& team);

    int digits;
    float base;
    int64_t row_bytes, row_count;
    Aligned<int8_t> rows;
    std::vector<int32_t> offset;
    std::vector<float> slack;       // bound of |integer score - exact score| in steps of the quantiser
    std::vector<float> step;        // of the quantiser
    std::vector<float> size;        // norm of the quantised residual
};

}  // namespace coinr
