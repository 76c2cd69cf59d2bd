// The rate-distortion cost of an integer: weight * (target - value)^2 + bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "entropy/levels.hpp"

namespace coinr {

struct LevelOption {
    int32_t k = 0;
    double cost = std::numeric_limits<double>::infinity();
};

// bits [tables, 2, entries]: bits of |k| by quantizer; beyond the last entry grows with log2.
class RdCost {
public:
    RdCost(bool dependent, const double* bits, int64_t tables, int64_t entries)
        : dependent_(dependent), bits_(bits), entries_(entries) {
        for (int64_t row = 0; row < 2 * tables; ++row) {
            const double* one = bits_ + row * entries_;
            Savings largest{2 * std::log2(3.0), 0};
            for (int64_t k = 1; k < entries_; ++k) largest.to_zero = std::max(largest.to_zero, one[k] - one[0]);
            for (int64_t k = 2; k < entries_; ++k) largest.two_down = std::max(largest.two_down, one[k] - one[k - 2]);
            savings_.push_back(largest);
        }
    }

    // Returns the cheapest integer of the given parity (scalar: of any parity) in a quantizer, for a target in steps.
    // weight: bits per squared error of one step; table: which table of bits to use.
    LevelOption best(double x, double weight, int quantizer, int parity, int table) const {
        const double magnitude = std::min(std::abs(x), largest());
        const int32_t sign = x < 0 ? -1 : 1;
        const double* bits = bits_ + (2 * table + quantizer) * entries_;
        LevelOption found;
        auto consider = [&](int64_t k) {
            if (k < 0 || k > kMaxLevel) return;
            const double value = static_cast<double>(dependent_ ? 2 * k - (quantizer && k > 0) : k);
            const double cost = weight * (magnitude - value) * (magnitude - value) + rate(k, bits);
            if (cost < found.cost) found = {static_cast<int32_t>(sign * k), cost};
        };
        if (!dependent_) {
            const auto below = static_cast<int64_t>(magnitude);
            const int64_t k = below + (magnitude - static_cast<double>(below) >= 0.5);
            consider(k);
            consider(k - 1);
            if (k > 1) consider(0);
            return found;
        }
        const int64_t k = nearest(magnitude, quantizer, parity);
        consider(k);
        if (k < 2) return found;
        // the value two integers down, and zero, if the bits they save may outweigh their larger error
        const double off = magnitude - static_cast<double>(2 * k - quantizer);
        const Savings& largest = savings_[2 * table + quantizer];
        if (weight * (16 + 8 * off) < largest.two_down || k >= entries_ - 1 || k == 2) consider(k - 2);
        const bool may_be_zero = weight * (magnitude * magnitude - off * off) < largest.to_zero || k >= entries_;
        if (parity == 0 && k > 2 && may_be_zero) consider(0);
        return found;
    }

    // Larger targets count as this one.
    double largest() const { return static_cast<double>(kMaxLevel) * (dependent_ ? 2 : 1) - 2; }

    // Returns the integer of the given parity whose value in a quantizer of a trellis is nearest.
    static int64_t nearest(double magnitude, int quantizer, int parity) {
        const double position = quantizer ? (magnitude + 1) / 2 : magnitude / 2;
        return 2 * static_cast<int64_t>((position - parity) / 2 + 1.5) - 2 + parity;
    }

    // The most bits saved by any integer that moves down by two, and by one that moves to zero.
    struct Savings {
        double two_down, to_zero;
    };
    // by table and quantizer
    const std::vector<Savings>& savings() const { return savings_; }

private:

    double rate(int64_t k, const double* bits) const {
        if (k < entries_) return bits[k];
        return bits[entries_ - 1] + 2 * std::log2(static_cast<double>(k + 1) / static_cast<double>(entries_));
    }

    const bool dependent_;
    const double* bits_;
    const int64_t entries_;
    std::vector<Savings> savings_;
};

// The two edges into each state of a trellis: the state before, and the parity of the integer.
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
