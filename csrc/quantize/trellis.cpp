#include "quantize/trellis.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "quantize/rd_cost.hpp"
#include "simd/aligned.hpp"
#include "simd/kernels.hpp"

namespace coinr {
namespace {

// The four options of a target are numbered 2 * quantizer + parity.
constexpr int kOptions = 4;

std::vector<OptionTable> option_tables(const RdCost& rd_cost, const double* bits, int64_t tables, int64_t entries) {
    std::vector<OptionTable> made(tables);
    for (int64_t t = 0; t < tables; ++t)
        for (int option = 0; option < kOptions; ++option) {
            const int64_t row = 2 * t + option / 2;
            const RdCost::Savings& savings = rd_cost.savings()[row];
            made[t].row[option] = static_cast<double>(row * entries);
            made[t].zero_bits[option] = bits[row * entries];
            made[t].two_down[option] = savings.two_down;
            made[t].to_zero[option] = savings.to_zero;
        }
    return made;
}

class Targets {
public:
    Targets(const RdCost& rd_cost, const double* x, const std::vector<double>& weight, const uint8_t* table)
        : rd_cost_(rd_cost), x_(x), weight_(weight), table_(table) {}

    LevelOption best(int64_t i, int option) const {
        return rd_cost_.best(x_[i], weight_.size() == 1 ? weight_[0] : weight_[i], option / 2, option % 2,
                             table_ ? table_[i] : 0);
    }

    int64_t nearest(int64_t i, int option) const {
        return RdCost::nearest(std::min(std::abs(x_[i]), rd_cost_.largest()), option / 2, option % 2);
    }

    // Returns the integer of an option, from what TrellisTask::options says of the target.
    int32_t level(int64_t i, int option, uint8_t options) const {
        const bool lower = options >> option & 1, zero = options >> (kOptions + option) & 1;
        const auto k = static_cast<int32_t>(zero ? 0 : nearest(i, option) - 2 * lower);
        return x_[i] < 0 ? -k : k;
    }

    // TrellisTask::choose_options of the targets that `context` points to.
    static void choose_options(const void* context, int64_t i, double* cost, int at, uint32_t* lower,
                               uint32_t* zero) {
        const auto& targets = *static_cast<const Targets*>(context);
        for (int option = 0; option < kOptions; ++option) {
            const LevelOption best = targets.best(i, option);
            const int64_t less = targets.nearest(i, option) - std::abs(best.k);
            const uint32_t bit = 1u << (at + option);
            cost[option] = best.cost;
            *lower = (*lower & ~bit) | (less == 2 ? bit : 0);
            *zero = (*zero & ~bit) | (less > 2 ? bit : 0);
        }
    }

private:
    const RdCost& rd_cost_;
    const double* x_;
    const std::vector<double>& weight_;
    const uint8_t* table_;
};

}  // namespace

std::vector<int32_t> choose_levels(int log_states, const double* x, int64_t count, const std::vector<double>& weight,
                                   const double* bits, int64_t tables, int64_t entries, const uint8_t* table,
                                   bool closed) {
    const Trellis trellis(log_states);
    const RdCost rd_cost(log_states > 0, bits, tables, entries);
    const Targets targets(rd_cost, x, weight, table);
    std::vector<int32_t> k(count);
    if (log_states == 0) {
        for (int64_t i = 0; i < count; ++i) k[i] = targets.best(i, 0).k;
        return k;
    }
    const int states = trellis.states(), bytes = std::max(1, states / 8);
    const std::vector<OptionTable> option_table = option_tables(rd_cost, bits, tables, entries);
    Aligned<double> cost(std::max(states, 16), std::numeric_limits<double>::infinity());
    cost[0] = 0;
    const std::unique_ptr<uint8_t[]> odd(new uint8_t[count * bytes]), options(new uint8_t[count]);
    TrellisTask task{};
    task.count = count;
    task.x = x;
    task.weight = weight.data();
    task.weight_stride = weight.size() == 1 ? 0 : 1;
    task.largest = rd_cost.largest();
    task.table = table;
    task.tables = option_table.data();
    task.bits = bits;
    task.entries = entries;
    task.choose_options = &Targets::choose_options;
    task.context = &targets;
    task.states = states;
    task.feedback = trellis.feedback;
    task.input = trellis.input;
    task.cost = cost.data();
    task.odd = odd.get();
    task.options = options.get();
    kernels().find_survivors(task);
    const auto last = closed ? cost.begin() : std::min_element(cost.begin(), cost.begin() + states);
    int state = static_cast<int>(last - cost.begin());
    for (int64_t i = count - 1; i >= 0; --i) {
        const int upper = state >= states / 2, parity = odd[i * bytes + state / 8] >> (state % 8) & 1;
        k[i] = targets.level(i, 2 * upper + parity, options[i]);
        state = static_cast<int>(trellis.before(state, parity));
    }
    return k;
}

}  // namespace coinr
