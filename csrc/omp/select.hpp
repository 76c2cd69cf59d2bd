// Selection of the best atom for each of several residuals.
#pragma once

#include <cstdint>
#include <vector>

#include "dictionary/dictionary.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {

struct Choice {
    int64_t atom = -1;
    double score = 0;  // a.r/|a|

    // Larger magnitude first, lower index on ties.
    bool beats(const Choice& other) const {
        if (atom < 0) return false;
        if (other.atom < 0) return true;
        const double mine = score < 0 ? -score : score, theirs = other.score < 0 ? -other.score : other.score;
        return mine > theirs || (mine == theirs && atom < other.atom);
    }
};

// A residual and the atoms that must not be picked for it.
struct Query {
    const float* residual;                 // [padded(n)]
    const std::vector<int32_t>* excluded;  // in any order
};

// Computes the exact score of an atom from its entries `row` [padded(n)]. Returns false for a zero atom.
bool score_row(const int8_t* row, const float* residual, int64_t stride, double* score);

// Scores every atom in float64: the reference for the screening passes.
std::vector<Choice> select_exact(const Dictionary& dictionary, const std::vector<Query>& queries, Team& team);

}  // namespace coinr
