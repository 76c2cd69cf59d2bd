// The coder of levels by binary decisions: each integer is an octave, a mantissa and a sign, range coded bit by bit.
#pragma once

#include <string>

#include "entropy/levels.hpp"

namespace coinr {

std::string encode_levels_binary(const LevelModel& model, const LevelData& integers);

// Returns the values. Throws std::invalid_argument for damaged data.
LevelData decode_levels_binary(const LevelModel& model, const uint8_t* data, int64_t size);

}  // namespace coinr
