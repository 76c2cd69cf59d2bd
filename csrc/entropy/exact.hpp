// Words of a tensor without loss: leading bits through an adaptive arithmetic coder, the rest as they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace coinr {

// How words are seen by the model; an invertible function of each word and earlier ones.
enum class Transform { kNone, kRotate, kLeft, kAbove };

struct ExactForm {
    int64_t rows, columns;  // of words
    int width;              // bytes of a word: 1, 2, 4 or 8
    int lanes;              // the word of the same kind to the left is so many words back
    Transform transform;
    int modelled;           // leading bits of each transformed word that are modelled: 1 to 8 width
};

// `raw` holds little-endian words, row by row.
std::string encode_exact(const ExactForm& form, const uint8_t* raw);

// Bits that so many bytes may stand for: more would cost a reader more time than a file of that size is worth.
int64_t most_modelled(int64_t size);

// Throws std::invalid_argument for a form that is not allowed, and for data too short to hold the bits that are not
// modelled or to stand for those that are: to be asked before room is made for the words.
void check_exact(const ExactForm& form, int64_t size);

// Throws std::invalid_argument for data that encode_exact did not make.
void decode_exact(const ExactForm& form, const uint8_t* data, int64_t size, uint8_t* raw);

// Bits that each of the 8 width bits of a word costs over all words, leading bit first, were it modelled.
std::vector<double> exact_costs(const ExactForm& form, const uint8_t* raw);

// Bytes that are 0 or 1, as bits whose neighbours predict them; `check_bools` like check_exact.
std::string encode_bools(int64_t rows, int64_t columns, const uint8_t* raw);
void check_bools(int64_t rows, int64_t columns, int64_t size);
void decode_bools(int64_t rows, int64_t columns, const uint8_t* data, int64_t size, uint8_t* raw);

}  // namespace coinr
