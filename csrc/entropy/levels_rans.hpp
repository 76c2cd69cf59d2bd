// The rANS coder of levels: each integer is one symbol of an adaptive alphabet, followed by raw low bits.
#pragma once

#include <memory>
#include <string>

#include "entropy/levels.hpp"
#include "entropy/rans.hpp"

namespace coinr {

std::string encode_levels_rans(const LevelModel& model, const LevelData& integers);

// Levels [count] of 2 or 4 bytes, one of which is null.
struct LevelSource {
    const int16_t* narrow;
    const int32_t* wide;

    int32_t at(int64_t i) const { return narrow ? narrow[i] : wide[i]; }
};

// Coded levels before they are put together, which needs the levels no more.
struct CodedLevels {
    char first;
    RansEncoder coder;

    // Returns what encode_levels_rans would; call it once.
    std::string finish() { return coder.finish(first); }
};

// The same for large matrices, in memory that does not grow with them but for the coded bytes. The model is run twice:
// forward, to keep its state at the start of each block, and then block by block from the last to the first. Codes
// about as few bytes as encode_levels_rans: how fast alphabets forget is chosen by levels in the middle.
CodedLevels encode_levels_in_blocks(const LevelModel& model, const LevelSource& k, const LevelData& exponents);

// Reads the values of levels in order, some at a time. All methods throw std::invalid_argument for damaged data.
class LevelReader {
public:
    // `data` must outlive the reader. The model must have rANS.
    LevelReader(const LevelModel& model, const uint8_t* data, int64_t size);
    ~LevelReader();

    const LevelData& exponents() const;

    // Reads the next values; no more than there are.
    void read(int64_t count, int32_t* values);

    // Checks that nothing is left, once all values are read.
    void finish() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

// Returns the values. Throws std::invalid_argument for damaged data.
LevelData decode_levels_rans(const LevelModel& model, const uint8_t* data, int64_t size);

}  // namespace coinr
