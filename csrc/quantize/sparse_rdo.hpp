// Rate-distortion optimized matching pursuit: sparse codes with integer values, chosen atom by atom.
#pragma once

#include <cstdint>
#include <vector>

#include "dictionary/dictionary.hpp"

namespace coinr {

// The rate of a code. Its cost, in squared steps, is distortion + lambda * bits.
struct RateModel {
    double lambda;
    std::vector<double> set_bits;    // [s + 1]: bits of a set of k atoms
    std::vector<double> value_bits;  // [entries]: bits of magnitude 1, 2, ...; grows with 2 log2 beyond

    double value(int64_t magnitude) const;
};

struct SparseCodes {
    std::vector<int32_t> counts;      // [B]
    std::vector<int32_t> indices, q;  // [B, s]: indices ascending, zeros after the atoms of a vector
};

// Computes codes of the vectors X [B, n], given in steps (finite, below 2^20 in magnitude), over a hadamard dictionary.
//
// A beam search keeps the `beam` cheapest codes of each vector, and extends each by the atoms of largest correlation
// as long as that lowers the cost. After each atom all integers are optimized again, one at a time; atoms that are not
// worth their bits are dropped. A beam of 1 is matching pursuit.
SparseCodes pursue(const Dictionary& dictionary, const float* X, int64_t B, const RateModel& rate, int beam,
                   int threads);

}  // namespace coinr
