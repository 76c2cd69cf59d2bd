// The fast way to code what levels.hpp codes: each integer one symbol of an adaptive alphabet, its lowest bits raw.
#pragma once

#include <string>

#include "entropy/levels.hpp"

namespace coinr {

std::string encode_tokens(const LevelModel& model, const LevelData& integers);

// The values. std::invalid_argument for damaged data.
LevelData decode_tokens(const LevelModel& model, const uint8_t* data, int64_t size);

}  // namespace coinr
