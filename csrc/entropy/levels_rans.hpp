// The rANS coder of levels: each integer is one symbol of an adaptive alphabet, followed by raw low bits.
#pragma once

#include <string>

#include "entropy/levels.hpp"

namespace coinr {

std::string encode_levels_rans(const LevelModel& model, const LevelData& integers);

// Returns the values. Throws std::invalid_argument for damaged data.
LevelData decode_levels_rans(const LevelModel& model, const uint8_t* data, int64_t size);

}  // namespace coinr
