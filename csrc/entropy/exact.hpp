// Lossless coding of the words of a tensor: leading bits with an adaptive arithmetic coder, the others raw.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace coinr {

// The invertible function of each word and earlier ones that the model codes.
enum class Transform { kNone, kRotate, kLeft, kAbove };

struct ExactForm {
    int64_t rows, columns;  // of words
    int width;              // bytes of a word: 1, 2, 4 or 8
    int lanes;              // distance to the left neighbor, in words: 2 for complex numbers
    Transform transform;
    int modeled;            // leading bits of each transformed word that are modeled: 1 to 8 width
};

// `raw` holds little-endian words, row by row.
std::string encode_exact(const ExactForm& form, const uint8_t* raw);

// Returns how many modeled bits a payload of so many bytes may decode to, which limits the work of a decoder.
int64_t max_modeled_bits(int64_t size);

// Throws std::invalid_argument for a form that is not allowed, and for data too short for its raw bits or for its
// modeled bits. Call it before allocating the words.
void check_exact(const ExactForm& form, int64_t size);

// Throws std::invalid_argument for data that encode_exact did not make.
void decode_exact(const ExactForm& form, const uint8_t* data, int64_t size, uint8_t* raw);

// Encodes the bytes [known, count) of `raw`, which continue those before: words of one byte in rows of `columns`, all of
// them modeled. A decoder has the first `known` bytes, at least one row, and the model learns from them first.
std::string encode_continued(const uint8_t* raw, int64_t known, int64_t count, int64_t columns);

// Undoes it: fills [known, count). Throws std::invalid_argument for data that encode_continued did not make.
void decode_continued(const uint8_t* data, int64_t size, int64_t known, int64_t count, int64_t columns, uint8_t* raw);

// Returns the cost over all words of each of the 8 width bits of a word if all are modeled, in bits, leading bit first.
std::vector<double> exact_costs(const ExactForm& form, const uint8_t* raw);

// The same for bytes that are 0 or 1, each predicted from its neighbors.
std::string encode_bools(int64_t rows, int64_t columns, const uint8_t* raw);
void check_bools(int64_t rows, int64_t columns, int64_t size);
void decode_bools(int64_t rows, int64_t columns, const uint8_t* data, int64_t size, uint8_t* raw);

}  // namespace coinr
