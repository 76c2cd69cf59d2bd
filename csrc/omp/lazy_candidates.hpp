// Lazy selection: one pass over the dictionary serves many atoms of a pursuit.
//
// A pass keeps the K largest scores. While the residual r loses energy E, the score of an atom that is not picked
// changes by a.d/|a|, where |d|^2 = E; for atoms drawn independently of d that change has variance E / n. A score
// last seen as c is therefore taken to be at most c + kSigmas sqrt(E / n), the K-th score bounding all the atoms not
// kept, and only atoms whose bound reaches the best exact score are scored again. When even that best lies under the
// bound of the atoms not kept, a new pass is due. This is the one step of the engine that rests on the dictionary
// being random (5 standard deviations); `exact` goes without it.
#pragma once

#include <cstdint>
#include <vector>

#include "simd/aligned.hpp"
#include "omp/least_squares.hpp"
#include "omp/residual_int16.hpp"
#include "omp/select.hpp"

namespace coinr {

struct Hit {
    int32_t atom;
    float score;

    bool before(const Hit& other) const {
        return score > other.score || (score == other.score && atom < other.atom);
    }
};

// The K largest of a stream of scores.
class TopScores {
public:
    // Of the scores that reach `threshold`.
    void start(int64_t keep, float threshold);
    void offer(int64_t atom, float score) {
        if (score < threshold_) return;
        hits_.push_back({static_cast<int32_t>(atom), score});
        if (hits_.size() == 2 * keep_) thin();
    }
    void merge(const TopScores& other);
    // Leaves the largest `keep`, in the order of their atoms; `floor` bounds every score that is not among them.
    const std::vector<Hit>& finish(float* floor);
    float threshold() const { return threshold_; }

private:
    void thin();

    size_t keep_ = 0;
    float threshold_ = 0;
    std::vector<Hit> hits_;
};

// What a pursuit remembers of its last pass.
class LazyScores {
public:
    // Scores that a pass keeps: fewer mean more passes, more mean more atoms looked at again (measured: M / 10). They
    // are the largest of those that are `height` standard deviations high, as a quarter more of normal scores are.
    static int64_t keep(int64_t M);
    // What the scores of one vector take, those of every thread's part of a pass included.
    static int64_t bytes(int64_t M, int threads);
    static float height(int64_t M);
    static constexpr double kSigmas = 5.0;

    // Scores are |a.q|/|a| in units of `step`, each within `slack` of its exact value.
    void refill(TopScores& scores, float step, float slack, const Pursuit& pursuit);

    enum class Next {
        found,
        stale,      // a new pass is due
        undecided,  // the pass has just been made: more than K atoms tie within its slack, or none is high enough
    };
    // The best atom now, with no score. `rows` is scratch, [padded(n)] for each member of the team.
    Next next(const Dictionary& dictionary, const Pursuit& pursuit, Aligned<int8_t>* rows, Team& team,
              Choice* choice);

private:
    struct Item {
        int32_t atom;
        int32_t seen;   // index into energies_
        double score;   // upper bound of the magnitude when seen
    };
    struct Rival {
        int32_t atom;
        double score;  // rough
    };
    Choice best_of(const Dictionary& dictionary, const Pursuit& pursuit, double threshold, int8_t* row) const;

    bool filled_ = false;
    double floor_ = 0;              // upper bound of the scores not kept, at energies_[0]
    std::vector<double> energies_;  // residual energies at which scores were seen
    std::vector<double> margins_;
    std::vector<Item> items_;
    RoughResidual rough_;
    std::vector<Rival> rivals_;  // of one pick
};

// Whether lazy passes pay for `queries` vectors. The margins fall with sqrt(n): a pass serves 6 picks at n = 1024 and
// 18 at 4096. Measured: up to 9 times as fast, from n = 1024 on for any number of vectors, below for few, which make a
// pass dear.
bool lazy_pays(const Dictionary& dictionary, int64_t queries);

}  // namespace coinr
