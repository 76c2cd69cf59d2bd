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
    if (model.ascending && (model.rans || model.row_steps || model.column_steps))
        throw std::invalid_argument("ascending levels have neither rANS nor steps of their own");
}

void check_exponents(bool present, int64_t count, const std::vector<uint8_t>& exponent) {
    if (static_cast<int64_t>(exponent.size()) != (present ? count : 0))
        throw std::invalid_argument(std::to_string(exponent.size()) + " step exponents for " +
                                    std::to_string(present ? count : 0) + " rows or columns");
    for (const uint8_t e : exponent)
        if (e > kMaxExponent)
            throw std::invalid_argument("step exponent " + std::to_string(e) + " is not in 0 to 31");
}

// Follows the rows of a matrix of ascending levels, integer by integer.
class Ascent {
public:
    explicit Ascent(const Trellis& trellis) : trellis_(trellis) {}

    void begin_row() { value_ = 0; }

    // Returns the integer nearest to the value before, from which the next one is counted.
    int32_t nearest() const {
        return trellis_.log_states ? (value_ + static_cast<int32_t>(state_ & 1)) >> 1 : value_;
    }

    // Goes on to integer k and returns its value.
    int32_t go_to(int32_t k) {
        value_ = trellis_.value(state_, k);
        if (trellis_.log_states) state_ = trellis_.next(state_, k & 1);
        return value_;
    }

private:
    const Trellis& trellis_;
    uint32_t state_ = 0;
    int32_t value_ = 0;
};

void check_level(int64_t k) {
    if (std::abs(k) > kMaxLevel)
        throw std::invalid_argument("level " + std::to_string(k) + " is not in +-(2**20 - 1)");
}

// Returns the model of the distances, which are coded as the integers of a scalar quantizer.
LevelModel model_of_distances(LevelModel model) {
    model.log_states = 0;
    return model;
}

std::string encode_ascending(const LevelModel& model, LevelData integers) {
    const Trellis trellis(model.log_states);
    Ascent ascent(trellis);
    for (int64_t i = 0; i < static_cast<int64_t>(integers.k.size()); ++i) {
        if (i % model.columns == 0) ascent.begin_row();
        const int32_t k = integers.k[i];
        integers.k[i] -= ascent.nearest();
        check_level(integers.k[i]);
        ascent.go_to(k);
    }
    return encode_levels_binary(model_of_distances(model), integers);
}

LevelData decode_ascending(const LevelModel& model, const uint8_t* data, int64_t size) {
    LevelData values = decode_levels_binary(model_of_distances(model), data, size);
    const Trellis trellis(model.log_states);
    Ascent ascent(trellis);
    for (int64_t i = 0; i < static_cast<int64_t>(values.k.size()); ++i) {
        if (i % model.columns == 0) ascent.begin_row();
        const int32_t k = values.k[i] + ascent.nearest();
        check_level(k);
        values.k[i] = ascent.go_to(k);
    }
    return values;
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
    for (const int32_t k : integers.k) check_level(k);
    if (model.ascending) return encode_ascending(model, integers);
    return model.rans ? encode_levels_rans(model, integers) : encode_levels_binary(model, integers);
}

LevelData decode_levels(const LevelModel& model, const uint8_t* data, int64_t size) {
    check(model);
    if (model.ascending) return decode_ascending(model, data, size);
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
