// Adaptive alphabets of the rANS coder of levels: the tokens of magnitudes, and their frequencies.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "entropy/rans.hpp"

namespace coinr {

constexpr int kRansOctaves = 20;
constexpr int kSingleTokens = 16;  // each magnitude below has its own token
constexpr int kTokens = 8 * kRansOctaves - 16;
constexpr int kSymbols = 2 * kTokens - 1;

constexpr int kBucketBits = 10;  // of the table that finds the symbol of a slot
constexpr uint32_t kObservation = 32;  // count of one observation
constexpr int kPriorBits = 14;         // log2 of the sum of the prior counts

// Observations between two updates of the frequencies: an eighth of all so far, within these bounds.
constexpr int kMinInterval = 64, kMaxInterval = 4096;

// An alphabet halves its counts beyond so many observations, by code in the payload.
constexpr int kMemories = 4;
constexpr uint32_t memory(int code) { return 512u << (2 * code); }

inline int bit_length(uint64_t x) { return x ? 64 - __builtin_clzll(x) : 0; }

// Magnitudes [low, low + 2^raw_bits) share a token: below 16 each has its own, then eight an octave.
struct Token {
    int32_t low;
    int raw_bits;
};

constexpr Token token(int t) {
    if (t < kSingleTokens) return {t, 0};
    return {(8 + t % 8) << (t / 8 - 1), t / 8 - 1};
}

inline int token_of(uint32_t magnitude) {
    if (magnitude < kSingleTokens) return static_cast<int>(magnitude);
    const int raw_bits = bit_length(magnitude) - 4;
    return 8 * raw_bits + static_cast<int>(magnitude >> raw_bits);
}

// Symbol 0 is zero; token t > 0 has 2t - 1 and, negative, 2t.
struct SymbolTable {
    Token symbol[kSymbols];
    constexpr SymbolTable() : symbol() {
        for (int s = 0; s < kSymbols; ++s) symbol[s] = token((s + 1) / 2);
    }
};
inline constexpr SymbolTable kTable;

// Returns the number of tokens for magnitudes below 2^octaves.
inline int tokens_of(int octaves) { return octaves <= 4 ? 1 << octaves : 8 * octaves - 16; }

// An adaptive alphabet: counts, frequencies that are updated from them at intervals, and a table from slots to symbols.
class Alphabet {
public:
    Alphabet(int number, int size, uint32_t memory)
        : number_(number), size_(size), max_total_(kObservation * memory) {}

    // Returns the place of this alphabet among others.
    int number() const { return number_; }

    void set_count(int symbol, uint32_t count) { count_[symbol] = count; }
    uint32_t start(int symbol) const { return start_[symbol]; }
    uint32_t frequency(int symbol) const { return start_[symbol + 1] - start_[symbol]; }

    int find(uint32_t slot) {
        if (bucket_is_old_) fill_buckets();
        int symbol = bucket_[slot >> (kFrequencyBits - kBucketBits)];
        while (slot >= start_[symbol + 1]) ++symbol;
        return symbol;
    }

    void learn(int symbol) {
        count_[symbol] += kObservation;
        if (--until_update_ == 0) update_frequencies();
    }

    // Sets frequencies in proportion to the counts, none of them zero.
    void update_frequencies() {
        uint64_t total = 0;
        for (int s = 0; s < size_; ++s) total += count_[s];
        if (total > max_total_) {
            has_forgotten_ = true;
            total = 0;
            for (int s = 0; s < size_; ++s) total += count_[s] = (count_[s] + 1) / 2;
        }
        const uint64_t share = (static_cast<uint64_t>(kFrequencyOne - size_) << 32) / total;
        uint64_t before = 0;
        for (int s = 0; s < size_; ++s) {
            start_[s] = static_cast<uint16_t>(s + ((before * share) >> 32));
            before += count_[s];
        }
        start_[size_] = kFrequencyOne;
        bucket_is_old_ = true;
        until_update_ =
            std::clamp(static_cast<int>(total / (8 * kObservation)), std::max(kMinInterval, size_), kMaxInterval);
    }

    // Learns symbols [count], and returns about how many bits they take.
    double learn_all(const uint16_t* symbol, size_t count) {
        double bits = 0;
        for (const uint16_t* const end = symbol + count; symbol != end;) {
            uint32_t seen[kSymbols] = {};
            const int some = static_cast<int>(std::min<int64_t>(until_update_, end - symbol));
            for (int i = 0; i < some; ++i) ++seen[symbol[i]];
            symbol += some;
            for (int s = 0; s < size_; ++s) {
                if (seen[s]) bits += seen[s] * (kFrequencyBits - std::log2(static_cast<double>(frequency(s))));
                count_[s] += kObservation * seen[s];
            }
            until_update_ -= some;
            if (until_update_ == 0) update_frequencies();
        }
        return bits;
    }

    // Returns whether counts were halved: else a longer memory makes no difference.
    bool has_forgotten() const { return has_forgotten_; }

private:
    void fill_buckets() {
        int bucket = 0;
        for (int s = 0; s < size_; ++s)
            for (; bucket << (kFrequencyBits - kBucketBits) < start_[s + 1]; ++bucket)
                bucket_[bucket] = static_cast<uint16_t>(s);
        bucket_is_old_ = false;
    }

    const int number_, size_;
    const uint64_t max_total_;
    int until_update_ = 0;
    bool has_forgotten_ = false, bucket_is_old_ = true;
    uint32_t count_[kSymbols];
    uint16_t start_[kSymbols + 1];
    uint16_t bucket_[1 << kBucketBits];
};

}  // namespace coinr
