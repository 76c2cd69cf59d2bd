// Lazy selection: one pass over the dictionary serves many atoms of a pursuit.
//
// A pass keeps the K largest scores. When the residual r has lost energy E, the score of an atom that is not picked
// has changed by a.d/|a|, where |d|^2 = E; for atoms independent of d that change has variance E / n. A score that
// was c is therefore taken to be at most c + kSigmas sqrt(E / n), and the K-th score bounds all atoms that were not
// kept. Only atoms whose bound reaches the best score are scored again. A new pass is made when the best score is
// below the bound of the atoms that were not kept. This is the only step of the engine that relies on a random
// dictionary (with 5 standard deviations); `exact` does without it.
#pragma once

#include <cstdint>
#include <vector>

#include "omp/least_squares.hpp"
#include "omp/residual_int16.hpp"
#include "omp/select.hpp"
#include "simd/aligned.hpp"

namespace coinr {

struct Hit {
    int32_t atom;
    float score;

    bool before(const Hit& other) const {
        return score > other.score || (score == other.score && atom < other.atom);
    }
};

// Collects the K largest of a stream of scores.
class TopScores {
public:
    // Collects `keep` of the scores that reach `threshold`.
    void start(int64_t keep, float threshold);
    void add(int64_t atom, float score) {
        if (score < threshold_) return;
        hits_.push_back({static_cast<int32_t>(atom), score});
        if (hits_.size() == 2 * keep_) prune();
    }
    void merge(const TopScores& other);
    // Returns the largest `keep`, in the order of their atoms; `floor` bounds every other score.
    const std::vector<Hit>& finish(float* floor);
    float threshold() const { return threshold_; }

private:
    void prune();

    size_t keep_ = 0;
    float threshold_ = 0;
    std::vector<Hit> hits_;
};

// The scores that a pursuit has kept from its last pass.
class LazyCandidates {
public:
    // Scores that a pass keeps: fewer need more passes, more are scored again more often; M / 10 was the fastest.
    // The pass collects scores above `sigmas` standard deviations, which 1.25 times as many normal scores exceed.
    static int64_t keep(int64_t M);
    // Bytes of the scores of one vector, including those that each thread collects in a pass.
    static int64_t bytes(int64_t M, int threads);
    static float sigmas(int64_t M);
    static constexpr double kSigmas = 5.0;

    // Scores are |a.q|/|a| in units of `step`, each within `slack` of its exact value.
    void refill(TopScores& scores, float step, float slack, const Pursuit& pursuit);

    enum class Next {
        found,
        stale,      // a new pass is needed
        undecided,  // even right after a pass: more than K atoms tie within its slack, or no score is high enough
    };
    // Finds the best atom for the current residual; its score is not set. `rows` is scratch, [padded(n)] per member.
    Next next(const Dictionary& dictionary, const Pursuit& pursuit, Aligned<int8_t>* rows, Team& team,
              Choice* choice);

private:
    struct Item {
        int32_t atom;
        int32_t energy_index;   // index into energies_
        double score;   // upper bound of the magnitude at that energy
    };
    struct Contender {
        int32_t atom;
        double score;  // int16
    };
    Choice best_of(const Dictionary& dictionary, const Pursuit& pursuit, double threshold, int8_t* row) const;

    bool filled_ = false;
    double floor_ = 0;              // upper bound of the other scores, at energies_[0]
    std::vector<double> energies_;  // residual energies at which atoms were scored
    std::vector<double> margins_;
    std::vector<Item> items_;
    Int16Residual int16_residual_;
    std::vector<Contender> contenders_;  // for one pick
};

// Returns whether lazy selection is faster for `queries` vectors. The margins fall with sqrt(n): a pass serves 6 picks
// at n = 1024 and 18 at 4096. It is up to 9 times as fast: from n = 1024 on for any number of vectors, below only for
// few vectors, for which a pass is expensive. Timings over n are in bench/results/omp_scaling.json.
bool lazy_selection_pays(const Dictionary& dictionary, int64_t queries);

}  // namespace coinr
