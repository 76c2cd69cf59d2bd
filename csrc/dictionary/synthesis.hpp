// Bit-exact synthesis: w = step * sum_k q_k * A[:, j_k] with the sum in integers.
#pragma once

#include <cstdint>

#include "dictionary/dictionary.hpp"

namespace coinr {

// indices, q int32 [B, s] -> out float32 [B, n]. One float32 multiply per weight, round to nearest even.
// Throws std::invalid_argument for an index outside 0..M-1, a step that is not a normal number, or a weight that
// is not finite.
void synthesize(const Dictionary& dictionary, const int32_t* indices, const int32_t* q, int64_t B, int64_t s,
                float step, int threads, float* out);

}  // namespace coinr
