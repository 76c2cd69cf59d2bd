// Trellis quantization with error feedback: the error of a row is a quadratic form.
#pragma once

#include <cstdint>
#include <vector>

namespace coinr {

struct FeedbackProblem {
    int64_t rows, columns;
    const double* matrix;         // [rows, columns]
    const double* steps;          // [rows, columns]
    const double* weight;         // [rows, columns]: bits per squared error of one step
    const double* feedback;       // [columns, columns], upper triangular with a unit diagonal
    const double* bits;           // as in trellis.hpp
    int64_t tables, entries;
    const uint8_t* table;         // [rows, columns]: which table an element uses
};

// Returns integers [rows, columns] that about minimize the sum of weight * ((E feedback) / step)^2 + bits, where E are
// the errors. A Viterbi search visits all elements in order; the errors of each survivor shift its own later targets
// (per-survivor processing; Raheli, Polydoros and Tzou, 1995).
std::vector<int32_t> choose_levels_with_feedback(int log_states, const FeedbackProblem& problem);

}  // namespace coinr
