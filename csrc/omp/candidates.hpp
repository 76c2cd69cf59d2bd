// Candidates of a screening pass: atoms whose approximate score may still win, and the exact decision among them.
#pragma once

#include <cstdint>
#include <vector>

#include "dictionary/dictionary.hpp"
#include "omp/select.hpp"
#include "simd/aligned.hpp"
#include "simd/kernels.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {

// Returns the threshold, in standard deviations, that about `expected` of M normal scores exceed in magnitude; 0 for
// small M.
float initial_threshold(int64_t M, double expected);

// Error bound and threshold of a query, in the units of the approximate scores.
struct Bound {
    float slack = 0;  // |approximate score - exact score| is at most this
    float floor = 0;  // scores below it are not added; 0 for none
};

// One thread's candidates for every query of a pass.
class Candidates {
public:
    explicit Candidates(const Dictionary& dictionary) : dictionary_(dictionary), row_(padded(dictionary.n)) {}

    void start(const std::vector<Query>& queries, const std::vector<Bound>& bounds);

    // Add the magnitude of an atom's score; never called for a zero atom. raise_threshold() does not keep the atom.
    void raise_threshold(int64_t query, int64_t atom, float score);
    void add(int64_t query, int64_t atom, float score);

    float threshold(int64_t query) const { return threshold_[query]; }
    const float* thresholds() const { return threshold_.data(); }  // [queries], updated by add

private:
    static constexpr int kMaxHits = 16;  // per query before pruning
    struct Hit {
        int32_t atom;
        float score;
        bool allowed;  // checked against the support; unchecked atoms are checked in drop_excluded
    };
    struct QueryHits {
        float best = 0;
        int count = 0;
        Hit hits[kMaxHits];
        Choice exact;  // best of the candidates already scored in float64

        void prune(float threshold);
        void drop_excluded(const Query& query);
    };
    void score_exactly(QueryHits& found, const Query& query);
    friend struct Decision;

    const Dictionary& dictionary_;
    const std::vector<Query>* queries_ = nullptr;
    const std::vector<Bound>* bounds_ = nullptr;
    std::vector<float> threshold_;
    std::vector<QueryHits> found_;
    Aligned<int8_t> row_;
};

// The best atom for each query from the candidates of every thread. Without `score`, the score of an atom
// that is the only candidate is NaN. undecided[v] is set, and choice v is void, if a candidate may lie below the floor.
struct Decision {
    std::vector<Choice> choices;
    std::vector<char> undecided;

    Decision(const std::vector<Candidates*>& threads, const std::vector<Query>& queries,
             const std::vector<Bound>& bounds, bool score, Team& team);
};

}  // namespace coinr
