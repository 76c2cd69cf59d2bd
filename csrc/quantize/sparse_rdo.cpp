#include "quantize/sparse_rdo.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_set>

#include "entropy/sets.hpp"
#include "omp/top_atoms.hpp"
#include "simd/kernels.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {
namespace {

constexpr int kMaxRounds = 8;      // of coordinate descent over all integers
constexpr int64_t kBlock = 64;     // vectors that share passes over the dictionary
constexpr int kProposals = 8;      // atoms that may extend each code of a beam

// An integer and the reduction of the cost that it brings.
struct LevelChoice {
    int32_t q = 0;
    double saving = 0;
};

// The problem that all codes of a call share.
struct RdProblem {
    const Dictionary& dictionary;
    const RateModel& rate;
    int64_t stride;

    int64_t max_atoms() const { return static_cast<int64_t>(rate.set_bits.size()) - 1; }
    double square() const { return static_cast<double>(dictionary.n); }  // |a|^2 of every atom

    // Returns the best integer, zero included, for one more atom beside k others; `along` is a.r without it.
    LevelChoice best(double along, int64_t k) const {
        LevelChoice found;
        const double place = rate.lambda * (rate.set_bits[k + 1] - rate.set_bits[k]);
        const int64_t ideal =
            std::llround(std::min(std::abs(along) / square(), static_cast<double>(kMaxInteger)));
        for (int64_t q = std::max<int64_t>(ideal, 1); q >= std::max<int64_t>(ideal - 1, 1); --q) {
            const double size = static_cast<double>(q);
            const double saving = size * (2 * std::abs(along) - size * square()) - rate.lambda * rate.value(q) - place;
            if (saving > found.saving) found = {static_cast<int32_t>(along < 0 ? -q : q), saving};
        }
        return found;
    }
};

// A code of one vector, its residual and the reduction of the cost that it brings.
class Code {
public:
    Code(const RdProblem& problem, const float* x) : problem_(&problem), r_(x, x + problem.dictionary.n) {
        r_.resize(problem.stride, 0.0f);
    }

    const float* residual() const { return r_.data(); }
    const std::vector<int32_t>& support() const { return support_; }
    const std::vector<int32_t>& integers() const { return q_; }
    int64_t size() const { return static_cast<int64_t>(support_.size()); }
    double saving() const { return saving_; }
    uint64_t hash() const { return hash_; }

    bool full() const { return size() == problem_->max_atoms(); }
    bool has(int32_t index) const { return std::find(support_.begin(), support_.end(), index) != support_.end(); }

    void add(int32_t index, LevelChoice choice) {
        std::vector<int8_t> row(problem_->stride);
        problem_->dictionary.row(index, row.data());
        support_.push_back(index);
        q_.push_back(0);
        atoms_.insert(atoms_.end(), row.begin(), row.end());
        saving_ += choice.saving;
        change_level(size() - 1, choice.q);
    }

    // Chooses each integer again, given the others, until nothing changes (coordinate descent).
    void reoptimize() {
        for (int round = 0; round < kMaxRounds; ++round) {
            bool changed = false;
            for (int64_t k = 0; k < size();) {
                const int32_t before = q_[k];
                const double along = dot(k) + before * problem_->square();
                const LevelChoice choice = problem_->best(along, size() - 1);
                if (choice.q == before) {
                    ++k;
                    continue;
                }
                changed = true;
                saving_ += choice.saving - saving_of(before, along);
                change_level(k, choice.q - before);
                if (choice.q != 0) ++k;
                else remove(k);
            }
            if (!changed) return;
        }
    }

    // Returns the hash of a code with one more atom; it does not depend on the order of the atoms.
    static uint64_t hash_with(uint64_t hash, int32_t index, int32_t q) {
        if (q == 0) return hash;
        uint64_t z = (static_cast<uint64_t>(static_cast<uint32_t>(index)) << 32 | static_cast<uint32_t>(q)) +
                     0x9E3779B97F4A7C15ull;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        return hash ^ z ^ (z >> 31);
    }

private:
    double dot(int64_t k) const {
        return kernels().dot_i8_f32(atoms_.data() + k * problem_->stride, r_.data(), problem_->stride);
    }

    double saving_of(int32_t q, double along) const {
        const double size = std::abs(q);
        const RateModel& rate = problem_->rate;
        return 2 * q * along - size * size * problem_->square() -
               rate.lambda * (rate.value(std::abs(q)) + rate.set_bits[this->size()] - rate.set_bits[this->size() - 1]);
    }

    void change_level(int64_t k, int32_t by) {
        hash_ = hash_with(hash_with(hash_, support_[k], q_[k]), support_[k], q_[k] + by);
        q_[k] += by;
        const double u = by;
        kernels().residual(atoms_.data() + k * problem_->stride, problem_->stride, &u, 1, problem_->stride, r_.data(),
                           r_.data());
    }

    void remove(int64_t k) {
        support_.erase(support_.begin() + k);
        q_.erase(q_.begin() + k);
        atoms_.erase(atoms_.begin() + k * problem_->stride, atoms_.begin() + (k + 1) * problem_->stride);
    }

    const RdProblem* problem_;
    std::vector<float> r_;  // [stride]
    std::vector<int32_t> support_, q_;
    std::vector<int8_t> atoms_;  // [size, stride]
    double saving_ = 0;
    uint64_t hash_ = 0;
};

// An extension of a code by one atom, before it is built.
struct Child {
    int parent;
    int32_t index;
    LevelChoice choice;
    double saving;  // of the whole code
};

// The cheapest codes of one vector so far.
class Beam {
public:
    Beam(const RdProblem& problem, const float* x, int width) : problem_(problem), width_(width), best_(problem, x) {
        codes_.push_back(best_);
    }

    const std::vector<Code>& codes() const { return codes_; }
    const Code& best() const { return best_; }

    // Replaces the codes by their best extensions; leaves none if no atom is worth its bits.
    void grow(const std::vector<Scored>* proposals) {
        std::vector<Child> children;
        for (size_t i = 0; i < codes_.size(); ++i) {
            if (codes_[i].full()) continue;
            for (const Scored& proposal : proposals[i]) {
                const LevelChoice choice = problem_.best(proposal.score, codes_[i].size());
                if (choice.q == 0) break;
                if (!codes_[i].has(proposal.atom))
                    children.push_back(
                        {static_cast<int>(i), proposal.atom, choice, codes_[i].saving() + choice.saving});
            }
        }
        std::sort(children.begin(), children.end(), [](const Child& a, const Child& b) {
            if (a.saving != b.saving) return a.saving > b.saving;
            return a.parent != b.parent ? a.parent < b.parent : a.index < b.index;
        });
        std::vector<Code> next;
        std::unordered_set<uint64_t> seen;
        for (const Child& child : children) {
            if (static_cast<int>(next.size()) == width_) break;
            const Code& parent = codes_[child.parent];
            if (!seen.insert(Code::hash_with(parent.hash(), child.index, child.choice.q)).second) continue;
            Code code = parent;
            code.add(child.index, child.choice);
            code.reoptimize();
            if (code.saving() > best_.saving()) best_ = code;
            next.push_back(std::move(code));
        }
        codes_ = std::move(next);
    }

private:
    const RdProblem& problem_;
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

// Computes the codes of a block of vectors, which share passes over the dictionary.
void run_block(const RdProblem& problem, const float* X, int64_t count, int width, int64_t s, int32_t* counts,
               int32_t* indices, int32_t* q) {
    TopAtoms top(problem.dictionary, std::min(width, kProposals));
    std::vector<Beam> beams;
    for (int64_t b = 0; b < count; ++b) beams.emplace_back(problem, X + b * problem.dictionary.n, width);
    while (true) {
        std::vector<const float*> residuals;
        std::vector<size_t> first;
        for (const Beam& beam : beams) {
            first.push_back(residuals.size());
            for (const Code& code : beam.codes()) residuals.push_back(code.residual());
        }
        if (residuals.empty()) break;
        const std::vector<std::vector<Scored>> proposals = top.find(residuals);
        for (int64_t b = 0; b < count; ++b) beams[b].grow(proposals.data() + first[b]);
    }
    for (int64_t b = 0; b < count; ++b) {
        counts[b] = static_cast<int32_t>(beams[b].best().size());
        store(beams[b].best(), s, indices + b * s, q + b * s);
    }
}

}  // namespace

double RateModel::value(int64_t magnitude) const {
    const int64_t entries = static_cast<int64_t>(value_bits.size());
    if (magnitude <= entries) return value_bits[magnitude - 1];
    return value_bits.back() + 2 * std::log2(static_cast<double>(magnitude) / static_cast<double>(entries));
}

SparseCodes pursue(const Dictionary& dictionary, const float* X, int64_t B, const RateModel& rate, int beam,
                   int threads) {
    const RdProblem problem{dictionary, rate, padded(dictionary.n)};
    const int64_t s = problem.max_atoms();
    SparseCodes out{std::vector<int32_t>(B), std::vector<int32_t>(B * s), std::vector<int32_t>(B * s)};
    Team team(threads);
    const int64_t size = std::clamp<int64_t>((B + team.size() - 1) / team.size(), 1, kBlock);
    team.for_each((B + size - 1) / size, 1, [&](int64_t i, int) {
        const int64_t b = i * size;
        run_block(problem, X + b * dictionary.n, std::min(size, B - b), beam, s, out.counts.data() + b,
                  out.indices.data() + b * s, out.q.data() + b * s);
    });
    return out;
}

}  // namespace coinr
