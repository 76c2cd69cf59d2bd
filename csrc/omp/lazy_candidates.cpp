#include "omp/lazy_candidates.hpp"

#include <algorithm>
#include <cmath>

#include "omp/candidates.hpp"
#include "simd/kernels.hpp"

namespace coinr {
namespace {

// Atoms scored again in one batch, before the best of them raises the threshold.
constexpr int64_t kBatch = 16;

}  // namespace

void TopScores::start(int64_t keep, float threshold) {
    keep_ = static_cast<size_t>(keep);
    threshold_ = threshold;
    hits_.clear();
    hits_.reserve(2 * keep_);
}

void TopScores::prune() {
    if (hits_.size() <= keep_) return;
    std::nth_element(hits_.begin(), hits_.begin() + static_cast<int64_t>(keep_) - 1, hits_.end(),
                     [](const Hit& a, const Hit& b) { return a.before(b); });
    hits_.resize(keep_);
    threshold_ = hits_.back().score;
}

void TopScores::merge(const TopScores& other) {
    for (const Hit& hit : other.hits_) add(hit.atom, hit.score);
    threshold_ = std::max(threshold_, other.threshold_);
}

const std::vector<Hit>& TopScores::finish(float* floor) {
    prune();
    *floor = threshold_;
    std::sort(hits_.begin(), hits_.end(), [](const Hit& a, const Hit& b) { return a.atom < b.atom; });
    return hits_;
}

void LazyCandidates::refill(TopScores& scores, float step, float slack, const Pursuit& pursuit) {
    float floor = 0;
    const std::vector<Hit>& hits = scores.finish(&floor);
    items_.clear();
    energies_.assign(1, pursuit.energy());
    std::vector<int32_t> support = pursuit.support();
    std::sort(support.begin(), support.end());
    for (const Hit& hit : hits)
        if (!std::binary_search(support.begin(), support.end(), hit.atom))
            items_.push_back({hit.atom, 0, static_cast<double>(step) * (static_cast<double>(hit.score) + slack)});
    floor_ = floor > 0 ? static_cast<double>(step) * (static_cast<double>(floor) + slack) : -1;
    filled_ = true;
}

LazyCandidates::Next LazyCandidates::next(const Dictionary& dictionary, const Pursuit& pursuit, Aligned<int8_t>* rows,
                                          Team& team, Choice* choice) {
    if (!filled_) return Next::stale;
    const double now = pursuit.energy();
    if (energies_.back() != now) energies_.push_back(now);
    const int32_t energy_index = static_cast<int32_t>(energies_.size()) - 1;
    margins_.resize(energies_.size());
    for (size_t k = 0; k < energies_.size(); ++k)
        margins_[k] = kSigmas * std::sqrt(std::max(0.0, energies_[k] - now) / static_cast<double>(dictionary.n));
    const auto bound = [&](const Item& item) { return item.score + margins_[item.energy_index]; };
    int16_residual_.set(pursuit.residual(), dictionary);
    contenders_.clear();
    double best = 0, scores[kBatch];
    Item* examined[kBatch];
    const auto examine = [&](int64_t count) {
        team.for_each(count, 2, [&](int64_t i, int rank) {
            dictionary.row(examined[i]->atom, rows[rank].data());
            scores[i] = int16_residual_.score(rows[rank].data());
        });
        for (int64_t i = 0; i < count; ++i) {
            examined[i]->score = scores[i] + int16_residual_.slack();
            examined[i]->energy_index = energy_index;
            best = std::max(best, scores[i]);
            if (scores[i] >= best - 2 * int16_residual_.slack()) contenders_.push_back({examined[i]->atom, scores[i]});
        }
    };
    if (pursuit.size() > 0) {
        const int32_t picked = pursuit.support().back();
        items_.erase(std::remove_if(items_.begin(), items_.end(), [&](const Item& i) { return i.atom == picked; }),
                     items_.end());
    }
    // Score the atom with the largest bound first, then every other atom whose bound reaches the best score so far.
    const auto likeliest = std::max_element(items_.begin(), items_.end(), [&](const Item& a, const Item& b) {
        return bound(a) < bound(b);
    });
    if (likeliest != items_.end()) {
        examined[0] = &*likeliest;
        examine(1);
    }
    int64_t count = 0;
    for (Item& item : items_) {
        if (&item == &*likeliest || bound(item) < best - int16_residual_.slack()) continue;
        examined[count++] = &item;
        if (count < kBatch) continue;
        examine(count);
        count = 0;
    }
    examine(count);
    if (floor_ >= 0 && best - int16_residual_.slack() < floor_ + margins_[0]) {
        filled_ = false;
        return energy_index > 0 ? Next::stale : Next::undecided;
    }
    *choice = best_of(dictionary, pursuit, best - 2 * int16_residual_.slack(), rows[0].data());
    return Next::found;
}

// Returns the best contender by exact score, among those whose int16 score reaches the threshold.
Choice LazyCandidates::best_of(const Dictionary& dictionary, const Pursuit& pursuit, double threshold,
                               int8_t* row) const {
    Choice best;
    int64_t reaching = 0;
    for (const Contender& contender : contenders_) reaching += contender.score >= threshold;
    for (const Contender& contender : contenders_) {
        if (contender.score < threshold) continue;
        if (reaching == 1) return {contender.atom, std::nan("")};
        Choice now{contender.atom, 0};
        dictionary.row(contender.atom, row);
        if (score_row(row, pursuit.residual(), padded(dictionary.n), &now.score) && now.beats(best)) best = now;
    }
    return best;
}

int64_t LazyCandidates::keep(int64_t M) { return std::clamp<int64_t>(M / 10, 256, 8192); }

int64_t LazyCandidates::bytes(int64_t M, int threads) {
    return keep(M) * static_cast<int64_t>(sizeof(Item) + threads * 2 * sizeof(Hit));
}

float LazyCandidates::sigmas(int64_t M) { return initial_threshold(M, 1.25 * static_cast<double>(keep(M))); }

bool lazy_selection_pays(const Dictionary& dictionary, int64_t queries) {
    return dictionary.M > 2 * LazyCandidates::keep(dictionary.M) &&
           (dictionary.n >= 1024 || (dictionary.n >= 512 && queries <= 16));
}

}  // namespace coinr
