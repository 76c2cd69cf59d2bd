#include "entropy/sets.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "dictionary/dictionary.hpp"
#include "entropy/mixing.hpp"
#include "entropy/rangecoder.hpp"

namespace coinr {
namespace {

constexpr int kMaxObservations = 1000;  // the count of a context stops here, so that old bits fade

template <class Coder>
int code_bit(Coder& coder, AdaptiveBit& context, int bit) {
    bit = coder(bit, clip(context.p));
    context.update(bit, kMaxObservations);
    return bit;
}

int bit_length(uint32_t value) { return value == 0 ? 0 : 32 - __builtin_clz(value); }

// Codes the gap before the next of k indices, if all sets of k among the R remaining positions are equally likely.
class GapCoder {
public:
    GapCoder(int64_t R, int64_t k) : R_(R), k_(k), last_(R - k) {}

    template <class Coder>
    int64_t code(Coder& coder, int64_t gap) const {
        int64_t low = 0, size = int64_t{1} << bit_length(static_cast<uint32_t>(last_));
        uint64_t at_low = kOne, at_end = 0;
        while (size > 1) {
            // Over so short an interval the distribution is nearly uniform.
            if (kUniformRatio * k_ * size <= R_ && low + size - 1 <= last_) {
                const int bits = bit_length(static_cast<uint32_t>(size)) - 1;
                return low + coder.raw(static_cast<uint32_t>(gap - low), bits);
            }
            size /= 2;
            if (low + size > last_) continue;
            const uint64_t at_middle = std::clamp(tail(low + size), at_end, at_low);
            const int right = coder(gap >= low + size, share(at_middle - at_end, at_low - at_end));
            if (right) {
                low += size;
                at_low = at_middle;
            } else {
                at_end = at_middle;
            }
        }
        return low;
    }

private:
    static constexpr uint64_t kOne = uint64_t{1} << 32;
    static constexpr int64_t kUniformRatio = 4;
    static constexpr int64_t kMaxFactors = 8;  // factors of a product

    // Returns P(gap >= t) = C(R - t, k) / C(R, k) = C(R - k, t) / C(R, t) in 2^-32, for t <= R - k: a product if one of
    // the forms is short, else approximately the k-th power of its middle factor.
    uint64_t tail(int64_t t) const {
        uint64_t p = kOne;
        const int64_t factors = std::min(k_, t), off = std::max(k_, t);
        if (factors <= kMaxFactors) {
            for (int64_t i = 0; i < factors; ++i)
                p = p * static_cast<uint64_t>(R_ - off - i) / static_cast<uint64_t>(R_ - i);
            return p;
        }
        uint64_t base = (static_cast<uint64_t>(2 * (R_ - t) - k_ + 1) << 32) / static_cast<uint64_t>(2 * R_ - k_ + 1);
        for (int64_t k = k_; k > 0; k >>= 1) {
            if (k & 1) p = p * base >> 32;
            base = base * base >> 32;
        }
        return p;
    }

    static uint32_t share(uint64_t part, uint64_t whole) {
        if (whole == 0) return kProbOne / 2;
        return static_cast<uint32_t>(std::clamp<uint64_t>((part << kProbBits) / whole, 1, kProbOne - 1));
    }

    const int64_t R_, k_, last_;
};

// Codes the number of atoms of a vector: the bits of the count, each in the context of those before it.
class CountCoder {
public:
    explicit CountCoder(int64_t largest)
        : bits_(bit_length(static_cast<uint32_t>(largest))), contexts_(size_t{1} << bits_) {}

    template <class Coder>
    int64_t code(Coder& coder, int64_t count) {
        uint32_t node = 1;
        for (int i = bits_ - 1; i >= 0; --i)
            node = 2 * node + code_bit(coder, contexts_[node], static_cast<int>(count >> i & 1));
        return node - (int64_t{1} << bits_);
    }

private:
    const int bits_;
    std::vector<AdaptiveBit> contexts_;
};

// Codes integers that are not zero: octave and leading mantissa bits with contexts, further bits and sign raw. Contexts
// depend on the mean magnitude of the vector so far.
class IntegerCoder {
public:
    IntegerCoder() : octaves_(kContexts * kOctaves), mantissas_(kOctaves << kMantissa) {}

    void start() { sum_ = count_ = 0; }

    template <class Coder>
    int32_t code(Coder& coder, int32_t q) {
        const uint32_t magnitude = static_cast<uint32_t>(std::abs(q));
        const int context = count_ == 0 ? 0 : bit_length(static_cast<uint32_t>(2 * sum_ / count_)) - 1;
        const int target_octave = bit_length(magnitude) - 1;
        int octave = 0;
        while (octave < kOctaves - 1 && code_bit(coder, octaves_[context * kOctaves + octave], target_octave > octave))
            ++octave;
        uint32_t value = 1;
        for (int i = octave - 1; i >= 0; --i) {
            const int coded = octave - 1 - i;
            if (coded == kMantissa) {
                value = value << (i + 1) | coder.raw(magnitude & ((1u << (i + 1)) - 1), i + 1);
                break;
            }
            // `value` is a one and the bits coded so far
            value = 2 * value + code_bit(coder, mantissas_[(octave << kMantissa) + value], magnitude >> i & 1);
        }
        sum_ += value;
        ++count_;
        const uint32_t negative = coder.raw(q < 0, 1);
        return negative ? -static_cast<int32_t>(value) : static_cast<int32_t>(value);
    }

private:
    static constexpr int kOctaves = 20;
    static constexpr int kContexts = kOctaves + 2;
    static constexpr int kMantissa = 3;  // leading bits that are modeled

    std::vector<AdaptiveBit> octaves_, mantissas_;
    int64_t sum_ = 0, count_ = 0;
};

template <class Coder>
class VectorCoder {
public:
    VectorCoder(const SparseShape& shape, Coder coder) : shape_(shape), coder_(coder), counts_(shape.s) {}

    int64_t count(int64_t given) { return counts_.code(coder_, given); }

    // Codes the k atoms of a vector and their integers; when decoding, writes them to the arrays.
    template <class Index>
    void vector(int64_t k, Index* indices, Index* q) {
        int64_t next = 0;
        for (int64_t i = 0; i < k; ++i) {
            next += GapCoder(shape_.M - next, k - i).code(coder_, indices[i] - next);
            store(indices[i], next);
            ++next;
        }
        integers_.start();
        for (int64_t i = 0; i < k; ++i) store(q[i], integers_.code(coder_, q[i]));
    }

private:
    static void store(int32_t& to, int64_t value) { to = static_cast<int32_t>(value); }
    static void store(const int32_t&, int64_t) {}

    const SparseShape shape_;
    Coder coder_;
    CountCoder counts_;
    IntegerCoder integers_;
};

void check(const SparseShape& shape) {
    if (shape.M < 1 || shape.M > kMaxDim)
        throw std::invalid_argument("M is " + std::to_string(shape.M) + "; allowed: 1 to 2**24");
    if (shape.B < 0 || shape.s < 0 || shape.s > std::min(shape.M, kMaxAtoms))
        throw std::invalid_argument("shape [" + std::to_string(shape.B) + ", " + std::to_string(shape.s) +
                                    "] is not allowed; B >= 0 and 0 <= s <= min(M, 4095)");
}

void check_vector(const SparseShape& shape, int64_t k, const int32_t* indices, const int32_t* q) {
    for (int64_t i = 0; i < k; ++i) {
        if (indices[i] <= (i ? indices[i - 1] : -1) || indices[i] >= shape.M)
            throw std::invalid_argument("indices must ascend from 0 to M - 1");
        if (q[i] == 0 || q[i] > kMaxInteger || q[i] < -kMaxInteger)
            throw std::invalid_argument("integer " + std::to_string(q[i]) + " is zero or not in +-(2**20 - 1)");
    }
}

}  // namespace

std::string encode_sparse(const SparseShape& shape, const int32_t* counts, const int32_t* indices, const int32_t* q) {
    check(shape);
    RangeEncoder coder;
    VectorCoder<Encode> vectors(shape, Encode{coder});
    for (int64_t b = 0; b < shape.B; ++b) {
        const int64_t k = counts[b];
        if (k < 0 || k > shape.s)
            throw std::invalid_argument("count " + std::to_string(k) +
                                        " is not in 0 to s = " + std::to_string(shape.s));
        check_vector(shape, k, indices, q);
        vectors.count(k);
        vectors.vector(k, indices, q);
        indices += k;
        q += k;
    }
    return coder.finish();
}

void decode_sparse(const SparseShape& shape, const uint8_t* data, int64_t size, int32_t* indices, int32_t* q) {
    check(shape);
    RangeDecoder coder(data, size);
    VectorCoder<Decode> vectors(shape, Decode{coder});
    std::fill(indices, indices + shape.B * shape.s, 0);
    std::fill(q, q + shape.B * shape.s, 0);
    for (int64_t b = 0; b < shape.B; ++b) {
        const int64_t k = vectors.count(0);
        if (k > shape.s)
            throw std::invalid_argument("count " + std::to_string(k) +
                                        " is not in 0 to s = " + std::to_string(shape.s));
        vectors.vector(k, indices + b * shape.s, q + b * shape.s);
    }
    coder.finish();
}

}  // namespace coinr
