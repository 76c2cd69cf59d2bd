// Rate-distortion pursuit: sparse codes with integer values, chosen atom by atom on the true residual.
#pragma once

#include <cstdint>
#include <vector>

#include "dictionary/dictionary.hpp"

namespace coinr {

// What a code costs, in squared steps: distortion + lambda * bits.
struct Price {
    double lambda;
    std::vector<double> set_bits;    // [s + 1]: of a set of k atoms
    std::vector<double> value_bits;  // [entries]: of an integer of magnitude 1, 2, ...; grows with 2 log2 beyond

    double value(int64_t magnitude) const;
};

struct SparseCodes {
    std::vector<int32_t> counts;      // [B]
    std::vector<int32_t> indices, q;  // [B, s]: indices ascending, zeros after the atoms of a vector
};

// Codes of the vectors X [B, n], given in steps (finite, below 2^20 in magnitude), over a hadamard dictionary.
//
// A beam search: of each vector the `beam` cheapest codes are kept, each grown by the atoms of largest correlation as
// long as that lowers the price. After each atom all integers are chosen anew, one at a time, those that are not worth
// their bits leaving. A beam of 1 is matching pursuit.
SparseCodes pursue(const Dictionary& dictionary, const float* X, int64_t B, const Price& price, int beam, int threads);

}  // namespace coinr
