// Choice of the integers that levels.hpp codes where errors of a row add up in a quadratic form.
#pragma once

#include <cstdint>
#include <vector>

namespace coinr {

struct ShapedProblem {
    int64_t rows, columns;
    const double* matrix;         // [rows, columns]
    const double* steps;          // [rows, columns]
    const double* weight;         // [rows, columns]: bits that a squared error of one step costs
    const double* feedback;       // [columns, columns], upper triangular with a unit diagonal
    const double* bits;           // as in trellis.hpp
    int64_t tables, entries;
    const uint8_t* table;         // [rows, columns]: which table an element uses
};

// Integers [rows, columns] of about the least sum of weight * ((E feedback) / step)^2 + bits, E the errors, by a
// Viterbi search over all elements in order in which each survivor carries what its own errors ask of the elements
// after them (per-survivor processing; Raheli, Polydoros and Tzou, 1995).
std::vector<int32_t> choose_shaped_levels(int log_states, const ShapedProblem& problem);

}  // namespace coinr
