#include "top.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "kernels.hpp"

namespace coinr {
namespace {

constexpr int64_t kLanes = 16;

bool worse(const Scored& a, const Scored& b) { return a.before(b); }

}  // namespace

// Lane l of a transform holds query first_query + l % vectors and block first_block + l / vectors, as in hadamard.cpp.
TopAtoms::TopAtoms(const Dictionary& dictionary, int keep)
    : dictionary_(dictionary), keep_(static_cast<size_t>(std::max(keep, 1))) {
    if (dictionary.kind != Kind::hadamard) throw std::invalid_argument("only hadamard dictionaries have transforms");
    x_.resize(dictionary.order * kLanes);
    words_.resize(dictionary.drawn_words());
    signs_.resize((dictionary.n + 31) / 32 * kLanes);
}

std::vector<std::vector<Scored>> TopAtoms::find(const std::vector<const float*>& residuals) {
    const int64_t n = dictionary_.n;
    queries_ = static_cast<int64_t>(residuals.size());
    found_.assign(residuals.size(), {});
    vectors_ = 1;
    while (vectors_ < kLanes && vectors_ < queries_) vectors_ *= 2;
    const int64_t groups = (queries_ + vectors_ - 1) / vectors_, per_task = kLanes / vectors_;
    const int64_t blocks = (dictionary_.M + dictionary_.order - 1) / dictionary_.order;
    std::vector<float> packed(groups * n * vectors_, 0.0f);  // [groups][n][vectors]
    for (int64_t v = 0; v < queries_; ++v) {
        float* to = packed.data() + v / vectors_ * n * vectors_ + v % vectors_;
        for (int64_t i = 0; i < n; ++i) to[i * vectors_] = residuals[v][i];
    }
    for (int64_t block = 0; block < blocks; block += per_task) {
        load_signs(block, blocks);
        for (int64_t g = 0; g < groups; ++g) {
            first_query_ = g * vectors_;
            load_thresholds(blocks);
            kernels().fwht({packed.data() + g * n * vectors_, static_cast<int>(vectors_), signs_.data(),
                            dictionary_.rows.data(), n, dictionary_.order, x_.data(), threshold_, &TopAtoms::hit, this});
        }
    }
    for (std::vector<Scored>& best : found_) std::sort_heap(best.begin(), best.end(), worse);
    return std::move(found_);
}

void TopAtoms::hit(void* context, int64_t column, uint32_t lanes, const float* values) {
    static_cast<TopAtoms*>(context)->take(column, lanes, values);
}

void TopAtoms::take(int64_t column, uint32_t lanes, const float* values) {
    for (; lanes; lanes &= lanes - 1) {
        const int lane = __builtin_ctz(lanes);
        const int64_t atom = (first_block_ + lane / vectors_) * dictionary_.order + column;
        if (atom >= dictionary_.M) continue;
        std::vector<Scored>& best = found_[first_query_ + lane % vectors_];
        offer(best, {static_cast<int32_t>(atom), values[lane]});
        if (best.size() < keep_) continue;
        for (int64_t other = lane % vectors_; other < kLanes; other += vectors_)
            threshold_[other] = std::max(threshold_[other], std::fabs(best.front().score));
    }
}

void TopAtoms::offer(std::vector<Scored>& best, Scored found) const {
    if (best.size() == keep_) {
        if (!found.before(best.front())) return;
        std::pop_heap(best.begin(), best.end(), worse);
        best.pop_back();
    }
    best.push_back(found);
    std::push_heap(best.begin(), best.end(), worse);
}

void TopAtoms::load_signs(int64_t block, int64_t blocks) {
    first_block_ = block;
    const int64_t count = (dictionary_.n + 31) / 32;
    for (int64_t b = 0; b < kLanes / vectors_ && block + b < blocks; ++b) {
        const uint32_t* words = dictionary_.block_signs(block + b, words_.data());
        for (int64_t w = 0; w < count; ++w)
            for (int64_t lane = b * vectors_; lane < (b + 1) * vectors_; ++lane) signs_[w * kLanes + lane] = words[w];
    }
}

// Lanes without a query or a block never pass theirs.
void TopAtoms::load_thresholds(int64_t blocks) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
        const int64_t query = first_query_ + lane % vectors_;
        const bool used = query < queries_ && first_block_ + lane / vectors_ < blocks;
        if (!used) {
            threshold_[lane] = std::numeric_limits<float>::infinity();
        } else {
            const std::vector<Scored>& best = found_[query];
            threshold_[lane] = best.size() < keep_ ? 0.0f : std::fabs(best.front().score);
        }
    }
}

}  // namespace coinr
