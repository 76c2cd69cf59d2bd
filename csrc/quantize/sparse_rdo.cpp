#include "quantize/sparse_rdo.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_set>

#include "simd/kernels.hpp"
#include "entropy/sets.hpp"
#include "threads/thread_pool.hpp"
#include "omp/top.hpp"

namespace coinr {
namespace {

constexpr int kMostRounds = 8;    // of choosing all integers anew
constexpr int64_t kBlock = 64;    // vectors that share passes over the dictionary
constexpr int kOffers = 8;        // atoms that each code of a beam is offered

// An integer and what the price falls by with it.
struct Pick {
    int32_t q = 0;
    double gain = 0;
};

// What all codes share.
struct Rules {
    const Dictionary& dictionary;
    const Price& price;
    int64_t stride;

    int64_t most() const { return static_cast<int64_t>(price.set_bits.size()) - 1; }
    double square() const { return static_cast<double>(dictionary.n); }  // |a|^2 of every atom

    // The best integer for an atom that k others go with, zero included, given a.r without it.
    Pick best(double along, int64_t k) const {
        Pick found;
        const double place = price.lambda * (price.set_bits[k + 1] - price.set_bits[k]);
        const int64_t ideal =
            std::llround(std::min(std::abs(along) / square(), static_cast<double>(kLargestInteger)));
        for (int64_t q = std::max<int64_t>(ideal, 1); q >= std::max<int64_t>(ideal - 1, 1); --q) {
            const double size = static_cast<double>(q);
            const double gain = size * (2 * std::abs(along) - size * square()) - price.lambda * price.value(q) - place;
            if (gain > found.gain) found = {static_cast<int32_t>(along < 0 ? -q : q), gain};
        }
        return found;
    }
};

// A code of one vector, its residual and how far it lowers the price.
class Code {
public:
    Code(const Rules& rules, const float* x) : rules_(&rules), r_(x, x + rules.dictionary.n) {
        r_.resize(rules.stride, 0.0f);
    }

    const float* residual() const { return r_.data(); }
    const std::vector<int32_t>& support() const { return support_; }
    const std::vector<int32_t>& integers() const { return q_; }
    int64_t size() const { return static_cast<int64_t>(support_.size()); }
    double gain() const { return gain_; }
    uint64_t hash() const { return hash_; }

    bool full() const { return size() == rules_->most(); }
    bool has(int32_t index) const { return std::find(support_.begin(), support_.end(), index) != support_.end(); }

    void add(int32_t index, Pick pick) {
        std::vector<int8_t> row(rules_->stride);
        rules_->dictionary.row(index, row.data());
        support_.push_back(index);
        q_.push_back(0);
        atoms_.insert(atoms_.end(), row.begin(), row.end());
        gain_ += pick.gain;
        move(size() - 1, pick.q);
    }

    // Chooses all integers anew, one at a time, until nothing changes.
    void settle() {
        for (int round = 0; round < kMostRounds; ++round) {
            bool changed = false;
            for (int64_t k = 0; k < size();) {
                const int32_t before = q_[k];
                const double along = dot(k) + before * rules_->square();
                const Pick pick = rules_->best(along, size() - 1);
                if (pick.q == before) {
                    ++k;
                    continue;
                }
                changed = true;
                gain_ += pick.gain - gain_of(before, along);
                move(k, pick.q - before);
                if (pick.q != 0) ++k;
                else remove(k);
            }
            if (!changed) return;
        }
    }

    // The identity of a code with one integer more.
    static uint64_t with(uint64_t hash, int32_t index, int32_t q) {
        if (q == 0) return hash;
        uint64_t z = (static_cast<uint64_t>(static_cast<uint32_t>(index)) << 32 | static_cast<uint32_t>(q)) +
                     0x9E3779B97F4A7C15ull;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        return hash ^ z ^ (z >> 31);
    }

private:
    double dot(int64_t k) const {
        return kernels().dot_i8_f32(atoms_.data() + k * rules_->stride, r_.data(), rules_->stride);
    }

    double gain_of(int32_t q, double along) const {
        const double size = std::abs(q);
        const Price& price = rules_->price;
        return 2 * q * along - size * size * rules_->square() -
               price.lambda * (price.value(std::abs(q)) + price.set_bits[this->size()] - price.set_bits[this->size() - 1]);
    }

    void move(int64_t k, int32_t by) {
        hash_ = with(with(hash_, support_[k], q_[k]), support_[k], q_[k] + by);
        q_[k] += by;
        const double u = by;
        kernels().residual(atoms_.data() + k * rules_->stride, rules_->stride, &u, 1, rules_->stride, r_.data(),
                           r_.data());
    }

    void remove(int64_t k) {
        support_.erase(support_.begin() + k);
        q_.erase(q_.begin() + k);
        atoms_.erase(atoms_.begin() + k * rules_->stride, atoms_.begin() + (k + 1) * rules_->stride);
    }

    const Rules* rules_;
    std::vector<float> r_;  // [stride]
    std::vector<int32_t> support_, q_;
    std::vector<int8_t> atoms_;  // [size, stride]
    double gain_ = 0;
    uint64_t hash_ = 0;
};

// A code one atom larger, not made yet.
struct Child {
    int parent;
    int32_t index;
    Pick pick;
    double gain;  // of the whole code
};

// The cheapest codes of one vector so far.
class Beam {
public:
    Beam(const Rules& rules, const float* x, int width) : rules_(rules), width_(width), best_(rules, x) {
        codes_.push_back(best_);
    }

    const std::vector<Code>& codes() const { return codes_; }
    const Code& best() const { return best_; }

    // Replaces the codes by their best extensions; none are left where no atom is worth its bits.
    void grow(const std::vector<Scored>* offers) {
        std::vector<Child> children;
        for (size_t i = 0; i < codes_.size(); ++i) {
            if (codes_[i].full()) continue;
            for (const Scored& offer : offers[i]) {
                const Pick pick = rules_.best(offer.score, codes_[i].size());
                if (pick.q == 0) break;
                if (!codes_[i].has(offer.atom))
                    children.push_back({static_cast<int>(i), offer.atom, pick, codes_[i].gain() + pick.gain});
            }
        }
        std::sort(children.begin(), children.end(), [](const Child& a, const Child& b) {
            return a.gain != b.gain ? a.gain > b.gain : a.parent != b.parent ? a.parent < b.parent : a.index < b.index;
        });
        std::vector<Code> next;
        std::unordered_set<uint64_t> seen;
        for (const Child& child : children) {
            if (static_cast<int>(next.size()) == width_) break;
            const Code& parent = codes_[child.parent];
            if (!seen.insert(Code::with(parent.hash(), child.index, child.pick.q)).second) continue;
            Code code = parent;
            code.add(child.index, child.pick);
            code.settle();
            if (code.gain() > best_.gain()) best_ = code;
            next.push_back(std::move(code));
        }
        codes_ = std::move(next);
    }

private:
    const Rules& rules_;
    const int width_;
    std::vector<Code> codes_;
    Code best_;
};

void store(const Code& code, int64_t s, int32_t* indices, int32_t* q) {
    std::vector<int64_t> order(code.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](int64_t a, int64_t b) { return code.support()[a] < code.support()[b]; });
    std::fill(indices, indices + s, 0);
    std::fill(q, q + s, 0);
    for (int64_t i = 0; i < code.size(); ++i) {
        indices[i] = code.support()[order[i]];
        q[i] = code.integers()[order[i]];
    }
}

// Codes of a block of vectors, which share passes over the dictionary.
void run_block(const Rules& rules, const float* X, int64_t count, int width, int64_t s, int32_t* counts,
               int32_t* indices, int32_t* q) {
    TopAtoms top(rules.dictionary, std::min(width, kOffers));
    std::vector<Beam> beams;
    for (int64_t b = 0; b < count; ++b) beams.emplace_back(rules, X + b * rules.dictionary.n, width);
    while (true) {
        std::vector<const float*> residuals;
        std::vector<size_t> first;
        for (const Beam& beam : beams) {
            first.push_back(residuals.size());
            for (const Code& code : beam.codes()) residuals.push_back(code.residual());
        }
        if (residuals.empty()) break;
        const std::vector<std::vector<Scored>> offers = top.find(residuals);
        for (int64_t b = 0; b < count; ++b) beams[b].grow(offers.data() + first[b]);
    }
    for (int64_t b = 0; b < count; ++b) {
        counts[b] = static_cast<int32_t>(beams[b].best().size());
        store(beams[b].best(), s, indices + b * s, q + b * s);
    }
}

}  // namespace

double Price::value(int64_t magnitude) const {
    const int64_t entries = static_cast<int64_t>(value_bits.size());
    if (magnitude <= entries) return value_bits[magnitude - 1];
    return value_bits.back() + 2 * std::log2(static_cast<double>(magnitude) / static_cast<double>(entries));
}

SparseCodes pursue(const Dictionary& dictionary, const float* X, int64_t B, const Price& price, int beam, int threads) {
    const Rules rules{dictionary, price, padded(dictionary.n)};
    const int64_t s = rules.most();
    SparseCodes out{std::vector<int32_t>(B), std::vector<int32_t>(B * s), std::vector<int32_t>(B * s)};
    Team team(threads);
    const int64_t size = std::clamp<int64_t>((B + team.size() - 1) / team.size(), 1, kBlock);
    team.for_each((B + size - 1) / size, 1, [&](int64_t i, int) {
        const int64_t b = i * size;
        run_block(rules, X + b * dictionary.n, std::min(size, B - b), beam, s, out.counts.data() + b,
                  out.indices.data() + b * s, out.q.data() + b * s);
    });
    return out;
}

}  // namespace coinr
