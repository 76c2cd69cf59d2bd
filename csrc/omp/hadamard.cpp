#include "omp/hadamard.hpp"

#include <algorithm>
#include <cmath>

#include "simd/kernels.hpp"

namespace coinr {
namespace {

constexpr int64_t kShortLanes = 32;

// Transforms of residuals rounded to short integers, 32 at a time, take 0.6 to 0.9 of the time. They pay up to this
// order, beyond which the rounding leaves too many candidates, and from this many residuals on, which fill their lanes.
constexpr int64_t kShortOrder = 256, kShortQueries = 20;

constexpr double kPassing = 16;  // as in screen.cpp; hits are dearer here

// The least integer that is not below a threshold, where values stay within +-32767.
int16_t short_threshold(float threshold) { return static_cast<int16_t>(std::ceil(std::min(threshold, 32767.0f))); }

}  // namespace

// One thread's side of a pass. Floats are of query first_query, lane l of shorts of query first_query + l.
struct alignas(128) HadamardScreen::Scan {
    explicit Scan(const Dictionary& d) : candidates(d), dictionary(d) {
        words.resize(d.drawn_words());
    }

    void make_room(bool shorts) {
        if (shorts) {
            x_short.resize(dictionary.order * kShortLanes);
            flips.resize(padded(dictionary.n));
        } else {
            x.resize(dictionary.transform_room());
        }
    }

    static void hit(void* context, int64_t group, uint32_t lanes, const float* values) {
        Scan& scan = *static_cast<Scan*>(context);
        for (; lanes; lanes &= lanes - 1) {
            const int lane = __builtin_ctz(lanes);
            if (scan.offer(scan.first_query, 16 * group + lane, std::fabs(values[lane])))
                scan.threshold = scan.candidates.threshold(scan.first_query);
        }
    }

    static void hit_short(void* context, int64_t column, uint32_t lanes, const int16_t* values) {
        Scan& scan = *static_cast<Scan*>(context);
        for (; lanes; lanes &= lanes - 1) {
            const int lane = __builtin_ctz(lanes);
            const int64_t query = scan.first_query + lane;
            if (scan.offer(query, column, static_cast<float>(std::abs(values[lane]))))
                scan.short_thresholds[lane] = short_threshold(scan.candidates.threshold(query));
        }
    }

    // False for a column that no atom has.
    bool offer(int64_t query, int64_t column, float score) {
        const int64_t atom = block * dictionary.order + column;
        if (column >= dictionary.order || atom >= dictionary.M) return false;
        candidates.offer(query, atom, score);
        return true;
    }

    void load_flips() {
        kernels().flips(dictionary.block_signs(block, words.data()), padded(dictionary.n), flips.data());
    }

    // Residuals of no query are zero, and never reach one.
    void load_short_thresholds(int64_t query, int64_t queries) {
        first_query = query;
        for (int64_t lane = 0; lane < kShortLanes; ++lane)
            short_thresholds[lane] = query + lane < queries ? short_threshold(candidates.threshold(query + lane)) : 1;
    }

    Candidates candidates;
    const Dictionary& dictionary;
    int64_t block = 0, first_query = 0;
    float threshold = 0;
    int16_t short_thresholds[kShortLanes];
    Aligned<float> x;          // see Dictionary::transform
    Aligned<int16_t> x_short;  // [order][32]
    std::vector<uint32_t> words;
    Aligned<int16_t> flips;
};

HadamardScreen::HadamardScreen(const Dictionary& dictionary, const Team& team)
    : dictionary_(dictionary), height_(usual_height(dictionary.M, kPassing)) {
    for (int rank = 0; rank < team.size(); ++rank) scans_.push_back(std::make_unique<Scan>(dictionary));
}

HadamardScreen::~HadamardScreen() = default;

int64_t HadamardScreen::lanes(const Dictionary& dictionary) {
    return dictionary.order <= kShortOrder ? kShortLanes : 1;
}

std::vector<Choice> HadamardScreen::select(const std::vector<Query>& queries, bool score, Team& team) {
    return select_above(queries, score, height_, team);
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

void HadamardScreen::pass_short(int64_t count, Team& team) {
    const int64_t n = dictionary_.n, groups = (count + kShortLanes - 1) / kShortLanes;
    team.for_each((dictionary_.M + dictionary_.order - 1) / dictionary_.order, 1, [&](int64_t block, int rank) {
        Scan& scan = *scans_[rank];
        scan.block = block;
        scan.load_flips();
        for (int64_t g = 0; g < groups; ++g) {
            scan.load_short_thresholds(g * kShortLanes, count);
            kernels().fwht_short({shorts_.data() + g * padded(n) * kShortLanes, scan.flips.data(),
                                  dictionary_.rows.data(), n, dictionary_.order, scan.x_short.data(),
                                  scan.short_thresholds, &Scan::hit_short, &scan});
        }
    });
}

// Scores are a.r, all atoms having norm sqrt(n). A sum of n floats by a tree of log2 p levels is off by at most that
// many half units in the last place of sum |r_i| <= sqrt(n) |r|.
std::vector<Bound> HadamardScreen::bounds(const std::vector<Query>& queries, float height, Team& team) const {
    const double levels = std::log2(static_cast<double>(dictionary_.order)) + 1;
    const double rounding = 1.01 * levels * std::ldexp(1.0, -24) * std::sqrt(static_cast<double>(dictionary_.n));
    std::vector<Bound> found(queries.size());
    team.for_each(static_cast<int64_t>(queries.size()), 16, [&](int64_t v, int) {
        const double norm = std::sqrt(kernels().energy(queries[v].residual, padded(dictionary_.n)));
        found[v] = {static_cast<float>(rounding * norm), static_cast<float>(height * norm)};
    });
    return found;
}

// Scores are a.q, r = step (q + e) with q integer, and exact: off from a.r / step by at most sqrt(n) |e|.
std::vector<Bound> HadamardScreen::round(const std::vector<Query>& queries, float height, Team& team) {
    const int64_t count = static_cast<int64_t>(queries.size()), n = dictionary_.n;
    const int64_t groups = (count + kShortLanes - 1) / kShortLanes;
    const Aligned<float> zeros(padded(n), 0.0f);
    shorts_.resize(groups * padded(n) * kShortLanes);
    std::vector<Bound> found(queries.size());
    team.for_each(groups, 1, [&](int64_t g, int) {
        const float* residuals[kShortLanes];
        double error[kShortLanes], size[kShortLanes];
        const int64_t first = g * kShortLanes;
        for (int64_t lane = 0; lane < kShortLanes; ++lane)
            residuals[lane] = first + lane < count ? queries[first + lane].residual : zeros.data();
        kernels().short_lanes(residuals, padded(n), shorts_.data() + first * padded(n), error, size);
        for (int64_t lane = 0; lane < std::min(kShortLanes, count - first); ++lane)
            // The second term covers the float32 arithmetic of the rounding.
            found[first + lane] = {static_cast<float>(std::sqrt(static_cast<double>(n)) *
                                                      (1.0001 * std::sqrt(error[lane]) + 2e-6 * std::sqrt(size[lane]))),
                                   static_cast<float>(height * std::sqrt(size[lane]))};
    });
    return found;
}

std::vector<Choice> HadamardScreen::select_above(const std::vector<Query>& queries, bool score, float height,
                                                 Team& team) {
    const int64_t count = static_cast<int64_t>(queries.size());
    const bool shorts = dictionary_.order <= kShortOrder && count >= kShortQueries;
    const std::vector<Bound> bounds = shorts ? round(queries, height, team) : this->bounds(queries, height, team);
    std::vector<Candidates*> candidates;
    for (std::unique_ptr<Scan>& scan : scans_) {
        scan->candidates.start(queries, bounds);
        scan->make_room(shorts);
        candidates.push_back(&scan->candidates);
    }
    if (shorts)
        pass_short(count, team);
    else
        pass(queries, team);
    Decision decision(candidates, queries, bounds, score, team);
    std::vector<Query> again;
    for (size_t v = 0; v < queries.size(); ++v)
        if (decision.missed[v]) again.push_back(queries[v]);
    if (again.empty()) return decision.choices;
    const std::vector<Choice> found = select_above(again, score, 0, team);
    for (size_t v = 0, i = 0; v < queries.size(); ++v)
        if (decision.missed[v]) decision.choices[v] = found[i++];
    return decision.choices;
}

}  // namespace coinr
