// Bindings of the coder of levels that works block by block.
#pragma once

#include <pybind11/pybind11.h>

#include "entropy/levels.hpp"

namespace coinr {

// Throws std::invalid_argument for a shape or switches that are not allowed.
LevelModel level_model(int64_t rows, int64_t columns, int log_states, int shape, int32_t scale, int switches);

void bind_level_blocks(pybind11::module_& m);

}  // namespace coinr
