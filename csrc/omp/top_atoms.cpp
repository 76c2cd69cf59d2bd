#include "omp/top_atoms.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "simd/kernels.hpp"

namespace coinr {
namespace {

bool worse(const Scored& a, const Scored& b) { return a.before(b); }

}  // namespace

TopAtoms::TopAtoms(const Dictionary& dictionary, int keep)
    : dictionary_(dictionary), keep_(static_cast<size_t>(std::max(keep, 1))) {
    if (dictionary.kind != Kind::hadamard) throw std::invalid_argument("only hadamard dictionaries have transforms");
    scratch_.resize(dictionary.transform_scratch());
    words_.resize(dictionary.sign_buffer_words());
}

std::vector<std::vector<Scored>> TopAtoms::find(const std::vector<const float*>& residuals) {
    found_.assign(residuals.size(), {});
    for (first_atom_ = 0; first_atom_ < dictionary_.M; first_atom_ += dictionary_.order) {
        FwhtTask task = dictionary_.transform(first_atom_ / dictionary_.order, words_.data(), scratch_.data());
        task.threshold = &threshold_;
        task.hit = &TopAtoms::hit;
        task.context = this;
        for (query_ = 0; query_ < residuals.size(); ++query_) {
            const std::vector<Scored>& best = found_[query_];
            threshold_ = best.size() < keep_ ? 0.0f : std::fabs(best.front().score);
            task.residual = residuals[query_];
            kernels().fwht(task);
        }
    }
    for (std::vector<Scored>& best : found_) std::sort_heap(best.begin(), best.end(), worse);
    return std::move(found_);
}

void TopAtoms::hit(void* context, int64_t group, uint32_t lanes, const float* values) {
    static_cast<TopAtoms*>(context)->add_hits(16 * group, lanes, values);
}

void TopAtoms::add_hits(int64_t column, uint32_t lanes, const float* values) {
    std::vector<Scored>& best = found_[query_];
    for (; lanes; lanes &= lanes - 1) {
        const int lane = __builtin_ctz(lanes);
        const int64_t atom = first_atom_ + column + lane;
        if (column + lane >= dictionary_.order || atom >= dictionary_.M) continue;
        add(best, {static_cast<int32_t>(atom), values[lane]});
        if (best.size() == keep_) threshold_ = std::max(threshold_, std::fabs(best.front().score));
    }
}

void TopAtoms::add(std::vector<Scored>& best, Scored found) const {
    if (best.size() == keep_) {
        if (!found.before(best.front())) return;
        std::pop_heap(best.begin(), best.end(), worse);
        best.pop_back();
    }
    best.push_back(found);
    std::push_heap(best.begin(), best.end(), worse);
}

}  // namespace coinr
