#include "quantize/trellis.hpp"

#include <algorithm>
#include <limits>

#include "quantize/prices.hpp"

namespace coinr {

std::vector<int32_t> choose_levels(int log_states, const double* x, int64_t count, const std::vector<double>& weight,
                                   const double* bits, int64_t tables, int64_t entries, const uint8_t* table) {
    const Trellis trellis(log_states);
    const Prices prices(log_states > 0, bits, tables, entries);
    auto weight_of = [&](int64_t i) { return weight.size() == 1 ? weight[0] : weight[i]; };
    std::vector<int32_t> k(count);
    if (log_states == 0) {
        for (int64_t i = 0; i < count; ++i) k[i] = prices.best(x[i], weight_of(i), 0, 0, table ? table[i] : 0).k;
        return k;
    }
    const int states = trellis.states();
    const std::vector<Edge> edges = edges_into(trellis);
    std::vector<double> cost(states, std::numeric_limits<double>::infinity()), fresh(states);
    cost[0] = 0;
    std::vector<uint8_t> came(static_cast<size_t>(count) * states);
    std::vector<int32_t> chosen(4 * count);
    for (int64_t i = 0; i < count; ++i) {
        double price[4];
        for (int c = 0; c < 4; ++c) {
            const Candidate best = prices.best(x[i], weight_of(i), c >> 1, c & 1, table ? table[i] : 0);
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
