// Bit packing of integers and of sorted index sets. Every reader checks its bounds and throws std::invalid_argument.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace coinr {

// `count` values of `width` bits (1..32), least significant bit first, zero padded to a whole byte.
std::string pack_bits(const uint32_t* values, int64_t count, int width);
std::vector<uint32_t> unpack_bits(const uint8_t* data, int64_t size, int64_t count, int width);

// Rows of strictly ascending indices below M as Rice-coded gaps: one byte r, then per gap its quotient gap >> r in
// unary (ones ended by a zero) and its r low bits, least significant first, zero padded to a whole byte.
std::string pack_sorted(const int32_t* indices, int64_t rows, int64_t columns, int64_t M);
std::vector<int32_t> unpack_sorted(const uint8_t* data, int64_t size, int64_t rows, int64_t columns, int64_t M);

}  // namespace coinr
