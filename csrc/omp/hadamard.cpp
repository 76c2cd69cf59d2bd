#include "omp/hadamard.hpp"

#include <algorithm>
#include <cmath>

#include "simd/kernels.hpp"

namespace coinr {
namespace {

constexpr int64_t kInt16Lanes = 32;

// Transforms of 32 residuals rounded to int16 take 0.6 to 0.9 of the time of float transforms. Above this order the
// rounding leaves too many candidates; fewer residuals than this do not fill the lanes.
constexpr int64_t kInt16MaxOrder = 256, kInt16MinQueries = 20;

constexpr double kExpectedHits = 16;  // as in screen.cpp; a hit costs more here

// Rounds a threshold up to an integer; values stay within +-32767.
int16_t int16_threshold(float threshold) { return static_cast<int16_t>(std::ceil(std::min(threshold, 32767.0f))); }

}  // namespace

// One thread's state in a pass. Float transforms belong to query first_query, lane l of int16 ones to first_query + l.
struct alignas(128) HadamardScreen::Scan {
    explicit Scan(const Dictionary& d) : candidates(d), dictionary(d) {
        words.resize(d.sign_buffer_words());
    }

    void allocate(bool int16) {
        if (int16) {
            x_int16.resize(dictionary.order * kInt16Lanes);
            sign_masks.resize(padded(dictionary.n));
        } else {
            x.resize(dictionary.transform_scratch());
        }
    }

    static void hit(void* context, int64_t group, uint32_t lanes, const float* values) {
        Scan& scan = *static_cast<Scan*>(context);
        for (; lanes; lanes &= lanes - 1) {
            const int lane = __builtin_ctz(lanes);
            if (scan.add(scan.first_query, 16 * group + lane, std::fabs(values[lane])))
                scan.threshold = scan.candidates.threshold(scan.first_query);
        }
    }

    static void hit_int16(void* context, int64_t column, uint32_t lanes, const int16_t* values) {
        Scan& scan = *static_cast<Scan*>(context);
        for (; lanes; lanes &= lanes - 1) {
            const int lane = __builtin_ctz(lanes);
            const int64_t query = scan.first_query + lane;
            if (scan.add(query, column, static_cast<float>(std::abs(values[lane]))))
                scan.int16_thresholds[lane] = int16_threshold(scan.candidates.threshold(query));
        }
    }

    // Returns false for a column that belongs to no atom.
    bool add(int64_t query, int64_t column, float score) {
        const int64_t atom = block * dictionary.order + column;
        if (column >= dictionary.order || atom >= dictionary.M) return false;
        candidates.add(query, atom, score);
        return true;
    }

    void load_sign_masks() {
        kernels().sign_masks(dictionary.block_signs(block, words.data()), padded(dictionary.n), sign_masks.data());
    }

    // Unused lanes hold zero residuals, whose scores never reach a threshold of one.
    void load_int16_thresholds(int64_t query, int64_t queries) {
        first_query = query;
        for (int64_t lane = 0; lane < kInt16Lanes; ++lane)
            int16_thresholds[lane] = query + lane < queries ? int16_threshold(candidates.threshold(query + lane)) : 1;
    }

    Candidates candidates;
    const Dictionary& dictionary;
    int64_t block = 0, first_query = 0;
    float threshold = 0;
    int16_t int16_thresholds[kInt16Lanes];
    Aligned<float> x;          // see Dictionary::transform
    Aligned<int16_t> x_int16;  // [order][32]
    std::vector<uint32_t> words;
    Aligned<int16_t> sign_masks;
};

HadamardScreen::HadamardScreen(const Dictionary& dictionary, const Team& team)
    : dictionary_(dictionary), sigmas_(initial_threshold(dictionary.M, kExpectedHits)) {
    for (int rank = 0; rank < team.size(); ++rank) scans_.push_back(std::make_unique<Scan>(dictionary));
}

HadamardScreen::~HadamardScreen() = default;

int64_t HadamardScreen::lanes(const Dictionary& dictionary) {
    return dictionary.order <= kInt16MaxOrder ? kInt16Lanes : 1;
}

std::vector<Choice> HadamardScreen::select(const std::vector<Query>& queries, bool score, Team& team) {
    return select_above(queries, score, sigmas_, team);
}

void HadamardScreen::pass(const std::vector<Query>& queries, Team& team) {
    const int64_t count = static_cast<int64_t>(queries.size());
    team.for_each((dictionary_.M + dictionary_.order - 1) / dictionary_.order, 1, [&](int64_t block, int rank) {
        Scan& scan = *scans_[rank];
        scan.block = block;
        FwhtTask task = dictionary_.transform(block, scan.words.data(), scan.x.data());
        task.threshold = &scan.threshold;
        task.hit = &Scan::hit;
        task.context = &scan;
        for (int64_t v = 0; v < count; ++v) {
            scan.first_query = v;
            scan.threshold = scan.candidates.threshold(v);
            task.residual = queries[v].residual;
            kernels().fwht(task);
        }
    });
}

void HadamardScreen::pass_int16(int64_t count, Team& team) {
    const int64_t n = dictionary_.n, groups = (count + kInt16Lanes - 1) / kInt16Lanes;
    team.for_each((dictionary_.M + dictionary_.order - 1) / dictionary_.order, 1, [&](int64_t block, int rank) {
        Scan& scan = *scans_[rank];
        scan.block = block;
        scan.load_sign_masks();
        for (int64_t g = 0; g < groups; ++g) {
            scan.load_int16_thresholds(g * kInt16Lanes, count);
            kernels().fwht_int16({int16_residuals_.data() + g * padded(n) * kInt16Lanes, scan.sign_masks.data(),
                                  dictionary_.rows.data(), n, dictionary_.order, scan.x_int16.data(),
                                  scan.int16_thresholds, &Scan::hit_int16, &scan});
        }
    });
}

// Scores are a.r, all atoms having norm sqrt(n). A sum of n floats by a tree of log2 p levels is off by at most that
// many half units in the last place of sum |r_i| <= sqrt(n) |r|.
std::vector<Bound> HadamardScreen::bounds(const std::vector<Query>& queries, float sigmas, Team& team) const {
    const double levels = std::log2(static_cast<double>(dictionary_.order)) + 1;
    const double rounding = 1.01 * levels * std::ldexp(1.0, -24) * std::sqrt(static_cast<double>(dictionary_.n));
    std::vector<Bound> found(queries.size());
    team.for_each(static_cast<int64_t>(queries.size()), 16, [&](int64_t v, int) {
        const double norm = std::sqrt(kernels().energy(queries[v].residual, padded(dictionary_.n)));
        found[v] = {static_cast<float>(rounding * norm), static_cast<float>(sigmas * norm)};
    });
    return found;
}

// Scores are a.q, r = step (q + e) with q integer, and exact: off from a.r / step by at most sqrt(n) |e|.
std::vector<Bound> HadamardScreen::round(const std::vector<Query>& queries, float sigmas, Team& team) {
    const int64_t count = static_cast<int64_t>(queries.size()), n = dictionary_.n;
    const int64_t groups = (count + kInt16Lanes - 1) / kInt16Lanes;
    const Aligned<float> zeros(padded(n), 0.0f);
    int16_residuals_.resize(groups * padded(n) * kInt16Lanes);
    std::vector<Bound> found(queries.size());
    team.for_each(groups, 1, [&](int64_t g, int) {
        const float* residuals[kInt16Lanes];
        double error[kInt16Lanes], size[kInt16Lanes];
        const int64_t first = g * kInt16Lanes;
        for (int64_t lane = 0; lane < kInt16Lanes; ++lane)
            residuals[lane] = first + lane < count ? queries[first + lane].residual : zeros.data();
        kernels().round_to_int16_lanes(residuals, padded(n), int16_residuals_.data() + first * padded(n), error, size);
        for (int64_t lane = 0; lane < std::min(kInt16Lanes, count - first); ++lane)
            // The second term covers the float32 arithmetic of the rounding.
            found[first + lane] = {static_cast<float>(std::sqrt(static_cast<double>(n)) *
                                                      (1.0001 * std::sqrt(error[lane]) + 2e-6 * std::sqrt(size[lane]))),
                                   static_cast<float>(sigmas * std::sqrt(size[lane]))};
    });
    return found;
}

std::vector<Choice> HadamardScreen::select_above(const std::vector<Query>& queries, bool score, float sigmas,
                                                 Team& team) {
    const int64_t count = static_cast<int64_t>(queries.size());
    const bool int16 = dictionary_.order <= kInt16MaxOrder && count >= kInt16MinQueries;
    const std::vector<Bound> bounds = int16 ? round(queries, sigmas, team) : this->bounds(queries, sigmas, team);
    std::vector<Candidates*> candidates;
    for (std::unique_ptr<Scan>& scan : scans_) {
        scan->candidates.start(queries, bounds);
        scan->allocate(int16);
        candidates.push_back(&scan->candidates);
    }
    if (int16)
        pass_int16(count, team);
    else
        pass(queries, team);
    Decision decision(candidates, queries, bounds, score, team);
    std::vector<Query> again;
    for (size_t v = 0; v < queries.size(); ++v)
        if (decision.undecided[v]) again.push_back(queries[v]);
    if (again.empty()) return decision.choices;
    const std::vector<Choice> found = select_above(again, score, 0, team);
    for (size_t v = 0, i = 0; v < queries.size(); ++v)
        if (decision.undecided[v]) decision.choices[v] = found[i++];
    return decision.choices;
}

}  // namespace coinr
