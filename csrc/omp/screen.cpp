#include "omp/screen.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "simd/kernels.hpp"

namespace coinr {
namespace {

// Scores that pass a pass's first thresholds: fewer are fewer candidates, but more passes that are repeated (measured).
constexpr double kPassing = 40;

}  // namespace

// One thread's side of a pass.
struct alignas(128) Screen::Scan {
    explicit Scan(const TileSource& source) : candidates(source.dictionary()), buffer(source.buffer()) {}

    static void hit(void* context, int64_t query, uint32_t which, const float* scores) {
        static_cast<Scan*>(context)->take(query, which, scores);
    }

    void take(int64_t query, uint32_t which, const float* scores) {
        // The largest first, so that it alone is kept where the rest fall below the threshold it sets.
        float top = 0;
        int top_lane = 0;
        for (uint32_t bits = which; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            if (inverse_norm[lane] == 0) which &= ~(1u << lane);
            else if (std::fabs(scores[lane]) > top) top = std::fabs(scores[lane]), top_lane = lane;
        }
        if (top > 0) candidates.raise(query, first_atom + top_lane, top);
        for (uint32_t bits = which; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            candidates.offer(query, first_atom + lane, std::fabs(scores[lane]));
        }
    }

    // For lazy selection: everything above the thresholds is kept.
    static void keep(void* context, int64_t query, uint32_t which, const float* scores) {
        Scan& scan = *static_cast<Scan*>(context);
        TopScores& top = scan.top[query];
        for (uint32_t bits = which; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            if (scan.inverse_norm[lane] != 0) top.offer(scan.first_atom + lane, std::fabs(scores[lane]));
        }
        scan.top_thresholds[query] = top.threshold();
    }

    Candidates candidates;
    std::vector<TopScores> top;
    std::vector<float> top_thresholds;
    TileSource::Buffer buffer;
    Aligned<int32_t> partial;
    int64_t first_atom = 0;  // of the pair being scored
    const float* inverse_norm = nullptr;
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
    : source_(source), height_(usual_height(source.dictionary().M, kPassing)) {
    for (int rank = 0; rank < team.size(); ++rank) scans_.push_back(std::make_unique<Scan>(source));
}

Screen::~Screen() = default;

std::vector<Choice> Screen::select(const std::vector<Query>& queries, bool score, Team& team) {
    return select_above(queries, score, height_, team);
}

void Screen::pass(const QuantisedRows& q, bool keep_top, Team& team) {
    const bool panels = source_.steps() > TileSource::kPanelSteps;
    for (std::unique_ptr<Scan>& scan : scans_) scan->partial.resize(panels ? q.row_count * kScreenAtoms : 0);
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
                           static_cast<int64_t>(q.slack.size()), view.inverse_norm,
                           keep_top ? scan.top_thresholds.data() : scan.candidates.thresholds(),
                           panels ? scan.partial.data() : nullptr, keep_top ? &Scan::keep : &Scan::hit, &scan});
        }
    });
}

QuantisedRows Screen::quantise(const std::vector<Query>& queries, int digits, Team& team) const {
    const Dictionary& dictionary = source_.dictionary();
    const int code_offset = dictionary.kind == Kind::gaussian ? 4 : 1;
    return QuantisedRows(queries, dictionary.n, source_.steps(), digits, code_offset, team);
}

void Screen::look(const std::vector<Query>& queries, Team& team) {
    const QuantisedRows q = quantise(queries, 2, team);
    const Dictionary& dictionary = source_.dictionary();
    const float per_entry = LazyScores::height(dictionary.M) / std::sqrt(static_cast<float>(dictionary.n));
    for (std::unique_ptr<Scan>& scan : scans_) {
        scan->top.resize(std::max(scan->top.size(), queries.size()));
        scan->top_thresholds.resize(queries.size());
        for (size_t v = 0; v < queries.size(); ++v) {
            scan->top_thresholds[v] = per_entry * q.size[v];
            scan->top[v].start(LazyScores::keep(dictionary.M), scan->top_thresholds[v]);
        }
    }
    pass(q, true, team);
    steps_ = q.step;
    slack_ = q.slack;
}

void Screen::refill(int64_t query, const Pursuit& pursuit, LazyScores& lazy) {
    TopScores& top = scans_[0]->top[query];
    for (size_t rank = 1; rank < scans_.size(); ++rank) top.merge(scans_[rank]->top[query]);
    lazy.refill(top, steps_[query], slack_[query], pursuit);
}

std::vector<Choice> Screen::select_above(const std::vector<Query>& queries, bool score, float height, Team& team) {
    // One digit leaves |e| near 0.007 |r| and a handful of candidates while n is small; its products are then the
    // cost of a pass. Passes for long or few vectors are bound by generation, and a second digit costs little.
    const int64_t n = source_.dictionary().n;
    const QuantisedRows q = quantise(queries, n <= 1024 && queries.size() > 8 ? 1 : 2, team);
    std::vector<Bound> bounds(queries.size());
    const float per_entry = height / std::sqrt(static_cast<float>(n));
    for (size_t v = 0; v < queries.size(); ++v) bounds[v] = {q.slack[v], per_entry * q.size[v]};
    std::vector<Candidates*> candidates;
    for (std::unique_ptr<Scan>& scan : scans_) {
        scan->candidates.start(queries, bounds);
        candidates.push_back(&scan->candidates);
    }
    pass(q, false, team);
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
