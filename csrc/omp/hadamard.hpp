// Selection for `hadamard`: every score of a block of atoms by one fast Walsh-Hadamard transform of the signed
// residual, M log2 p operations for M atoms instead of n M.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dictionary/dictionary.hpp"
#include "omp/candidates.hpp"
#include "omp/select.hpp"
#include "simd/aligned.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {

class HadamardScreen {
public:
    // Allocates for every member of the team that calls select.
    HadamardScreen(const Dictionary& dictionary, const Team& team);
    ~HadamardScreen();

    // The number of residuals that one transform takes if there are many.
    static int64_t lanes(const Dictionary& dictionary);

    // As Screen::select. The screen uses the bound of the rounding error of its float or int16 transform.
    std::vector<Choice> select(const std::vector<Query>& queries, bool score, Team& team);

private:
    struct Scan;
    std::vector<Choice> select_above(const std::vector<Query>& queries, bool score, float sigmas, Team& team);
    void pass(const std::vector<Query>& queries, Team& team);
    void pass_int16(int64_t count, Team& team);
    std::vector<Bound> bounds(const std::vector<Query>& queries, float sigmas, Team& team) const;
    std::vector<Bound> round(const std::vector<Query>& queries, float sigmas, Team& team);

    const Dictionary& dictionary_;
    float sigmas_;  // as in Screen
    std::vector<std::unique_ptr<Scan>> scans_;
    Aligned<int16_t> int16_residuals_;  // [groups][padded(n)][32]
};

}  // namespace coinr
