// The best few atoms of a hadamard dictionary for each of several residuals.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dictionary/dictionary.hpp"
#include "simd/aligned.hpp"

namespace coinr {

struct Scored {
    int32_t atom;
    float score;  // a.r

    // Larger magnitude first, lower index on ties.
    bool before(const Scored& other) const {
        const float mine = score < 0 ? -score : score, theirs = other.score < 0 ? -other.score : other.score;
        return mine > theirs || (mine == theirs && atom < other.atom);
    }
};

class TopAtoms {
public:
    // Throws std::invalid_argument unless the dictionary is hadamard.
    TopAtoms(const Dictionary& dictionary, int keep);

    // Returns the min(keep, M) atoms of largest |a.r| for each residual [padded(n)] (zeros from n on), best first.
    // Scores are those of a float32 transform.
    std::vector<std::vector<Scored>> find(const std::vector<const float*>& residuals);

private:
    static void hit(void* context, int64_t group, uint32_t lanes, const float* values);
    void add_hits(int64_t column, uint32_t lanes, const float* values);
    void add(std::vector<Scored>& best, Scored found) const;

    const Dictionary& dictionary_;
    const size_t keep_;
    std::vector<std::vector<Scored>> found_;  // of each residual, the worst first: a heap
    Aligned<float> scratch_;
    std::vector<uint32_t> words_;
    float threshold_ = 0;
    size_t query_ = 0;
    int64_t first_atom_ = 0;
};

}  // namespace coinr
