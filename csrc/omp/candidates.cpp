#include "omp/candidates.hpp"

#include <algorithm>
#include <cmath>

#include "simd/kernels.hpp"

namespace coinr {

float initial_threshold(int64_t M, double expected) {
    double low = 0, high = 8;
    for (int i = 0; i < 40; ++i) {
        const double middle = (low + high) / 2;
        (std::erfc(middle * std::sqrt(0.5)) * static_cast<double>(M) > expected ? low : high) = middle;
    }
    return static_cast<float>(low);
}

namespace {

bool allowed(const Query& query, int32_t atom) {
    int32_t excluded = 0;  // no early exit: it costs more than it saves on so few
    for (const int32_t other : *query.excluded) excluded |= other == atom;
    return excluded == 0;
}

}  // namespace

void Candidates::QueryHits::prune(float threshold) {
    int kept = 0;
    for (int i = 0; i < count; ++i)
        if (hits[i].score >= threshold) hits[kept++] = hits[i];
    count = kept;
}

void Candidates::QueryHits::drop_excluded(const Query& query) {
    int kept = 0;
    for (int i = 0; i < count; ++i)
        if (hits[i].allowed || allowed(query, hits[i].atom)) hits[kept++] = {hits[i].atom, hits[i].score, true};
    count = kept;
}

void Candidates::start(const std::vector<Query>& queries, const std::vector<Bound>& bounds) {
    queries_ = &queries;
    bounds_ = &bounds;
    found_.assign(queries.size(), QueryHits());
    threshold_.resize(queries.size());
    for (size_t v = 0; v < queries.size(); ++v) threshold_[v] = bounds[v].floor;
}

void Candidates::raise_threshold(int64_t query, int64_t atom, float score) {
    QueryHits& f = found_[query];
    if (score <= f.best || !allowed((*queries_)[query], static_cast<int32_t>(atom))) return;
    f.best = score;
    threshold_[query] = std::max(threshold_[query], score - 2 * (*bounds_)[query].slack);
}

void Candidates::add(int64_t query, int64_t atom, float score) {
    if (score < threshold_[query]) return;
    QueryHits& f = found_[query];
    const bool leads = score > f.best;
    if (leads && !allowed((*queries_)[query], static_cast<int32_t>(atom))) return;
    if (f.count == kMaxHits) {
        f.prune(threshold_[query]);
        if (f.count > kMaxHits / 2) score_exactly(f, (*queries_)[query]);
    }
    f.hits[f.count++] = {static_cast<int32_t>(atom), score, leads};
    if (leads) {
        f.best = score;
        threshold_[query] = std::max(threshold_[query], score - 2 * (*bounds_)[query].slack);
    }
}

void Candidates::score_exactly(QueryHits& found, const Query& query) {
    found.drop_excluded(query);
    for (int i = 0; i < found.count; ++i) {
        Choice now{found.hits[i].atom, 0};
        dictionary_.row(now.atom, row_.data());
        if (score_row(row_.data(), query.residual, static_cast<int64_t>(row_.size()), &now.score) &&
            now.beats(found.exact))
            found.exact = now;
    }
    found.count = 0;
}

Decision::Decision(const std::vector<Candidates*>& threads, const std::vector<Query>& queries,
                   const std::vector<Bound>& bounds, bool score, Team& team)
    : choices(queries.size()), undecided(queries.size(), 0) {
    team.for_each(static_cast<int64_t>(queries.size()), 16, [&](int64_t v, int rank) {
        float best = 0;
        for (const Candidates* c : threads) best = std::max(best, c->found_[v].best);
        const float threshold = best - 2 * bounds[v].slack;
        if (bounds[v].floor > 0 && threshold < bounds[v].floor) {
            undecided[v] = 1;
            return;
        }
        int total = 0;
        for (Candidates* c : threads) {
            c->found_[v].prune(threshold);
            c->found_[v].drop_excluded(queries[v]);
            total += c->found_[v].count + (c->found_[v].exact.atom >= 0);
        }
        for (Candidates* c : threads) {
            Candidates::QueryHits& f = c->found_[v];
            if (total == 1 && f.count == 1 && !score) {
                choices[v] = {f.hits[0].atom, std::nan("")};
                return;
            }
            threads[rank]->score_exactly(f, queries[v]);
            if (f.exact.beats(choices[v])) choices[v] = f.exact;
        }
    });
}

}  // namespace coinr
