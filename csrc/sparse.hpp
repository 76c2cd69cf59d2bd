// Rate-distortion pursuit: sparse codes with integer values, chosen atom by atom on the true residual.
#pragma once

#include <cstdint>
#include <vector>

#include "dictionary.hpp"

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
    std::vector<double> energy;       // [B]: |x - A q|^2
};

// Codes of the vectors X [B, n], given in steps (finite, below 2^20 in magnitude). An atom is added while it lowers the
// price; after each one all integers are chosen anew, one at a time, those that are not worth their bits leaving.
// Each sweep then gives every atom up in turn for the best one in its place.
SparseCodes pursue(const Dictionary& dictionary, const float* X, int64_t B, const Price& price, int sweeps,
                   int threads);

}  // namespace coinr
