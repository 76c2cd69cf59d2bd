// The seeded dictionary: entries are a pure integer function of (seed, stream, kind, row, atom).
#pragma once

#include <cstdint>
#include <vector>

#include "simd/kernels.hpp"

namespace coinr {

enum class Kind : int { gaussian = 1, rademacher = 2, hadamard = 3 };
constexpr uint32_t kHadamardRows = 4;  // fourth counter word of the row-selection keys
constexpr int64_t kMaxDim = int64_t{1} << 24;

class Dictionary {
public:
    // Throws std::invalid_argument unless kind is known and n, M lie in 1..2^24.
    Dictionary(int kind, int64_t n, int64_t M, uint64_t seed, uint32_t stream);

    // Entries of one atom (0 <= atom < M) and zeros up to padded(n): out [padded(n)].
    void row(int64_t atom, int8_t* out) const;

    // hadamard: returns the sign words of the block of atoms order * block .. order * (block + 1) - 1: one bit for each
    // of n entries, then at least 64 unused bits. Words that are not stored are generated into `buffer`
    // [sign_buffer_words()].
    const uint32_t* block_signs(int64_t block, uint32_t* buffer) const;
    // hadamard: returns the transform that scores that block. The caller sets its residual, threshold, hit and context.
    // `words` is the buffer of block_signs, `buffer` [transform_scratch()] is FwhtTask::x.
    FwhtTask transform(int64_t block, uint32_t* words, float* buffer) const;
    int64_t transform_scratch() const { return padded(order); }
    int64_t sign_words() const { return (n + 127) / 128 * 4; }
    int64_t sign_buffer_words() const { return sign_words() + 28; }  // Kernels::words rounds up to eight calls of four

    Kind kind;
    int64_t n, M;
    uint64_t seed;
    uint32_t stream;
    int64_t order = 0;            // hadamard: the power of two p >= n
    std::vector<uint32_t> rows;   // hadamard: the n rows of H that are used, ascending

private:
    std::vector<RowGroup> row_groups_;
    std::vector<uint32_t> signs_;  // hadamard: of all blocks, or empty
};

}  // namespace coinr
