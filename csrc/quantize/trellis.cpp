#include "quantize/trellis.hpp"

#include <algorithm>
#include <limits>

#include "quantize/rd_cost.hpp"

namespace coinr {

std::vector<int32_t> choose_levels(int log_states, const double* x, int64_t count, const std::vector<double>& weight,
                                   const double* bits, int64_t tables, int64_t entries, const uint8_t* table) {
    const Trellis trellis(log_states);
    const RdCost rd_cost(log_states > 0, bits, tables, entries);
    auto weight_of = [&](int64_t i) { return weight.size() == 1 ? weight[0] : weight[i]; };
    std::vector<int32_t> k(count);
    if (log_states == 0) {
        for (int64_t i = 0; i < count; ++i) k[i] = rd_cost.best(x[i], weight_of(i), 0, 0, table ? table[i] : 0).k;
        return k;
    }
    const int states = trellis.states();
    const std::vector<Edge> edges = edges_into(trellis);
    std::vector<double> cost(states, std::numeric_limits<double>::infinity()), next_cost(states);
    cost[0] = 0;
    std::vector<uint8_t> took_second(static_cast<size_t>(count) * states);
    std::vector<int32_t> option_level(4 * count);
    for (int64_t i = 0; i < count; ++i) {
        double option_cost[4];
        for (int c = 0; c < 4; ++c) {
            const LevelOption best = rd_cost.best(x[i], weight_of(i), c >> 1, c & 1, table ? table[i] : 0);
            option_level[4 * i + c] = best.k;
            option_cost[c] = best.cost;
        }
        uint8_t* from = took_second.data() + i * states;
        double lowest = std::numeric_limits<double>::infinity();
        for (int to = 0; to < states; ++to) {
            const Edge &a = edges[2 * to], &b = edges[2 * to + 1];
            const double ca = cost[a.from] + option_cost[2 * (a.from & 1) + a.parity];
            const double cb = cost[b.from] + option_cost[2 * (b.from & 1) + b.parity];
            from[to] = cb < ca;
            next_cost[to] = std::min(ca, cb);
            lowest = std::min(lowest, next_cost[to]);
        }
        for (int to = 0; to < states; ++to) cost[to] = next_cost[to] - lowest;
    }
    int state = static_cast<int>(std::min_element(cost.begin(), cost.end()) - cost.begin());
    for (int64_t i = count - 1; i >= 0; --i) {
        const Edge& edge = edges[2 * state + took_second[i * states + state]];
        k[i] = option_level[4 * i + 2 * (edge.from & 1) + edge.parity];
        state = edge.from;
    }
    return k;
}

}  // namespace coinr
