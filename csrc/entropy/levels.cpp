#include "entropy/levels.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

#include "entropy/levels_binary.hpp"
#include "entropy/levels_rans.hpp"
#include "entropy/prior.hpp"

namespace coinr {
namespace {

// Ungerboeck's codes for amplitude modulation by number of registers: feedback and input polynomials.
constexpr uint32_t kCodes[9][2] = {{0, 0},      {0, 0},       {05, 02},     {013, 04},   {023, 04},
                                   {045, 010}, {0103, 024}, {0235, 0126}, {0515, 0362}};

void check(const LevelModel& model) {
    if (model.rows < 0 || model.columns < 0) throw std::invalid_argument("negative number of rows or columns");
    if (model.shape < 0 || model.shape >= kShapes)
        throw std::invalid_argument("shape is " + std::to_string(model.shape) + "; allowed: 0 to 7");
    if (model.scale < 1 || model.scale > (1 << 26))
        throw std::invalid_argument("scale is " + std::to_string(model.scale) + "; allowed: 1 to 2**26");
    if (model.rans && model.mixed) throw std::invalid_argument("rANS contexts are not mixed");
}

void check_exponents(bool present, int64_t count, const std::vector<uint8_t>& exponent) {
    if (static_cast<int64_t>(exponent.size()) != (present ? count : 0))
        throw std::invalid_argument(std::to_string(exponent.size()) + " step exponents for " +
                                    std::to_string(present ? count : 0) + " rows or columns");
    for (const uint8_t e : exponent)
        if (e > kMaxExponent)
            throw std::invalid_argument("step exponent " + std::to_string(e) + " is not in 0 to 31");
}

}  // namespace

Trellis::Trellis(int log_states_) : log_states(log_states_) {
    if (log_states < 0 || log_states == 1 || log_states > 8)
        throw std::invalid_argument("log_states is " + std::to_string(log_states) + "; allowed: 0, 2 to 8");
    feedback = kCodes[log_states][0] >> 1;
    input = kCodes[log_states][1] >> 1;
}

void check_model(const LevelModel& model, const LevelData* exponents) {
    check(model);
    if (!exponents) return;
    check_exponents(model.row_steps, model.rows, exponents->row);
    check_exponents(model.column_steps, model.columns, exponents->column);
}

std::string encode_levels(const LevelModel& model, const LevelData& integers) {
    check_model(model, &integers);
    if (static_cast<int64_t>(integers.k.size()) != model.rows * model.columns)
        throw std::invalid_argument("integers and shape differ in size");
    for (const int32_t k : integers.k)
        if (std::abs(static_cast<int64_t>(k)) > kMaxLevel)
            throw std::invalid_argument("level " + std::to_string(k) + " is not in +-(2**20 - 1)");
    return model.rans ? encode_levels_rans(model, integers) : encode_levels_binary(model, integers);
}

LevelData decode_levels(const LevelModel& model, const uint8_t* data, int64_t size) {
    check(model);
    return model.rans ? decode_levels_rans(model, data, size) : decode_levels_binary(model, data, size);
}

void level_values(int log_states, const int32_t* k, int64_t count, int32_t* values) {
    const Trellis trellis(log_states);
    uint32_t state = 0;
    for (int64_t i = 0; i < count; ++i) {
        values[i] = trellis.value(state, k[i]);
        if (log_states) state = trellis.next(state, k[i] & 1);
    }
}

std::vector<double> level_costs(const LevelModel& model, int64_t count) {
    check(model);
    const Trellis trellis(model.log_states);
    const Tail tail(model.shape, 4 * static_cast<int64_t>(model.scale));
    std::vector<double> bits(2 * count);
    for (uint32_t q = 0; q < 2; ++q)
        for (int64_t j = 0; j < count; ++j) {
            const double above = j == 0 ? 1u << 30 : tail(threshold(trellis, q, j));
            const double p = (above - tail(threshold(trellis, q, j + 1))) / (1u << 30);
            bits[q * count + j] = (j > 0) - std::log2(std::max(p, 1e-9 / (1.0 + static_cast<double>(j))));
        }
    return bits;
}

}  // namespace coinr
