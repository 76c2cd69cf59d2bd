// Candidates of a screened pass: atoms whose approximate score may still win, and the exact decision among them.
#pragma once

#include <cstdint>
#include <vector>

#include "simd/aligned.hpp"
#include "dictionary/dictionary.hpp"
#include "simd/kernels.hpp"
#include "omp/select.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {

// The height in standard deviations that about `passing` of M normal scores pass in magnitude; 0 for small M.
float usual_height(int64_t M, double passing);

// What a pass knows of a query before it starts, in the units of its approximate scores.
struct Bound {
    float slack = 0;  // |approximate score - exact score| is at most this
    float floor = 0;  // scores below it are not offered; 0 for none
};

// One thread's candidates for every query of a pass.
class Candidates {
public:
    explicit Candidates(const Dictionary& dictionary) : dictionary_(dictionary), row_(padded(dictionary.n)) {}

    void start(const std::vector<Query>& queries, const std::vector<Bound>& bounds);

    // A score magnitude that came up for an atom (not a zero atom). raise() only lifts the threshold.
    void raise(int64_t query, int64_t atom, float score);
    void offer(int64_t query, int64_t atom, float score);

    float threshold(int64_t query) const { return threshold_[query]; }
    const float* thresholds() const { return threshold_.data(); }  // [queries], kept up to date by offer

private:
    static constexpr int kHits = 16;  // kept before they are thinned
    struct Hit {
        int32_t atom;
        float score;
        bool allowed;  // known to be; others are looked up when they are still in question at the end
    };
    struct Found {
        float best = 0;
        int count = 0;
        Hit hits[kHits];
        Choice exact;  // best of the candidates already scored in float64

        void thin(float threshold);
        void drop_excluded(const Query& query);
    };
    void settle(Found& found, const Query& query);
    friend struct Decision;

    const Dictionary& dictionary_;
    const std::vector<Query>* queries_ = nullptr;
    const std::vector<Bound>* bounds_ = nullptr;
    std::vector<float> threshold_;
    std::vector<Found> found_;
    Aligned<int8_t> row_;
};

// The best atom for each query from the candidates of every thread. Without `score`, an atom that had no rival has
// score NaN. missed[v] is set, and choice v void, where a candidate may lie below the floor.
struct Decision {
    std::vector<Choice> choices;
    std::vector<char> missed;

    Decision(const std::vector<Candidates*>& threads, const std::vector<Query>& queries,
             const std::vector<Bound>& bounds, bool score, Team& team);
};

}  // namespace coinr
