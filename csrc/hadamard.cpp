#include "hadamard.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels.hpp"

namespace coinr {
namespace {

constexpr int64_t kLanes = 16;

// How the 16 lanes of a transform are shared: `vectors` residuals times kLanes / vectors blocks of the dictionary.
int64_t vectors_per_transform(int64_t queries) {
    int64_t vectors = 1;
    while (vectors < kLanes && vectors < queries) vectors *= 2;
    return vectors;
}

}  // namespace

// One thread's side of a pass. Lane l holds query first_query + l % vectors and block first_block + l / vectors.
struct HadamardScreen::Scan {
    explicit Scan(const Dictionary& d) : candidates(d), dictionary(d) {
        x.resize(d.order * kLanes);
        words.resize((d.n + 127) / 128 * 4 + 28);
        signs.resize((d.n + 31) / 32 * kLanes);
    }

    static void hit(void* context, int64_t column, const float* values) {
        static_cast<Scan*>(context)->take(column, values);
    }

    void take(int64_t column, const float* values) {
        for (int64_t lane = 0; lane < kLanes; ++lane) {
            const float score = std::fabs(values[lane]);
            if (score < threshold[lane]) continue;
            const int64_t atom = (first_block + lane / vectors) * dictionary.order + column;
            if (atom >= dictionary.M) continue;
            const int64_t query = first_query + lane % vectors;
            candidates.offer(query, atom, score);
            for (int64_t other = lane % vectors; other < kLanes; other += vectors)
                if (threshold[other] < candidates.threshold(query)) threshold[other] = candidates.threshold(query);
        }
    }

    // Sign words of kLanes / vectors blocks, one word per lane.
    void load_signs(int64_t block, int64_t blocks) {
        const Kernels& kernel = kernels();
        first_block = block;
        const int64_t count = (dictionary.n + 31) / 32;
        for (int64_t b = 0; b < kLanes / vectors && block + b < blocks; ++b) {
            kernel.words(dictionary.seed, static_cast<uint32_t>(block + b), dictionary.stream,
                         static_cast<uint32_t>(dictionary.kind), (dictionary.n + 127) / 128, words.data());
            for (int64_t w = 0; w < count; ++w)
                for (int64_t lane = b * vectors; lane < (b + 1) * vectors; ++lane) signs[w * kLanes + lane] = words[w];
        }
    }

    // Thresholds of the lanes; lanes without a query or a block never pass theirs.
    void load_thresholds(int64_t query, int64_t queries, int64_t blocks) {
        first_query = query;
        for (int64_t lane = 0; lane < kLanes; ++lane) {
            const bool used = query + lane % vectors < queries && first_block + lane / vectors < blocks;
            threshold[lane] = used ? candidates.threshold(query + lane % vectors)
                                   : std::numeric_limits<float>::infinity();
        }
    }

    Candidates candidates;
    const Dictionary& dictionary;
    int64_t vectors = 1, first_query = 0, first_block = 0;
    float threshold[kLanes];
    std::vector<float> x;          // [order][16]
    std::vector<uint32_t> words, signs;
};

HadamardScreen::HadamardScreen(const Dictionary& dictionary, const Team& team)
    : dictionary_(dictionary), height_(usual_height(dictionary.M)) {
    for (int rank = 0; rank < team.size(); ++rank) scans_.push_back(std::make_unique<Scan>(dictionary));
}

HadamardScreen::~HadamardScreen() = default;

std::vector<Choice> HadamardScreen::select(const std::vector<Query>& queries, bool score, Team& team) {
    return select_above(queries, score, height_, team);
}

void HadamardScreen::pass(const std::vector<Query>& queries, Team& team) {
    const int64_t n = dictionary_.n, count = static_cast<int64_t>(queries.size());
    const int64_t vectors = vectors_per_transform(count), per_task = kLanes / vectors;
    const int64_t blocks = (dictionary_.M + dictionary_.order - 1) / dictionary_.order;
    const int64_t groups = (count + vectors - 1) / vectors;
    std::vector<float> residuals(groups * n * vectors, 0.0f);  // [groups][n][vectors]
    team.for_each(count, 4, [&](int64_t v, int) {
        float* to = residuals.data() + v / vectors * n * vectors + v % vectors;
        for (int64_t i = 0; i < n; ++i) to[i * vectors] = queries[v].residual[i];
    });
    const Kernels& kernel = kernels();
    team.for_each((blocks + per_task - 1) / per_task, 1, [&](int64_t task, int rank) {
        Scan& scan = *scans_[rank];
        scan.vectors = vectors;
        scan.load_signs(task * per_task, blocks);
        for (int64_t g = 0; g < groups; ++g) {
            scan.load_thresholds(g * vectors, count, blocks);
            kernel.fwht({residuals.data() + g * n * vectors, static_cast<int>(vectors), scan.signs.data(),
                         dictionary_.rows.data(), n, dictionary_.order, scan.x.data(), scan.threshold, &Scan::hit,
                         &scan});
        }
    });
}

std::vector<Choice> HadamardScreen::select_above(const std::vector<Query>& queries, bool score, float height,
                                                 Team& team) {
    // Scores here are a.r, all atoms having norm sqrt(n). A sum of n floats by a tree of log2 p levels is off by at
    // most that many half units in the last place of sum |r_i| <= sqrt(n) |r|.
    const double levels = std::log2(static_cast<double>(dictionary_.order)) + 1;
    const double rounding = 1.01 * levels * std::ldexp(1.0, -24) * std::sqrt(static_cast<double>(dictionary_.n));
    std::vector<Bound> bounds(queries.size());
    team.for_each(static_cast<int64_t>(queries.size()), 16, [&](int64_t v, int) {
        const double norm = std::sqrt(kernels().energy(queries[v].residual, padded(dictionary_.n)));
        bounds[v] = {static_cast<float>(rounding * norm), static_cast<float>(height * norm)};
    });
    std::vector<Candidates*> candidates;
    for (std::unique_ptr<Scan>& scan : scans_) {
        scan->candidates.start(queries, bounds);
        candidates.push_back(&scan->candidates);
    }
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
