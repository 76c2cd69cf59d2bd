// Selection for `hadamard`: every score of a block of atoms by one fast Walsh-Hadamard transform of the signed
// residual, M log2 p operations for M atoms instead of n M.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "simd/aligned.hpp"
#include "omp/candidates.hpp"
#include "dictionary/dictionary.hpp"
#include "omp/select.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {

class HadamardScreen {
public:
    // Room for every member of the team that select is called with.
    HadamardScreen(const Dictionary& dictionary, const Team& team);
    ~HadamardScreen();

    // How many residuals a transform takes where there are many.
    static int64_t lanes(const Dictionary& dictionary);

    // As Screen::select; the transform, of floats or of residuals rounded to int16, is screened with the bound of its
    // rounding error.
    std::vector<Choice> select(const std::vector<Query>& queries, bool score, Team& team);

private:
    struct Scan;
    std::vector<Choice> select_above(const std::vector<Query>& queries, bool score, float height, Team& team);
    void pass(const std::vector<Query>& queries, Team& team);
    void pass_short(int64_t count, Team& team);
    std::vector<Bound> bounds(const std::vector<Query>& queries, float height, Team& team) const;
    std::vector<Bound> round(const std::vector<Query>& queries, float height, Team& team);

    const Dictionary& dictionary_;
    float height_;  // as in Screen
    std::vector<std::unique_ptr<Scan>> scans_;
    Aligned<int16_t> shorts_;  // [groups][padded(n)][32]
};

}  // namespace coinr
