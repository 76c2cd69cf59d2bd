// Entropy coding of sparse codes: for each vector the number of atoms, their indices and their integers.
//
// A set of k atoms among M is coded in close to log2 C(M, k) bits. Each gap is coded by bisection, under its
// distribution when all sets are equally likely, computed in integers: nothing is learned and nothing is stored.
#pragma once

#include <cstdint>
#include <string>

namespace coinr {

struct SparseShape {
    int64_t B;  // vectors
    int64_t M;  // atoms, 1 to 2^24
    int64_t s;  // largest number of atoms of a vector, 0 to min(M, kMaxAtoms)
};

constexpr int64_t kMaxAtoms = 4095;
constexpr int32_t kMaxInteger = (1 << 20) - 1;

// counts [B], each at most s; indices and q: those of the vectors one after the other, indices of a vector ascending.
// Throws std::invalid_argument for other shapes, an integer that is zero or above kMaxInteger in magnitude, or
// indices that do not ascend below M.
std::string encode_sparse(const SparseShape& shape, const int32_t* counts, const int32_t* indices, const int32_t* q);

// indices and q [B, s], zeros after the atoms of each vector. std::invalid_argument for damaged data.
void decode_sparse(const SparseShape& shape, const uint8_t* data, int64_t size, int32_t* indices, int32_t* q);

}  // namespace coinr
