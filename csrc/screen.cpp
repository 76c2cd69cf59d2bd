#include "screen.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels.hpp"
#include "quantise.hpp"

namespace coinr {
namespace {

constexpr size_t kHits = 48;  // candidates of one query kept before they are thinned

struct Hit {
    int32_t atom;
    float score;
};

// What one thread has found for one query.
struct Found {
    float best = 0;  // largest integer score so far
    std::vector<Hit> hits;
    Choice exact;    // best of the candidates already scored in float64

    void thin(float threshold) {
        hits.erase(std::remove_if(hits.begin(), hits.end(), [&](const Hit& h) { return h.score < threshold; }),
                   hits.end());
    }
};

// One thread's side of a pass.
class Scan {
public:
    Scan(const Dictionary& dictionary, const std::vector<Query>& queries, const QuantisedRows& q)
        : threshold(queries.size()), found(queries.size()), dictionary_(dictionary), queries_(queries), q_(q),
          row_(padded(dictionary.n)) {
        for (size_t v = 0; v < queries.size(); ++v) threshold[v] = -2 * q.slack[v];
    }

    static void hit(void* context, int64_t query, const float* scores) {
        static_cast<Scan*>(context)->take(query, scores);
    }

    // Scores the candidates of one query, found by any thread, in float64 and forgets them.
    void settle(Found& f, const Query& query) {
        for (const Hit& h : f.hits) {
            Choice now{h.atom, 0};
            dictionary_.row(h.atom, row_.data());
            if (score_row(row_.data(), query.residual, static_cast<int64_t>(row_.size()), &now.score) &&
                now.beats(f.exact))
                f.exact = now;
        }
        f.hits.clear();
    }

    int64_t first_atom = 0;  // of the pair being scored
    const float* inverse_norm = nullptr;
    std::vector<float> threshold;
    std::vector<Found> found;

private:
    void take(int64_t query, const float* scores) {
        Found& f = found[query];
        const std::vector<int32_t>& excluded = *queries_[query].excluded;
        for (int64_t i = 0; i < kScreenAtoms; ++i) {
            const float score = std::fabs(scores[i]);
            if (score < threshold[query] || inverse_norm[i] == 0) continue;
            const int32_t atom = static_cast<int32_t>(first_atom + i);
            if (std::find(excluded.begin(), excluded.end(), atom) != excluded.end()) continue;
            f.hits.push_back({atom, score});
            if (score > f.best) {
                f.best = score;
                threshold[query] = score - 2 * q_.slack[query];
            }
        }
        if (f.hits.size() < kHits) return;
        f.thin(threshold[query]);
        if (f.hits.size() >= kHits / 2) settle(f, queries_[query]);
    }

    const Dictionary& dictionary_;
    const std::vector<Query>& queries_;
    const QuantisedRows& q_;
    std::vector<int8_t> row_;
};

}  // namespace

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

std::vector<Choice> select_screened(const TileSource& source, const std::vector<Query>& queries, Team& team) {
    const Dictionary& dictionary = source.dictionary();
    // One digit leaves |e| near 0.007 |r| and a handful of candidates while n is small; its products are then the
    // cost of a pass. Long or few vectors are bound by generation, and a second digit is free.
    const int digits = dictionary.n <= 1024 && queries.size() > 8 ? 1 : 2;
    const QuantisedRows q(queries, dictionary.n, source.steps(), digits,
                          dictionary.kind == Kind::gaussian ? 4 : 1, team);
    std::vector<Scan> scans(team.size(), Scan(dictionary, queries, q));
    std::vector<TileSource::Buffer> buffers(team.size(), source.buffer());
    const bool panels = source.steps() > TileSource::kPanelSteps;
    std::vector<std::vector<int32_t>> partial(team.size());
    for (std::vector<int32_t>& p : partial) p.resize(panels ? q.row_count * kScreenAtoms : 0);
    const Kernels& kernel = kernels();
    team.for_each(source.pairs(), 4, [&](int64_t pair, int rank) {
        Scan& scan = scans[rank];
        scan.first_atom = pair * kScreenAtoms;
        for (int64_t step = 0; step < source.steps(); step += TileSource::kPanelSteps) {
            const int64_t count = std::min(TileSource::kPanelSteps, source.steps() - step);
            const TileSource::View view = source.view(pair, step, count, buffers[rank]);
            scan.inverse_norm = view.inverse_norm;
            kernel.screen({view.codes, view.stride, count, step, step == 0, step + count == source.steps(),
                           q.rows.data(), q.row_bytes, q.row_count, q.offset.data(), q.digits, q.base,
                           static_cast<int64_t>(queries.size()), view.inverse_norm, scan.threshold.data(),
                           panels ? partial[rank].data() : nullptr, &Scan::hit, &scan});
        }
    });
    std::vector<Choice> choices(queries.size());
    team.for_each(static_cast<int64_t>(queries.size()), 4, [&](int64_t v, int rank) {
        float threshold = scans[0].threshold[v];
        for (const Scan& scan : scans) threshold = std::max(threshold, scan.threshold[v]);
        for (Scan& scan : scans) {
            Found& f = scan.found[v];
            f.thin(threshold);
            scans[rank].settle(f, queries[v]);
            if (f.exact.beats(choices[v])) choices[v] = f.exact;
        }
    });
    return choices;
}

}  // namespace coinr
