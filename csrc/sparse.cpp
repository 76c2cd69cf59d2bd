#include "sparse.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "hadamard.hpp"
#include "kernels.hpp"
#include "screen.hpp"
#include "select.hpp"
#include "sets.hpp"
#include "team.hpp"

namespace coinr {
namespace {

constexpr int kMostRounds = 8;        // of choosing all integers anew
constexpr int64_t kFewest = 16;       // vectors of a block: fewer leave lanes of a transform idle

// An integer and what the price falls by with it.
struct Pick {
    int32_t q = 0;
    double gain = 0;
};

// The code of one vector and its residual.
class Code {
public:
    void start(const Dictionary& dictionary, const float* x, const Price& price) {
        dictionary_ = &dictionary;
        price_ = &price;
        stride_ = padded(dictionary.n);
        r_.assign(x, x + dictionary.n);
        r_.resize(stride_, 0.0f);
        row_.resize(stride_);
    }

    const float* residual() const { return r_.data(); }
    const std::vector<int32_t>& support() const { return support_; }
    const std::vector<int32_t>& integers() const { return q_; }
    int64_t size() const { return static_cast<int64_t>(support_.size()); }
    double energy() const { return kernels().energy(r_.data(), stride_); }

    // Adds the atom if that lowers the price.
    bool add(const Choice& choice) {
        if (choice.atom < 0 || size() + 1 >= static_cast<int64_t>(price_->set_bits.size())) return false;
        dictionary_->row(choice.atom, row_.data());
        const Pick pick = best(row_.data(), set_step(size()));
        if (pick.gain <= 0) return false;
        append(choice.atom, pick.q);
        return true;
    }

    // Chooses all integers anew, one at a time, until nothing changes.
    void settle() {
        for (int round = 0; round < kMostRounds; ++round) {
            bool changed = false;
            for (int64_t k = 0; k < size();) {
                const int32_t before = q_[k];
                move(k, -before);
                const Pick pick = best(atom(k), set_step(size() - 1));
                changed |= pick.q != before;
                if (pick.q == 0) {
                    remove(k);
                } else {
                    move(k, pick.q);
                    ++k;
                }
            }
            if (!changed) return;
        }
    }

    // Takes the oldest atom out; restore() or replace() must follow.
    void take_out() {
        move(0, -q_[0]);
        spare_index_ = support_[0];
        spare_q_ = q_[0];
        const Pick pick = best(atom(0), 0);
        spare_gain_ = 2.0 * spare_q_ * dot(atom(0)) - static_cast<double>(spare_q_) * spare_q_ * norm2(atom(0)) -
                      price_->lambda * price_->value(std::abs(spare_q_));
        if (pick.gain > spare_gain_) {
            spare_q_ = pick.q;
            spare_gain_ = pick.gain;
        }
        remove(0);
    }

    // Puts in what the choice offers, or what was taken out, whichever is better. True if something changed.
    bool put_back(const Choice& choice) {
        if (choice.atom >= 0 && choice.atom != spare_index_) {
            dictionary_->row(choice.atom, row_.data());
            const Pick pick = best(row_.data(), 0);
            if (pick.q != 0 && pick.gain > spare_gain_ * (1 + 1e-6)) {
                append(choice.atom, pick.q);
                return true;
            }
        }
        dictionary_->row(spare_index_, row_.data());
        append(spare_index_, spare_q_);
        return false;
    }

private:
    const int8_t* atom(int64_t k) const { return atoms_.data() + k * stride_; }
    double dot(const int8_t* row) const { return kernels().dot_i8_f32(row, r_.data(), stride_); }
    double norm2(const int8_t* row) const { return kernels().dot_i8(row, row, stride_); }

    // Price of the place of one atom more than k.
    double set_step(int64_t k) const { return price_->lambda * (price_->set_bits[k + 1] - price_->set_bits[k]); }

    // The best integer for an atom that is not in the code, zero included; `place` is the price of its index.
    Pick best(const int8_t* row, double place) const {
        const double along = dot(row), square = norm2(row);
        Pick found;
        if (square == 0) return found;
        const double ideal = std::min(std::abs(along) / square, static_cast<double>(kLargestInteger));
        for (int64_t q = std::llround(ideal); q >= 1 && q >= std::llround(ideal) - 1; --q) {
            const double gain = 2.0 * static_cast<double>(q) * std::abs(along) -
                                static_cast<double>(q) * static_cast<double>(q) * square -
                                price_->lambda * price_->value(q) - place;
            if (gain > found.gain) found = {static_cast<int32_t>(along < 0 ? -q : q), gain};
        }
        return found;
    }

    void subtract(const int8_t* row, int32_t q) {
        const double u = q;
        kernels().residual(row, &u, 1, stride_, r_.data(), r_.data());
    }

    // Adds dq to the integer of atom k.
    void move(int64_t k, int32_t dq) {
        q_[k] += dq;
        subtract(atom(k), dq);
    }

    void append(int64_t index, int32_t q) {
        support_.push_back(static_cast<int32_t>(index));
        q_.push_back(q);
        atoms_.insert(atoms_.end(), row_.begin(), row_.end());
        subtract(row_.data(), q);
    }

    void remove(int64_t k) {
        support_.erase(support_.begin() + k);
        q_.erase(q_.begin() + k);
        atoms_.erase(atoms_.begin() + k * stride_, atoms_.begin() + (k + 1) * stride_);
    }

    const Dictionary* dictionary_ = nullptr;
    const Price* price_ = nullptr;
    int64_t stride_ = 0;
    std::vector<float> r_;
    std::vector<int32_t> support_, q_;
    std::vector<int8_t> atoms_;  // [size, stride]
    std::vector<int8_t> row_;
    int32_t spare_index_ = 0, spare_q_ = 0;
    double spare_gain_ = 0;
};

using Select = std::function<std::vector<Choice>(const std::vector<Query>&, Team&)>;

// The codes of one block of vectors, in lockstep: one pass over the dictionary serves them all.
class Block {
public:
    Block(const Dictionary& dictionary, const float* X, int64_t B, const Price& price, Team& team, const Select& select)
        : team_(team), select_(select), codes_(B) {
        for (int64_t b = 0; b < B; ++b) codes_[b].start(dictionary, X + b * dictionary.n, price);
    }

    void run(int sweeps) {
        std::vector<int64_t> all(codes_.size());
        std::iota(all.begin(), all.end(), 0);
        grow(all);
        for (int sweep = 0; sweep < sweeps; ++sweep) {
            exchange();
            grow(all);
        }
    }

    const Code& code(int64_t b) const { return codes_[b]; }

private:
    std::vector<Choice> choices(const std::vector<int64_t>& who) {
        std::vector<Query> queries;
        for (const int64_t b : who) queries.push_back({codes_[b].residual(), &codes_[b].support()});
        return select_(queries, team_);
    }

    void grow(std::vector<int64_t> who) {
        while (!who.empty()) {
            const std::vector<Choice> found = choices(who);
            std::vector<char> grown(who.size());
            team_.for_each(static_cast<int64_t>(who.size()), 4, [&](int64_t v, int) {
                grown[v] = codes_[who[v]].add(found[v]);
                if (grown[v]) codes_[who[v]].settle();
            });
            std::vector<int64_t> rest;
            for (size_t v = 0; v < who.size(); ++v)
                if (grown[v]) rest.push_back(who[v]);
            who.swap(rest);
        }
    }

    // Offers every atom of every vector for exchange, oldest first.
    void exchange() {
        std::vector<int64_t> turns(codes_.size());
        for (size_t b = 0; b < codes_.size(); ++b) turns[b] = codes_[b].size();
        while (true) {
            std::vector<int64_t> who;
            for (size_t b = 0; b < codes_.size(); ++b)
                if (turns[b] > 0 && codes_[b].size() > 0) {
                    who.push_back(static_cast<int64_t>(b));
                    --turns[b];
                }
            if (who.empty()) return;
            team_.for_each(static_cast<int64_t>(who.size()), 4, [&](int64_t v, int) { codes_[who[v]].take_out(); });
            const std::vector<Choice> found = choices(who);
            team_.for_each(static_cast<int64_t>(who.size()), 4, [&](int64_t v, int) {
                if (codes_[who[v]].put_back(found[v])) codes_[who[v]].settle();
            });
        }
    }

    Team& team_;
    const Select& select_;
    std::vector<Code> codes_;
};

void store(const Code& code, int64_t s, int32_t* indices, int32_t* q) {
    std::vector<int64_t> order(code.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](int64_t a, int64_t b) { return code.support()[a] < code.support()[b]; });
    for (int64_t i = 0; i < code.size(); ++i) {
        indices[i] = code.support()[order[i]];
        q[i] = code.integers()[order[i]];
    }
    std::fill(indices + code.size(), indices + s, 0);
    std::fill(q + code.size(), q + s, 0);
}

}  // namespace

double Price::value(int64_t magnitude) const {
    const int64_t entries = static_cast<int64_t>(value_bits.size());
    if (magnitude <= entries) return value_bits[magnitude - 1];
    return value_bits.back() + 2 * std::log2(static_cast<double>(magnitude) / static_cast<double>(entries));
}

SparseCodes pursue(const Dictionary& dictionary, const float* X, int64_t B, const Price& price, int sweeps,
                   int threads) {
    const int64_t n = dictionary.n, s = static_cast<int64_t>(price.set_bits.size()) - 1;
    SparseCodes out{std::vector<int32_t>(B), std::vector<int32_t>(B * s), std::vector<int32_t>(B * s),
                    std::vector<double>(B)};
    if (B == 0) return out;
    Team team(threads);
    std::unique_ptr<TileSource> tiles;
    if (dictionary.kind != Kind::hadamard) tiles = std::make_unique<TileSource>(dictionary, team);
    const auto run = [&](int64_t first, int64_t count, Team& members) {
        std::unique_ptr<HadamardScreen> transform;
        std::unique_ptr<Screen> screen;
        if (tiles) screen = std::make_unique<Screen>(*tiles, members);
        else transform = std::make_unique<HadamardScreen>(dictionary, members);
        const Select select = [&](const std::vector<Query>& queries, Team& own) {
            return tiles ? screen->select(queries, false, own) : transform->select(queries, false, own);
        };
        Block block(dictionary, X + first * n, count, price, members, select);
        block.run(sweeps);
        for (int64_t b = 0; b < count; ++b) {
            const Code& code = block.code(b);
            out.counts[first + b] = static_cast<int32_t>(code.size());
            out.energy[first + b] = code.energy();
            store(code, s, out.indices.data() + (first + b) * s, out.q.data() + (first + b) * s);
        }
    };
    // Blocks side by side, one thread each; the whole team on one where there are too few vectors, or where a pass
    // must make the dictionary anew.
    if ((tiles && !tiles->cached()) || B < kFewest * team.size()) {
        run(0, B, team);
        return out;
    }
    const int64_t size = std::min<int64_t>(std::max(kFewest, (B + team.size() - 1) / team.size()), 256);
    team.for_each((B + size - 1) / size, 1, [&](int64_t i, int) {
        Team alone(1);
        run(i * size, std::min(size, B - i * size), alone);
    });
    return out;
}

}  // namespace coinr
