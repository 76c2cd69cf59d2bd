#include "trellis.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "levels.hpp"

namespace coinr {
namespace {

struct Candidate {
    int32_t k = 0;
    double cost = std::numeric_limits<double>::infinity();
};

class Candidates {
public:
    Candidates(bool dependent, const double* bits, int64_t entries)
        : dependent_(dependent), bits_(bits), entries_(entries) {}

    // The cheapest integer of the given parity (scalar: of any) in a quantiser, for a target and its table.
    Candidate best(double x, double weight, int quantiser, int parity, int table) const {
        const double magnitude = std::min(std::abs(x), static_cast<double>(kLargestLevel) * (dependent_ ? 2 : 1) - 2);
        const int32_t sign = x < 0 ? -1 : 1;
        Candidate found;
        auto consider = [&](int64_t k) {
            if (k < 0 || k > kLargestLevel) return;
            const double value = dependent_ ? static_cast<double>(2 * k - (quantiser && k > 0)) : static_cast<double>(k);
            const double cost = weight * (magnitude - value) * (magnitude - value) + rate(k, quantiser, table);
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
        const int64_t k = 2 * static_cast<int64_t>(std::floor((position - parity) / 2 + 0.5)) + parity;
        consider(std::max<int64_t>(k, parity));
        consider(k - 2);
        if (parity == 0 && k > 2) consider(0);
        return found;
    }

private:
    double rate(int64_t k, int quantiser, int table) const {
        const double* bits = bits_ + (2 * table + quantiser) * entries_;
        if (k < entries_) return bits[k];
        return bits[entries_ - 1] + 2 * std::log2(static_cast<double>(k + 1) / static_cast<double>(entries_));
    }

    const bool dependent_;
    const double* bits_;
    const int64_t entries_;
};

}  // namespace

std::vector<int32_t> choose_levels(int log_states, const double* x, int64_t count, const std::vector<double>& weight,
                                   const double* bits, int64_t entries, const uint8_t* table, uint32_t start) {
    const Trellis trellis(log_states);
    const Candidates candidates(log_states > 0, bits, entries);
    auto weight_of = [&](int64_t i) { return weight.size() == 1 ? weight[0] : weight[i]; };
    std::vector<int32_t> k(count);
    if (log_states == 0) {
        for (int64_t i = 0; i < count; ++i) k[i] = candidates.best(x[i], weight_of(i), 0, 0, table ? table[i] : 0).k;
        return k;
    }
    const int states = trellis.states();
    // Each state has two predecessors; the second's code is the parity that leads here.
    struct Edge {
        int from, parity;
    };
    std::vector<Edge> edges(2 * states);
    std::vector<int> filled(states, 0);
    for (int s = 0; s < states; ++s)
        for (int parity = 0; parity < 2; ++parity) {
            const int to = static_cast<int>(trellis.next(s, parity));
            edges[2 * to + filled[to]++] = {s, parity};
        }
    std::vector<double> cost(states, std::numeric_limits<double>::infinity()), fresh(states);
    cost[start] = 0;
    std::vector<uint8_t> came(static_cast<size_t>(count) * states);
    std::vector<int32_t> chosen(4 * count);
    for (int64_t i = 0; i < count; ++i) {
        double price[4];
        for (int c = 0; c < 4; ++c) {
            const Candidate best = candidates.best(x[i], weight_of(i), c >> 1, c & 1, table ? table[i] : 0);
            chosen[4 * i + c] = best.k;
            price[c] = best.cost;
        }
        uint8_t* from = came.data() + i * states;
        double least = std::numeric_limits<double>::infinity();
        for (int to = 0; to < states; ++to) {
            const Edge &a = edges[2 * to], &b = edges[2 * to + 1];
            const double ca = cost[a.from] + price[2 * (a.from & 1) + a.parity];
            const double cb = cost[b.from] + price[2 * (b.from & 1) + b.parity];
            from[to] = cb < ca;
            fresh[to] = std::min(ca, cb);
            least = std::min(least, fresh[to]);
        }
        for (int to = 0; to < states; ++to) cost[to] = fresh[to] - least;
    }
    int state = static_cast<int>(std::min_element(cost.begin(), cost.end()) - cost.begin());
    for (int64_t i = count - 1; i >= 0; --i) {
        const Edge& edge = edges[2 * state + came[i * states + state]];
        k[i] = chosen[4 * i + 2 * (edge.from & 1) + edge.parity];
        state = edge.from;
    }
    return k;
}

}  // namespace coinr
