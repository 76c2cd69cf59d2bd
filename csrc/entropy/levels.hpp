// Entropy coding of quantized weights: a [rows, columns] matrix of signed integers from a scalar or trellis quantizer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace coinr {

// The trellis of dependent quantization (Marcellin and Fischer, 1990, with Ungerboeck's codes of 1982): state bit 0
// chooses between two quantizers, the parity of an integer moves to the next state.
struct Trellis {
    explicit Trellis(int log_states);  // 0: plain scalar quantization; else 2 to 8. std::invalid_argument otherwise.

    int states() const { return 1 << log_states; }
    uint32_t next(uint32_t state, int parity) const {
        return (state >> 1) ^ (state & 1 ? feedback : 0) ^ (parity ? input : 0);
    }
    // Returns the state from which `parity` leads to `state`.
    uint32_t before(uint32_t state, int parity) const {
        const uint32_t half = 1u << (log_states - 1), odd = state & half ? 1 : 0;
        return ((state ^ (odd ? feedback : 0) ^ (parity ? input : 0)) & (half - 1)) << 1 | odd;
    }
    // Returns the value of integer k in multiples of the step: k itself, 2k, or 2k less its sign.
    int32_t value(uint32_t state, int32_t k) const {
        if (log_states == 0) return k;
        return 2 * k - static_cast<int32_t>(state & 1) * ((k > 0) - (k < 0));
    }

    int log_states;
    uint32_t feedback = 0, input = 0;
};

struct LevelModel {
    int64_t rows, columns;
    int log_states;
    int shape;       // 0 to 7: exponent of the generalized normal distribution that is the prior of contexts
    int32_t scale;   // mean magnitude of the values, in 1/16 base step; at least 1
    bool by_row, by_column;  // whether earlier values of the row and column set the expected magnitude
    bool mixed;      // whether contexts are mixed (smaller) or one is used (faster)
    bool row_steps, column_steps;  // whether rows and columns have exponents that widen their steps
    bool rans;       // whether integers are coded as whole symbols by rANS (fastest); excludes `mixed`
    bool ascending;  // whether integers are coded by their distance from the value before; excludes steps and rANS
};

// A matrix of integers or values, and the exponents of its rows and columns (empty where the model has none): the step
// of an element is the base step times step_factor(row + column) / 128.
struct LevelData {
    std::vector<int32_t> k;  // [rows * columns]
    std::vector<uint8_t> row, column;
};

constexpr int kMaxExponent = 31;

// 128 times the square root of 2^exponent, to 8 bits.
constexpr int64_t step_factor(int exponent) { return int64_t{exponent & 1 ? 181 : 128} << (exponent >> 1); }

constexpr int kShapes = 8;
constexpr int32_t kMaxLevel = (1 << 20) - 1;

// Throws std::invalid_argument for a model that is not allowed, or that the exponents, if any, do not fit.
void check_model(const LevelModel& model, const LevelData* exponents);

std::string encode_levels(const LevelModel& model, const LevelData& integers);

// Returns the values, in multiples of each element's step. Throws std::invalid_argument for damaged data.
LevelData decode_levels(const LevelModel& model, const uint8_t* data, int64_t size);

// Computes the values of the integers k [count], in order from the first state of the trellis.
void level_values(int log_states, const int32_t* k, int64_t count, int32_t* values);

// Returns the bits of integer |k| under the prior with mean magnitude `scale`, by quantizer (0, 1; scalar: 0 only):
// [2 * count], for the encoder's decisions.
std::vector<double> level_costs(const LevelModel& model, int64_t count);

}  // namespace coinr
