// Rate-distortion optimal choice of the integers that levels.hpp codes.
#pragma once

#include <cstdint>
#include <vector>

namespace coinr {

// Returns the integers k [count] = argmin sum of weight (x - value(k))^2 + bits(k), by the Viterbi algorithm.
//   x        targets in steps [count]
//   weight   bits per squared error of one step, one for each target or, of size 1, one for all
//   bits     [tables, 2, entries]: bits of |k| by quantizer; beyond the last entry grows with log2
//   table    which table a target uses [count], or null for the first
//   closed   whether the last integer must lead to state 0, so that another sequence can follow; needs as many targets
//            as log_states
std::vector<int32_t> choose_levels(int log_states, const double* x, int64_t count, const std::vector<double>& weight,
                                   const double* bits, int64_t tables, int64_t entries, const uint8_t* table,
                                   bool closed = false);

}  // namespace coinr
