// Prior distributions of quantized weights: generalized normal distributions, in integers.
#pragma once

#include <algorithm>
#include <cstdint>

#include "entropy/levels.hpp"

namespace coinr {

// P(|v| >= u mean) of generalized normal distributions, u in eighths, in 2^-30: FORMAT.md, "Levels".
constexpr int kTailCells = 128;
inline constexpr uint32_t kTails[kShapes][kTailCells + 1] = {
#include "entropy/tails.inc"
};

// P(|v| >= h half steps) under the prior, for a mean magnitude given by its reciprocal.
struct Tail {
    const uint32_t* table;
    uint64_t inverse;  // 8 * 256 cells per mean magnitude, in 2^-20

    Tail(int shape, int64_t scale) : table(kTails[shape]) { set(scale); }
    // scale: mean magnitude in 1/32 half step
    void set(int64_t scale) { inverse = (uint64_t{8 * 256 * 32} << 20) / static_cast<uint64_t>(scale); }

    uint32_t operator()(int64_t h) const {
        const uint64_t at = std::min<uint64_t>((static_cast<uint64_t>(h) * inverse) >> 20, kTailCells << 8);
        const uint64_t cell = at >> 8, part = at & 255;
        if (cell == kTailCells) return table[kTailCells];
        return table[cell] - static_cast<uint32_t>(((table[cell] - table[cell + 1]) * part) >> 8);
    }
};

// Returns the |value|, in half steps, from which the integer is j >= 1 or more: halfway between two values.
inline int64_t threshold(const Trellis& trellis, uint32_t state, int64_t j) {
    if (trellis.log_states == 0) return 2 * j - 1;
    return std::max<int64_t>(4 * j - 2 - 2 * static_cast<int64_t>(state & 1), 1);
}

}  // namespace coinr
