#include "screen.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels.hpp"
#include "quantise.hpp"

namespace coinr {
namespace {

// Candidates of one query that are kept before they are thinned.
constexpr int kHits = 16;

struct Hit {
    int32_t atom;
    float score;
};

// What one thread has found for one query.
struct Found {
    float best = 0;  // largest integer score so far
    int count = 0;
    Hit hits[kHits];
    Choice exact;    // best of the candidates already scored in float64

    void thin(float threshold) {
        int kept = 0;
        for (int i = 0; i < count; ++i)
            if (hits[i].score >= threshold) hits[kept++] = hits[i];
        count = kept;
    }
};

// The height in standard deviations that about 16 of M scores pass in magnitude; 0 for small M.
float usual_height(int64_t M) {
    double low = 0, high = 8;
    for (int i = 0; i < 40; ++i) {
        const double middle = (low + high) / 2;
        (std::erfc(middle * std::sqrt(0.5)) * static_cast<double>(M) > 16 ? low : high) = middle;
    }
    return static_cast<float>(low);
}

}  // namespace

// One thread's side of a pass.
class Screen::Scan {
public:
    explicit Scan(const Dictionary& dictionary) : dictionary_(dictionary), row_(padded(dictionary.n)) {}

    void start(const std::vector<Query>& queries, const QuantisedRows& q, float height) {
        queries_ = &queries;
        q_ = &q;
        found.assign(queries.size(), Found());
        threshold.resize(queries.size());
        const float per_entry = height / std::sqrt(static_cast<float>(dictionary_.n));
        for (size_t v = 0; v < queries.size(); ++v)
            threshold[v] = height > 0 ? per_entry * q.size[v] : -2 * q.slack[v];
    }

    static void hit(void* context, int64_t query, uint32_t which, const float* scores) {
        static_cast<Scan*>(context)->take(query, which, scores);
    }

    // Scores the candidates of one query, found by any thread, in float64 and forgets them.
    void settle(Found& f, const Query& query) {
        for (int i = 0; i < f.count; ++i) {
            Choice now{f.hits[i].atom, 0};
            dictionary_.row(now.atom, row_.data());
            if (score_row(row_.data(), query.residual, static_cast<int64_t>(row_.size()), &now.score) &&
                now.beats(f.exact))
                f.exact = now;
        }
        f.count = 0;
    }

    int64_t first_atom = 0;  // of the pair being scored
    const float* inverse_norm = nullptr;
    std::vector<float> threshold;
    std::vector<Found> found;
    TileSource::Buffer buffer;
    std::vector<int32_t> partial;

private:
    bool allowed(int64_t query, int64_t lane) const {
        const std::vector<int32_t>& out = *(*queries_)[query].excluded;
        return inverse_norm[lane] != 0 &&
               std::find(out.begin(), out.end(), static_cast<int32_t>(first_atom + lane)) == out.end();
    }

    void take(int64_t query, uint32_t which, const float* scores) {
        Found& f = found[query];
        // The largest first, so that it alone is kept where the rest fall below the threshold it sets.
        float top = 0;
        int64_t top_lane = -1;
        for (uint32_t bits = which; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            if (std::fabs(scores[lane]) > top) top = std::fabs(scores[lane]), top_lane = lane;
        }
        if (top > f.best && allowed(query, top_lane)) {
            f.best = top;
            threshold[query] = std::max(threshold[query], top - 2 * q_->slack[query]);
        }
        for (uint32_t bits = which; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            const float score = std::fabs(scores[lane]);
            if (score < threshold[query] || !allowed(query, lane)) continue;
            if (f.count == kHits) {
                f.thin(threshold[query]);
                if (f.count > kHits / 2) settle(f, (*queries_)[query]);
            }
            f.hits[f.count++] = {static_cast<int32_t>(first_atom + lane), score};
            if (score > f.best) {
                f.best = score;
                threshold[query] = std::max(threshold[query], score - 2 * q_->slack[query]);
            }
        }
    }

    const Dictionary& dictionary_;
    const std::vector<Query>* queries_ = nullptr;
    const QuantisedRows* q_ = nullptr;
    std::vector<int8_t> row_;
};

TileSource::TileSource(const Dictionary& dictionary, Team& team) : dictionary_(dictionary) {
    pairs_ = (dictionary.M + kScreenAtoms - 1) / kScreenAtoms;
    steps_ = (dictionary.n + 15) / 16 * 4;
    const int64_t stride = 64 * steps_;
    if (pairs_ * kScreenTiles * stride > kTileCache) return;
    codes_.resize(pairs_ * kScreenTiles * stride);
    inverse_norm_.resize(pairs_ * kScreenAtoms);
    team.for_each(pairs_, 1, [&](int64_t pair, int) {
        for (int64_t step = 0; step < steps_; step += kPanelSteps)
            make(pair, step, std::min(kPanelSteps, steps_ - step),
                 codes_.data() + pair * kScreenTiles * stride + 64 * step, stride,
                 inverse_norm_.data() + pair * kScreenAtoms);
    });
}

TileSource::Buffer TileSource::buffer() const {
    Buffer b;
    if (cached()) return b;
    b.codes.resize(kScreenTiles * 64 * std::min(steps_, kPanelSteps));
    b.inverse_norm.resize(kScreenAtoms);
    return b;
}

void TileSource::make(int64_t pair, int64_t step, int64_t count, uint8_t* codes, int64_t stride,
                      float* inverse_norm) const {
    const Kernels& kernel = kernels();
    const Dictionary& d = dictionary_;
    for (int g = 0; g < kScreenTiles; ++g) {
        const int64_t atom = pair * kScreenAtoms + 16 * g;
        float* inverse = inverse_norm + 16 * g;
        uint8_t* to = codes + g * stride;
        if (d.kind == Kind::gaussian) {
            // Between panels the norms are kept as integers in the place of their inverses.
            int32_t norm2[16];
            if (step == 0)
                std::fill_n(norm2, 16, static_cast<int32_t>(16 * d.n));
            else
                std::memcpy(norm2, inverse, sizeof norm2);
            kernel.tile_popcount(d.seed, d.stream, static_cast<uint32_t>(d.kind), static_cast<uint32_t>(atom),
                                 step / 4, count / 4, d.n, to, norm2);
            if (step + count < steps_) {
                std::memcpy(inverse, norm2, sizeof norm2);
                continue;
            }
            for (int i = 0; i < 16; ++i)
                inverse[i] = norm2[i] > 0 ? 1.0f / std::sqrt(static_cast<float>(norm2[i])) : 0.0f;
        } else {
            kernel.tile_signs(d.seed, d.stream, static_cast<uint32_t>(d.kind), static_cast<uint32_t>(atom), step / 32,
                              (count + 31) / 32, std::min(d.n, 4 * (step + count)), to);
            std::fill_n(inverse, 16, 1.0f / std::sqrt(static_cast<float>(d.n)));
        }
        for (int i = 0; i < 16; ++i)
            if (atom + i >= d.M) inverse[i] = 0.0f;
    }
}

TileSource::View TileSource::view(int64_t pair, int64_t step, int64_t count, Buffer& buffer) const {
    if (cached()) {
        const int64_t stride = 64 * steps_;
        return {codes_.data() + pair * kScreenTiles * stride + 64 * step, stride,
                inverse_norm_.data() + pair * kScreenAtoms};
    }
    make(pair, step, count, buffer.codes.data(), 64 * count, buffer.inverse_norm.data());
    return {buffer.codes.data(), 64 * count, buffer.inverse_norm.data()};
}

Screen::Screen(const TileSource& source, const Team& team)
    : source_(source), height_(usual_height(source.dictionary().M)) {
    for (int rank = 0; rank < team.size(); ++rank) {
        scans_.push_back(std::make_unique<Scan>(source.dictionary()));
        scans_.back()->buffer = source.buffer();
    }
}

Screen::~Screen() = default;

void Screen::pass(const std::vector<Query>& queries, const QuantisedRows& q, float height, Team& team) {
    const bool panels = source_.steps() > TileSource::kPanelSteps;
    for (std::unique_ptr<Scan>& scan : scans_) {
        scan->start(queries, q, height);
        scan->partial.resize(panels ? q.row_count * kScreenAtoms : 0);
    }
    const Kernels& kernel = kernels();
    team.for_each(source_.pairs(), 4, [&](int64_t pair, int rank) {
        Scan& scan = *scans_[rank];
        scan.first_atom = pair * kScreenAtoms;
        for (int64_t step = 0; step < source_.steps(); step += TileSource::kPanelSteps) {
            const int64_t count = std::min(TileSource::kPanelSteps, source_.steps() - step);
            const TileSource::View view = source_.view(pair, step, count, scan.buffer);
            scan.inverse_norm = view.inverse_norm;
            kernel.screen({view.codes, view.stride, count, step, step == 0, step + count == source_.steps(),
                           q.rows.data(), q.row_bytes, q.row_count, q.offset.data(), q.digits, q.base,
                           static_cast<int64_t>(queries.size()), view.inverse_norm, scan.threshold.data(),
                           panels ? scan.partial.data() : nullptr, &Scan::hit, &scan});
        }
    });
}

std::vector<Choice> Screen::select(const std::vector<Query>& queries, bool score, Team& team) {
    return select_above(queries, score, height_, team);
}

std::vector<Choice> Screen::select_above(const std::vector<Query>& queries, bool score, float height, Team& team) {
    const Dictionary& dictionary = source_.dictionary();
    // One digit leaves |e| near 0.007 |r| and a handful of candidates while n is small; its products are then the
    // cost of a pass. Passes for long or few vectors are bound by generation, and a second digit costs little.
    const int digits = dictionary.n <= 1024 && queries.size() > 8 ? 1 : 2;
    const QuantisedRows q(queries, dictionary.n, source_.steps(), digits, dictionary.kind == Kind::gaussian ? 4 : 1,
                          team);
    pass(queries, q, height, team);
    std::vector<Choice> choices(queries.size());
    std::vector<char> missed(queries.size(), 0);
    const float per_entry = height / std::sqrt(static_cast<float>(dictionary.n));
    team.for_each(static_cast<int64_t>(queries.size()), 16, [&](int64_t v, int rank) {
        float best = 0;
        for (const std::unique_ptr<Scan>& scan : scans_) best = std::max(best, scan->found[v].best);
        const float threshold = best - 2 * q.slack[v];
        // A candidate below the height the pass started from may have been passed over.
        if (height > 0 && threshold < per_entry * q.size[v]) {
            missed[v] = 1;
            return;
        }
        int total = 0;
        for (const std::unique_ptr<Scan>& scan : scans_) {
            scan->found[v].thin(threshold);
            total += scan->found[v].count + (scan->found[v].exact.atom >= 0);
        }
        for (const std::unique_ptr<Scan>& scan : scans_) {
            Found& f = scan->found[v];
            if (total == 1 && f.count == 1 && !score) {
                choices[v] = {f.hits[0].atom, std::nan("")};
                return;
            }
            scans_[rank]->settle(f, queries[v]);
            if (f.exact.beats(choices[v])) choices[v] = f.exact;
        }
    });
    std::vector<Query> again;
    for (size_t v = 0; v < queries.size(); ++v)
        if (missed[v]) again.push_back(queries[v]);
    if (again.empty()) return choices;
    const std::vector<Choice> found = select_above(again, score, 0, team);
    for (size_t v = 0, i = 0; v < queries.size(); ++v)
        if (missed[v]) choices[v] = found[i++];
    return choices;
}

}  // namespace coinr
