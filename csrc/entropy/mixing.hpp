// Shared by the models of arithmetic-coded bits: logistic mixing in fixed point, and coders for both directions.
#pragma once

#include <algorithm>
#include <cstdint>

#include "entropy/rangecoder.hpp"

namespace coinr {

// Logistic helpers in fixed point: squash takes ln(p / (1 - p)) in 1/256, clipped to +-12, and gives p in 1/65536.
constexpr int kStretchMax = 12 * 256 - 1;

struct Logistic {
    uint16_t squash[2 * kStretchMax + 1];
    int16_t stretch[4096];

    Logistic() {
        // exp(-x / 256) in 2^-40 by repeated integer multiplication, so that the table depends on no math library.
        uint64_t e = uint64_t{1} << 40;
        for (int x = 0; x <= kStretchMax; ++x) {
            const uint64_t one = uint64_t{1} << 40;
            const uint64_t p = ((one << 16) / ((one + e) >> 4)) >> 4;  // 65536 / (1 + e)
            const uint32_t bounded = static_cast<uint32_t>(std::min<uint64_t>(p, 65535));
            squash[kStretchMax + x] = static_cast<uint16_t>(bounded);
            squash[kStretchMax - x] = static_cast<uint16_t>(std::max<uint32_t>(65536 - bounded, 1));
            e = static_cast<uint64_t>((static_cast<unsigned __int128>(e) * 1095225038175ull) >> 40);  // exp(-1/256)
        }
        int x = -kStretchMax;
        for (int i = 0; i < 4096; ++i) {
            const uint32_t p = static_cast<uint32_t>(16 * i + 8);
            while (x < kStretchMax && squash[kStretchMax + x + 1] <= p) ++x;
            stretch[i] = static_cast<int16_t>(x);
        }
    }
};

inline const Logistic& logistic() {
    static const Logistic table;
    return table;
}

// Write or read the decisions of a model. Decoding ignores `bit`, so that one model serves both directions. A model
// holds its range coder, or refers to one.
template <class Coder>
struct Encoding {
    static constexpr bool kDecoding = false;
    Coder coder;
    int operator()(int bit, uint32_t p) {
        coder.bit(bit, p);
        return bit;
    }
    uint32_t raw(uint32_t value, int bits) {
        coder.raw(value, bits);
        return value;
    }
};
using Encode = Encoding<RangeEncoder&>;

template <class Coder>
struct Decoding {
    static constexpr bool kDecoding = true;
    Coder coder;
    int operator()(int, uint32_t p) { return coder.bit(p); }
    uint32_t raw(uint32_t, int bits) { return coder.raw(bits); }
};
using Decode = Decoding<RangeDecoder&>;

// Clips a probability to the range that is coded.
inline uint32_t clip(int64_t p) { return static_cast<uint32_t>(std::clamp<int64_t>(p, 16, kProbOne - 16)); }

}  // namespace coinr
