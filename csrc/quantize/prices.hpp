// What an integer costs where a target is to be met: weighted squared error plus bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "entropy/levels.hpp"

namespace coinr {

struct Candidate {
    int32_t k = 0;
    double cost = std::numeric_limits<double>::infinity();
};

// bits [tables, 2, entries]: bits of |k| by quantiser; beyond the last entry grows with log2.
class Prices {
public:
    Prices(bool dependent, const double* bits, int64_t tables, int64_t entries)
        : dependent_(dependent), bits_(bits), entries_(entries) {
        for (int64_t row = 0; row < 2 * tables; ++row) {
            const double* one = bits_ + row * entries_;
            Savings most{2 * std::log2(3.0), 0};
            for (int64_t k = 1; k < entries_; ++k) most.all = std::max(most.all, one[k] - one[0]);
            for (int64_t k = 2; k < entries_; ++k) most.two = std::max(most.two, one[k] - one[k - 2]);
            most_.push_back(most);
        }
    }

    // The cheapest integer of the given parity (scalar: of any) in a quantiser, for a target in steps and its table.
    // weight: bits that a squared error of one step costs.
    Candidate best(double x, double weight, int quantiser, int parity, int table) const {
        const double magnitude = std::min(std::abs(x), static_cast<double>(kLargestLevel) * (dependent_ ? 2 : 1) - 2);
        const int32_t sign = x < 0 ? -1 : 1;
        const double* bits = bits_ + (2 * table + quantiser) * entries_;
        Candidate found;
        auto consider = [&](int64_t k) {
            if (k < 0 || k > kLargestLevel) return;
            const double value = dependent_ ? static_cast<double>(2 * k - (quantiser && k > 0)) : static_cast<double>(k);
            const double cost = weight * (magnitude - value) * (magnitude - value) + rate(k, bits);
            if (cost < found.cost) found = {static_cast<int32_t>(sign * k), cost};
        };
        if (!dependent_) {
            const int64_t k = std::llround(magnitude);
            consider(k);
            consider(k - 1);
            if (k > 1) consider(0);
            return found;
        }
        const double position = quantiser ? (magnitude + 1) / 2 : magnitude / 2;
        const int64_t k = 2 * static_cast<int64_t>((position - parity) / 2 + 1.5) - 2 + parity;
        consider(std::max<int64_t>(k, parity));
        if (k < 2) return found;
        // values two integers further down, or at zero, where the bits they save might make up for the error
        const double off = magnitude - static_cast<double>(2 * k - quantiser);
        const Savings& most = most_[2 * table + quantiser];
        if (weight * (16 + 8 * off) < most.two || k >= entries_ - 1 || k == 2) consider(k - 2);
        if (parity == 0 && k > 2 && (weight * (magnitude * magnitude - off * off) < most.all || k >= entries_)) consider(0);
        return found;
    }

private:
    // The most bits that a step of two integers towards zero saves, and one to zero.
    struct Savings {
        double two, all;
    };

    double rate(int64_t k, const double* bits) const {
        if (k < entries_) return bits[k];
        return bits[entries_ - 1] + 2 * std::log2(static_cast<double>(k + 1) / static_cast<double>(entries_));
    }

    const bool dependent_;
    const double* bits_;
    const int64_t entries_;
    std::vector<Savings> most_;
};

// The two ways into each state of a trellis: where from, and the parity that leads here.
struct Edge {
    int from, parity;
};

inline std::vector<Edge> edges_into(const Trellis& trellis) {
    std::vector<Edge> edges(2 * trellis.states());
    std::vector<int> filled(trellis.states(), 0);
    for (int state = 0; state < trellis.states(); ++state)
        for (int parity = 0; parity < 2; ++parity) {
            const int to = static_cast<int>(trellis.next(state, parity));
            edges[2 * to + filled[to]++] = {state, parity};
        }
    return edges;
}

}  // namespace coinr
