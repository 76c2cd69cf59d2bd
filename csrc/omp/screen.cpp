#include "omp/screen.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "simd/kernels.hpp"

namespace coinr {
namespace {

// Expected scores above the first thresholds of a pass: with fewer, there are fewer candidates, but more passes must be
// repeated.
constexpr double kExpectedHits = 40;

}  // namespace

// One thread's state in a pass.
struct alignas(128) Screen::Scan {
    explicit Scan(const TileSource& source) : candidates(source.dictionary()), buffer(source.buffer()) {}

    static void hit(void* context, int64_t query, uint32_t which, const float* scores) {
        static_cast<Scan*>(context)->add_hits(query, which, scores);
    }

    void add_hits(int64_t query, uint32_t which, const float* scores) {
        // The largest score raises the threshold first, so that smaller ones need not be kept.
        float top = 0;
        int top_lane = 0;
        for (uint32_t bits = which; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            if (inverse_norm[lane] == 0) which &= ~(1u << lane);
            else if (std::fabs(scores[lane]) > top) top = std::fabs(scores[lane]), top_lane = lane;
        }
        if (top > 0) candidates.raise_threshold(query, first_atom + top_lane, top);
        for (uint32_t bits = which; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            candidates.add(query, first_atom + lane, std::fabs(scores[lane]));
        }
    }

    // For lazy selection: keeps everything above the thresholds.
    static void hit_top(void* context, int64_t query, uint32_t which, const float* scores) {
        Scan& scan = *static_cast<Scan*>(context);
        TopScores& top = scan.top[query];
        for (uint32_t bits = which; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            if (scan.inverse_norm[lane] != 0) top.add(scan.first_atom + lane, std::fabs(scores[lane]));
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
            generate(pair, step, std::min(kPanelSteps, steps_ - step),
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

void TileSource::generate(int64_t pair, int64_t step, int64_t count, uint8_t* codes, int64_t stride,
                      float* inverse_norm) const {
    const Kernels& kernel = kernels();
    const Dictionary& d = dictionary_;
    for (int g = 0; g < kScreenTiles; ++g) {
        const int64_t atom = pair * kScreenAtoms + 16 * g;
        float* inverse = inverse_norm + 16 * g;
        uint8_t* to = codes + g * stride;
        if (d.kind == Kind::gaussian) {
            // Between panels the integer norms are kept in the place of their inverses.
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
    generate(pair, step, count, buffer.codes.data(), 64 * count, buffer.inverse_norm.data());
    return {buffer.codes.data(), 64 * count, buffer.inverse_norm.data()};
}

Screen::Screen(const TileSource& source, const Team& team)
    : source_(source), sigmas_(initial_threshold(source.dictionary().M, kExpectedHits)) {
    for (int rank = 0; rank < team.size(); ++rank) scans_.push_back(std::make_unique<Scan>(source));
}

Screen::~Screen() = default;

std::vector<Choice> Screen::select(const std::vector<Query>& queries, bool score, Team& team) {
    return select_above(queries, score, sigmas_, team);
}

void Screen::pass(const QuantizedRows& q, bool collect, Team& team) {
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
                           collect ? scan.top_thresholds.data() : scan.candidates.thresholds(),
                           panels ? scan.partial.data() : nullptr, collect ? &Scan::hit_top : &Scan::hit, &scan});
        }
    });
}

QuantizedRows Screen::quantize(const std::vector<Query>& queries, int digits, Team& team) const {
    const Dictionary& dictionary = source_.dictionary();
    const int code_offset = dictionary.kind == Kind::gaussian ? 4 : 1;
    return QuantizedRows(queries, dictionary.n, source_.steps(), digits, code_offset, team);
}

void Screen::collect_top(const std::vector<Query>& queries, Team& team) {
    const QuantizedRows q = quantize(queries, 2, team);
    const Dictionary& dictionary = source_.dictionary();
    const float per_entry = LazyCandidates::sigmas(dictionary.M) / std::sqrt(static_cast<float>(dictionary.n));
    for (std::unique_ptr<Scan>& scan : scans_) {
        scan->top.resize(std::max(scan->top.size(), queries.size()));
        scan->top_thresholds.resize(queries.size());
        for (size_t v = 0; v < queries.size(); ++v) {
            scan->top_thresholds[v] = per_entry * q.size[v];
            scan->top[v].start(LazyCandidates::keep(dictionary.M), scan->top_thresholds[v]);
        }
    }
    pass(q, true, team);
    steps_ = q.step;
    slack_ = q.slack;
}

void Screen::refill(int64_t query, const Pursuit& pursuit, LazyCandidates& lazy) {
    TopScores& top = scans_[0]->top[query];
    for (size_t rank = 1; rank < scans_.size(); ++rank) top.merge(scans_[rank]->top[query]);
    lazy.refill(top, steps_[query], slack_[query], pursuit);
}

std::vector<Choice> Screen::select_above(const std::vector<Query>& queries, bool score, float sigmas, Team& team) {
    // For small n one digit gives |e| near 0.007 |r| and a handful of candidates, and products dominate the cost. For
    // long or few vectors generation dominates, and a second digit costs little.
    const int64_t n = source_.dictionary().n;
    const QuantizedRows q = quantize(queries, n <= 1024 && queries.size() > 8 ? 1 : 2, team);
    std::vector<Bound> bounds(queries.size());
    const float per_entry = sigmas / std::sqrt(static_cast<float>(n));
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
        if (decision.undecided[v]) again.push_back(queries[v]);
    if (again.empty()) return decision.choices;
    const std::vector<Choice> found = select_above(again, score, 0, team);
    for (size_t v = 0, i = 0; v < queries.size(); ++v)
        if (decision.undecided[v]) decision.choices[v] = found[i++];
    return decision.choices;
}

}  // namespace coinr
