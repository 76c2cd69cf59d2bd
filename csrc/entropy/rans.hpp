// Range asymmetric numeral system (Duda, 2013) with a 64-bit state and 32-bit words. Integers only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <stdexcept>
#include <string>
#include <vector>

namespace coinr {

// Frequencies of an alphabet add up to 2^15.
constexpr int kFrequencyBits = 15;
constexpr uint32_t kFrequencyOne = 1u << kFrequencyBits;

// A symbol's interval [start, start + frequency) of [0, 2^15), and up to 16 raw bits that follow it.
struct CodedSymbol {
    uint16_t start, frequency, raw, raw_bits;
};

// Smallest state between two symbols.
constexpr uint64_t kRansLow = uint64_t{1} << 32;

// Symbols are coded backwards: a long sequence is put block by block, the last block first, each in its own order.
class RansEncoder {
public:
    void put(const CodedSymbol& symbol) { symbols_.push_back(symbol); }

    // Codes the symbols that were put since the last call, before all that were coded already.
    void encode_block() {
        uint64_t x = x_;
        for (auto symbol = symbols_.rbegin(); symbol != symbols_.rend(); ++symbol) {
            const int spare = 64 - kFrequencyBits - symbol->raw_bits;
            // a frequency of one leaves the state where it is
            if ((x >> spare) >= symbol->frequency) {
                words_.push_back(static_cast<uint32_t>(x));
                x >>= 32;
            }
            const uint64_t y = x << symbol->raw_bits | symbol->raw;
            x = ((y / symbol->frequency) << kFrequencyBits) + symbol->start + y % symbol->frequency;
        }
        x_ = x;
        symbols_.clear();
    }

    // Returns `first`, the last state (8 bytes), then the words in the order in which they are read.
    std::string finish(char first) {
        encode_block();
        std::string out(1, first);
        out.reserve(9 + 4 * words_.size());
        const auto append = [&](uint64_t value, int bytes) {
            for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
        };
        append(x_, 8);
        for (; !words_.empty(); words_.pop_back()) append(words_.back(), 4);
        return out;
    }

private:
    uint64_t x_ = kRansLow;
    std::vector<CodedSymbol> symbols_;
    std::deque<uint32_t> words_;
};

// All methods throw std::invalid_argument for damaged data.
class RansDecoder {
public:
    RansDecoder(const uint8_t* data, int64_t size) : at_(data), end_(data + size) {
        if (size < 8) throw std::invalid_argument("coded data has no state");
        x_ = static_cast<uint64_t>(word()) | static_cast<uint64_t>(word()) << 32;
        if (x_ < kRansLow) throw std::invalid_argument("coded data begins in a state that no encoder ends in");
    }

    // Returns the slot in [0, 2^15) of the next symbol.
    uint32_t slot() const { return static_cast<uint32_t>(x_) & (kFrequencyOne - 1); }

    // Removes that symbol; returns its raw bits.
    uint32_t take(uint32_t start, uint32_t frequency, int raw_bits) {
        uint64_t x = frequency * (x_ >> kFrequencyBits) + slot() - start;
        const uint32_t raw = static_cast<uint32_t>(x) & ((1u << raw_bits) - 1);
        x >>= raw_bits;
        if (x < kRansLow) {
            if (end_ - at_ < 4) throw std::invalid_argument("coded data is shorter than its symbols");
            x = x << 32 | word();
        }
        x_ = x;
        return raw;
    }

    void finish() const {
        if (at_ != end_ || x_ != kRansLow) throw std::invalid_argument("coded data is not what its symbols make");
    }

private:
    uint32_t word() {
        const uint32_t value = static_cast<uint32_t>(at_[0]) | static_cast<uint32_t>(at_[1]) << 8 |
                               static_cast<uint32_t>(at_[2]) << 16 | static_cast<uint32_t>(at_[3]) << 24;
        at_ += 4;
        return value;
    }

    const uint8_t *at_, *end_;
    uint64_t x_ = 0;
};

}  // namespace coinr
