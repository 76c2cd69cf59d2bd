// Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), scalar form.
#pragma once

#include <cstdint>

namespace coinr {

constexpr uint32_t kMul0 = 0xD2511F53u, kMul1 = 0xCD9E8D57u;
constexpr uint32_t kStep0 = 0x9E3779B9u, kStep1 = 0xBB67AE85u;
constexpr int kRounds = 10;

// Replaces the counter x[4] by its four output words.
inline void philox4x32(uint32_t x[4], uint64_t seed) {
    uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < kRounds; ++round) {
        const uint64_t p0 = static_cast<uint64_t>(x[0]) * kMul0, p1 = static_cast<uint64_t>(x[2]) * kMul1;
        x[0] = static_cast<uint32_t>(p1 >> 32) ^ x[1] ^ key0;
        x[1] = static_cast<uint32_t>(p1);
        x[2] = static_cast<uint32_t>(p0 >> 32) ^ x[3] ^ key1;
        x[3] = static_cast<uint32_t>(p0);
        key0 += kStep0;
        key1 += kStep1;
    }
}

}  // namespace coinr
