// Binary arithmetic coder over 16-bit probabilities, and adaptive bits for it. Integers only: every machine decodes
// the same.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace coinr {

// Probabilities of a one-bit, in 1/65536; allowed: 1 to 65535.
constexpr int kProbBits = 16;
constexpr uint32_t kProbOne = 1u << kProbBits;

class RangeEncoder {
public:
    void bit(int bit, uint32_t p) {
        const uint32_t middle = low_ + static_cast<uint32_t>((static_cast<uint64_t>(high_ - low_) * p) >> kProbBits);
        const uint32_t one = 0u - static_cast<uint32_t>(bit);
        high_ ^= (high_ ^ middle) & one;
        low_ ^= (low_ ^ (middle + 1)) & ~one;
        while (__builtin_expect(((low_ ^ high_) >> 24) == 0, 0)) {
            out_.push_back(static_cast<char>(low_ >> 24));
            low_ <<= 8;
            high_ = high_ << 8 | 0xFF;
        }
    }

    void raw(uint32_t value, int bits) {
        for (int i = bits - 1; i >= 0; --i) bit(value >> i & 1, kProbOne / 2);
    }

    // Returns the shortest bytes that decode to the coded bits; a decoder reads zeros after the end.
    std::string finish() {
        for (int bytes = 0; bytes <= 4; ++bytes) {
            const uint64_t unit = uint64_t{1} << (32 - 8 * bytes);
            const uint64_t value = (low_ + unit - 1) / unit * unit;
            if (value > high_) continue;
            for (int i = 0; i < bytes; ++i) out_.push_back(static_cast<char>(value >> (24 - 8 * i)));
            break;
        }
        while (!out_.empty() && out_.back() == 0) out_.pop_back();
        return std::move(out_);
    }

private:
    std::string out_;
    uint32_t low_ = 0, high_ = 0xFFFFFFFFu;
};

class RangeDecoder {
public:
    RangeDecoder(const uint8_t* data, int64_t size) : data_(data), size_(size) {
        for (int i = 0; i < 4; ++i) code_ = code_ << 8 | next();
    }

    int bit(uint32_t p) {
        const uint32_t middle = low_ + static_cast<uint32_t>((static_cast<uint64_t>(high_ - low_) * p) >> kProbBits);
        const int bit = code_ <= middle;
        const uint32_t one = 0u - static_cast<uint32_t>(bit);
        high_ ^= (high_ ^ middle) & one;
        low_ ^= (low_ ^ (middle + 1)) & ~one;
        while (__builtin_expect(((low_ ^ high_) >> 24) == 0, 0)) {
            low_ <<= 8;
            high_ = high_ << 8 | 0xFF;
            code_ = code_ << 8 | next();
        }
        return bit;
    }

    uint32_t raw(int bits) {
        uint32_t value = 0;
        for (int i = 0; i < bits; ++i) value = value << 1 | static_cast<uint32_t>(bit(kProbOne / 2));
        return value;
    }

    // Throws std::invalid_argument if bytes are left over, or if the last byte is zero and so redundant.
    void finish() const {
        if (at_ < size_) throw std::invalid_argument("coded data is longer than its symbols");
        if (size_ > 0 && data_[size_ - 1] == 0) throw std::invalid_argument("coded data ends in a zero byte");
    }

private:
    uint32_t next() {
        const uint32_t byte = at_ < size_ ? data_[at_] : 0;
        ++at_;
        return byte;
    }

    const uint8_t* data_;
    int64_t size_, at_ = 0;
    uint32_t low_ = 0, high_ = 0xFFFFFFFFu, code_ = 0;
};

// 2 / (2 c + 3) in 1/65536, for c observations: the step of a running mean whose prior counts as half an observation.
struct StepTable {
    static constexpr int kMaxCount = 1023;
    int32_t step[kMaxCount + 1];
    constexpr StepTable() : step() {
        for (int c = 0; c <= kMaxCount; ++c) step[c] = 131072 / (2 * c + 3);
    }
};
inline constexpr StepTable kSteps;

// An adaptive probability: the running mean of its bits, with exponential forgetting after `limit` of them.
struct AdaptiveBit {
    uint16_t p = kProbOne / 2;
    uint16_t count = 0;

    void update(int bit, int limit) {
        const int32_t away = (bit ? 65535 : 0) - static_cast<int32_t>(p);
        p = static_cast<uint16_t>(p + ((away * static_cast<int64_t>(kSteps.step[count])) >> 16));
        if (count < limit) ++count;
    }
};

}  // namespace coinr
