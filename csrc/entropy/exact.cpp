#include "entropy/exact.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

#include "entropy/mixing.hpp"
#include "entropy/rangecoder.hpp"

namespace coinr {
namespace {

constexpr int kInputs = 4;      // predictions that are mixed
constexpr int kMaxObservations = 1000;       // the count of a context stops here, so that old bits fade
constexpr int kLearningRate = 14;            // of the mixing weights, as a shift
constexpr int32_t kInitialWeight = 19661;    // in 1/65536
constexpr int kNodes = 256;                  // of the tree of a byte; the root is node 1
constexpr int64_t kMaxMixedWords = 1 << 17;  // of a tensor whose contexts are mixed

// Logistic mixing of the predictions of several contexts, which are then updated.
template <class Coder>
class Mixer {
public:
    explicit Mixer(Coder coder) : coder_(coder), table_(logistic()) {}

    int decide(const std::array<AdaptiveBit*, kInputs>& inputs, std::array<int32_t, kInputs>& weights, int bit) {
        int32_t in[kInputs];
        int64_t sum = 0;
        for (int i = 0; i < kInputs; ++i) {
            in[i] = table_.stretch[inputs[i]->p >> 4];
            sum += static_cast<int64_t>(in[i]) * weights[i];
        }
        const int32_t x = static_cast<int32_t>(std::clamp<int64_t>(sum >> 16, -kStretchMax, kStretchMax));
        const uint32_t p = clip(table_.squash[kStretchMax + x]);
        bit = coder_(bit, p);
        const int32_t error = (bit ? 65535 : 0) - static_cast<int32_t>(p);
        for (int i = 0; i < kInputs; ++i) {
            weights[i] += static_cast<int32_t>((static_cast<int64_t>(in[i]) * error) >> kLearningRate);
            inputs[i]->update(bit, kMaxObservations);
        }
        return bit;
    }

private:
    Coder coder_;
    const Logistic& table_;
};

// In place of a coder: adds up the cost of each bit of a word.
struct CostCounter {
    double* costs;
    int* bit_index;
    int operator()(int bit, uint32_t p) {
        costs[(*bit_index)++] -= std::log2((bit ? p : kProbOne - p) / static_cast<double>(kProbOne));
        return bit;
    }
};

// Codes bits once `known` is false; until then a decoder has them already.
template <class Coder>
struct Continuing {
    const bool* known;
    Coder coder;
    int operator()(int bit, uint32_t p) { return *known ? bit : coder(bit, p); }
};

// Trees of adaptive bits, each allocated at its first use.
class Trees {
public:
    explicit Trees(int64_t count) : at_(count, -1) {}

    int32_t tree(int64_t context) {
        int32_t& at = at_[context];
        if (at < 0) {
            at = static_cast<int32_t>(bits_.size());
            bits_.resize(bits_.size() + kNodes);
        }
        return at;
    }
    AdaptiveBit* data() { return bits_.data(); }

private:
    std::vector<int32_t> at_;
    std::vector<AdaptiveBit> bits_;
};

// The model of a transformed word: bytes from the most significant on, each a tree of bits. Several contexts are mixed;
// large tensors use a single context, which is three times as fast.
template <class Coder>
class WordCoder {
public:
    WordCoder(const ExactForm& form, Coder coder)
        : width_(form.width), modeled_(form.modeled), mixed_(form.rows * form.columns <= kMaxMixedWords), coder_(coder),
          mixer_(coder), trees_(int64_t{kContexts} * form.width) {
        for (auto& one : weights_) one.fill(kInitialWeight);
    }

    // Codes the leading bits of `word`, predicted from two neighbors; returns the word with the other bits zero.
    uint64_t code(uint64_t word, uint64_t left, uint64_t other) {
        return mixed_ ? bytes<true>(word, left, other) : bytes<false>(word, left, other);
    }

private:
    static constexpr int kOther = 256 + 512, kJoint = kOther + 512, kContexts = kJoint + 257;

    template <bool Mixed>
    uint64_t bytes(uint64_t word, uint64_t left, uint64_t other) {
        uint64_t done = 0;
        int previous = 0, equals_left = 1, equals_other = 1;
        for (int k = 0; 8 * k < modeled_; ++k) {
            const int shift = 8 * (width_ - 1 - k), bits = std::min(8, modeled_ - 8 * k);
            const int l = left >> shift & 255, o = other >> shift & 255;
            const int64_t base = int64_t{kContexts} * k;
            const int64_t joint = base + kJoint + (k == 0 ? 1 + (l + o) / 2 : 0);
            int node;
            if (Mixed) {
                node = code_byte_mixed({trees_.tree(base + previous), trees_.tree(base + 256 + 256 * equals_left + l),
                            trees_.tree(base + kOther + 256 * equals_other + o), trees_.tree(joint)},
                           8 * k, bits, word >> shift);
            } else {
                node = code_byte(trees_.tree(k == 0 ? joint : base + previous), bits, word >> shift);
            }
            const int byte = node << (8 - bits) & 255;
            done |= static_cast<uint64_t>(byte) << shift;
            equals_left &= byte == l;
            equals_other &= byte == o;
            previous = byte;
        }
        return done;
    }

    // Codes the first bits of a byte with the mixed predictions of several trees; returns the node they lead to.
    int code_byte_mixed(const std::array<int32_t, kInputs>& trees, int bit_index, int bits, uint64_t byte) {
        AdaptiveBit* data = trees_.data();
        int node = 1;
        for (int depth = 0; depth < bits; ++depth)
            node = 2 * node + mixer_.decide({data + trees[0] + node, data + trees[1] + node, data + trees[2] + node,
                                             data + trees[3] + node},
                                            weights_[bit_index + depth], byte >> (7 - depth) & 1);
        return node;
    }

    int code_byte(int32_t at, int bits, uint64_t byte) {
        AdaptiveBit* tree = trees_.data() + at;
        int node = 1;
        for (int depth = 0; depth < bits; ++depth) {
            const int bit = coder_(byte >> (7 - depth) & 1, clip(tree[node].p));
            tree[node].update(bit, kMaxObservations);
            node = 2 * node + bit;
        }
        return node;
    }

    const int width_, modeled_;
    const bool mixed_;
    Coder coder_;
    Mixer<Coder> mixer_;
    Trees trees_;
    std::array<std::array<int32_t, kInputs>, 64> weights_;
};

// Returns the bytes of the bits that are not modeled.
int64_t raw_bytes(const ExactForm& form) {
    return (form.rows * form.columns * (8 * form.width - form.modeled) + 7) / 8;
}

// The words of a tensor and their transformed values.
template <int Width>
class WordView {
public:
    WordView(const ExactForm& form, const uint8_t* raw) : form_(form), raw_(raw) {}

    // Returns the transformed word i, which depends on words up to i only; zero before the first.
    uint64_t value(int64_t i) const {
        if (i < 0) return 0;
        const uint64_t word = load(i);
        switch (form_.transform) {
            case Transform::kRotate: return (word << 1 | word >> (kBits - 1)) & kMask;
            case Transform::kLeft: return zigzag(word - load(i - form_.lanes));
            case Transform::kAbove: return zigzag(word - load(i - form_.columns));
            default: return word;
        }
    }

    // Returns word i, given its transformed value.
    uint64_t word(int64_t i, uint64_t value) const {
        switch (form_.transform) {
            case Transform::kRotate: return (value >> 1 | value << (kBits - 1)) & kMask;
            case Transform::kLeft: return (unzigzag(value) + load(i - form_.lanes)) & kMask;
            case Transform::kAbove: return (unzigzag(value) + load(i - form_.columns)) & kMask;
            default: return value;
        }
    }

    // The words that predict word i: the left one, and the one above or, in a single row, the second to the left.
    int64_t left(int64_t i) const { return i - form_.lanes; }
    int64_t other(int64_t i) const { return i - (form_.rows > 1 ? form_.columns : 2 * form_.lanes); }

private:
    static constexpr int kBits = 8 * Width;
    static constexpr uint64_t kMask = ~uint64_t{0} >> (64 - kBits);

    uint64_t load(int64_t i) const {
        uint64_t word = 0;
        for (int b = 0; b < Width && i >= 0; ++b) word |= static_cast<uint64_t>(raw_[i * Width + b]) << (8 * b);
        return word;
    }
    static uint64_t zigzag(uint64_t d) { return (d << 1 ^ (0 - (d >> (kBits - 1) & 1))) & kMask; }
    static uint64_t unzigzag(uint64_t z) { return z >> 1 ^ (0 - (z & 1)); }

    const ExactForm& form_;
    const uint8_t* raw_;
};

// Fields of up to 64 bits, least significant bit first.
class FieldWriter {
public:
    void put(uint64_t value, int bits) {
        for (; bits > 32; bits -= 32, value >>= 32) put(value & 0xFFFFFFFFu, 32);
        pending_ |= (value & ((uint64_t{1} << bits) - 1)) << filled_;
        for (filled_ += bits; filled_ >= 8; filled_ -= 8, pending_ >>= 8) out_.push_back(static_cast<char>(pending_));
    }
    std::string finish() {
        if (filled_) out_.push_back(static_cast<char>(pending_));
        return std::move(out_);
    }

private:
    std::string out_;
    uint64_t pending_ = 0;
    int filled_ = 0;
};

class FieldReader {
public:
    explicit FieldReader(const uint8_t* data) : data_(data) {}

    uint64_t get(int bits) {
        uint64_t value = 0;
        int done = 0;
        for (; bits - done > 32; done += 32) value |= get(32) << done;
        bits -= done;
        for (; filled_ < bits; filled_ += 8) pending_ |= static_cast<uint64_t>(*data_++) << filled_;
        value |= (pending_ & ((uint64_t{1} << bits) - 1)) << done;
        pending_ >>= bits;
        filled_ -= bits;
        return value;
    }
    bool padded_with_zeros() const { return pending_ == 0; }

private:
    const uint8_t* data_;
    uint64_t pending_ = 0;
    int filled_ = 0;
};

template <int Width>
std::string encode(const ExactForm& form, const uint8_t* raw) {
    const WordView<Width> view(form, raw);
    const int raw_bits = 8 * Width - form.modeled;
    RangeEncoder coder;
    WordCoder<Encode> words(form, Encode{coder});
    FieldWriter fields;
    for (int64_t i = 0; i < form.rows * form.columns; ++i) {
        const uint64_t value = view.value(i);
        words.code(value, view.value(view.left(i)), view.value(view.other(i)));
        fields.put(value, raw_bits);
    }
    return fields.finish() + coder.finish();
}

template <int Width>
void decode(const ExactForm& form, const uint8_t* data, int64_t size, uint8_t* raw) {
    const WordView<Width> view(form, raw);
    const int raw_bits = 8 * Width - form.modeled;
    const int64_t count = form.rows * form.columns, plain = raw_bytes(form);
    RangeDecoder coder(data + plain, size - plain);
    WordCoder<Decode> words(form, Decode{coder});
    FieldReader fields(data);
    for (int64_t i = 0; i < count; ++i) {
        const uint64_t lead = words.code(0, view.value(view.left(i)), view.value(view.other(i)));
        const uint64_t word = view.word(i, lead | fields.get(raw_bits));
        for (int b = 0; b < Width; ++b) raw[i * Width + b] = static_cast<uint8_t>(word >> (8 * b));
    }
    if (!fields.padded_with_zeros()) throw std::invalid_argument("padding is not zero");
    coder.finish();
}

template <int Width>
std::vector<double> costs(const ExactForm& form, const uint8_t* raw) {
    const WordView<Width> view(form, raw);
    std::vector<double> bits(8 * Width);
    int bit_index = 0;
    WordCoder<CostCounter> words(form, CostCounter{bits.data(), &bit_index});
    for (int64_t i = 0; i < form.rows * form.columns; ++i, bit_index = 0)
        words.code(view.value(i), view.value(view.left(i)), view.value(view.other(i)));
    return bits;
}

// Runs the model of bytes in rows over all of them; those from `known` on are coded, and set where that decodes.
template <class Coder>
void continue_bytes(Coder coder, uint8_t* raw, int64_t known, int64_t count, int64_t columns) {
    const ExactForm form{2, columns, 1, 1, Transform::kNone, 8};
    const WordView<1> view(form, raw);
    bool is_known = true;
    WordCoder<Continuing<Coder>> words(form, Continuing<Coder>{&is_known, coder});
    for (int64_t i = 0; i < count; ++i) {
        is_known = i < known;
        raw[i] = static_cast<uint8_t>(words.code(raw[i], view.value(view.left(i)), view.value(view.other(i))));
    }
}

void check_continued(int64_t known, int64_t count, int64_t columns) {
    if (columns < 1 || known < columns || known % columns || count < known || count > kMaxMixedWords)
        throw std::invalid_argument(std::to_string(count) + " bytes cannot continue " + std::to_string(known) +
                                    " in rows of " + std::to_string(columns));
}

std::string too_short(int64_t size) {
    return std::to_string(size) + " bytes may stand for " + std::to_string(max_modeled_bits(size)) + " bits at most";
}

void check(const ExactForm& form) {
    if (form.width != 1 && form.width != 2 && form.width != 4 && form.width != 8)
        throw std::invalid_argument("width is " + std::to_string(form.width) + "; allowed: 1, 2, 4, 8");
    if (form.lanes < 1 || form.lanes > 2) throw std::invalid_argument("lanes must be 1 or 2");
    if (form.modeled < 1 || form.modeled > 8 * form.width)
        throw std::invalid_argument("modeled is " + std::to_string(form.modeled) + "; allowed: 1 to 8 width");
}

// Bits of a tensor of bools, each predicted from those before it: in the row, in the row above, and in both.
template <class Coder>
class Bools {
public:
    Bools(int64_t columns, Coder coder) : columns_(columns), mixer_(coder), contexts_(kInputs * kContexts) {
        for (auto& one : weights_) one.fill(kInitialWeight);
    }

    int code(const uint8_t* raw, int64_t i, int bit) {
        history_ = history_ << 1 & 255;
        if (i > 0) history_ |= raw[i - 1];
        const auto at = [&](int64_t back) -> int { return back > 0 && i >= back ? raw[i - back] : 0; };
        const int above = at(columns_) | at(columns_ - 1) << 1 | at(columns_ + 1) << 2 | at(2 * columns_) << 3;
        const int nearby = (history_ & 3) | (above & 7) << 2;
        const int column = above >> 3 | (above & 1) << 1 | at(3 * columns_) << 2 | at(4 * columns_) << 3;
        AdaptiveBit* data = contexts_.data();
        return mixer_.decide({data, data + kContexts + history_, data + 2 * kContexts + nearby,
                              data + 3 * kContexts + column},
                             weights_[0], bit);
    }

private:
    static constexpr int kContexts = 256;
    const int64_t columns_;
    Mixer<Coder> mixer_;
    std::vector<AdaptiveBit> contexts_;
    std::array<std::array<int32_t, kInputs>, 1> weights_;
    int history_ = 0;
};

}  // namespace

int64_t max_modeled_bits(int64_t size) {
    constexpr int64_t kFree = 1 << 16, kMaxBitsPerByte = 1 << 13;
    return std::max(kFree, kMaxBitsPerByte * std::min<int64_t>(size, INT64_MAX / kMaxBitsPerByte));
}

std::string encode_exact(const ExactForm& form, const uint8_t* raw) {
    check(form);
    switch (form.width) {
        case 1: return encode<1>(form, raw);
        case 2: return encode<2>(form, raw);
        case 4: return encode<4>(form, raw);
        default: return encode<8>(form, raw);
    }
}

void check_exact(const ExactForm& form, int64_t size) {
    check(form);
    if (size < raw_bytes(form))
        throw std::invalid_argument(std::to_string(size) + " bytes cannot hold the bits that are not modeled");
    if (form.rows * form.columns * form.modeled > max_modeled_bits(size)) throw std::invalid_argument(too_short(size));
}

void decode_exact(const ExactForm& form, const uint8_t* data, int64_t size, uint8_t* raw) {
    check_exact(form, size);
    switch (form.width) {
        case 1: return decode<1>(form, data, size, raw);
        case 2: return decode<2>(form, data, size, raw);
        case 4: return decode<4>(form, data, size, raw);
        default: return decode<8>(form, data, size, raw);
    }
}

std::string encode_continued(const uint8_t* raw, int64_t known, int64_t count, int64_t columns) {
    check_continued(known, count, columns);
    std::vector<uint8_t> copy(raw, raw + count);
    RangeEncoder coder;
    continue_bytes(Encode{coder}, copy.data(), known, count, columns);
    return coder.finish();
}

void decode_continued(const uint8_t* data, int64_t size, int64_t known, int64_t count, int64_t columns, uint8_t* raw) {
    check_continued(known, count, columns);
    if (8 * (count - known) > max_modeled_bits(size)) throw std::invalid_argument(too_short(size));
    RangeDecoder coder(data, size);
    continue_bytes(Decode{coder}, raw, known, count, columns);
    coder.finish();
}

std::vector<double> exact_costs(const ExactForm& form, const uint8_t* raw) {
    check(form);
    switch (form.width) {
        case 1: return costs<1>(form, raw);
        case 2: return costs<2>(form, raw);
        case 4: return costs<4>(form, raw);
        default: return costs<8>(form, raw);
    }
}

std::string encode_bools(int64_t rows, int64_t columns, const uint8_t* raw) {
    RangeEncoder coder;
    Bools<Encode> bools(columns, Encode{coder});
    for (int64_t i = 0; i < rows * columns; ++i) bools.code(raw, i, raw[i]);
    return coder.finish();
}

void check_bools(int64_t rows, int64_t columns, int64_t size) {
    if (rows * columns > max_modeled_bits(size)) throw std::invalid_argument(too_short(size));
}

void decode_bools(int64_t rows, int64_t columns, const uint8_t* data, int64_t size, uint8_t* raw) {
    RangeDecoder coder(data, size);
    Bools<Decode> bools(columns, Decode{coder});
    for (int64_t i = 0; i < rows * columns; ++i) raw[i] = static_cast<uint8_t>(bools.code(raw, i, 0));
    coder.finish();
}

}  // namespace coinr
