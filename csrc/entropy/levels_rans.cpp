#include "entropy/levels_rans.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <memory>
#include <stdexcept>
#include <utility>

#include "entropy/alphabet.hpp"
#include "entropy/prior.hpp"

namespace coinr {
namespace {

constexpr int kMinClass = -32, kClasses = 48;  // half octaves of expected magnitude / mean of the model
constexpr int kPriorValues = 4;                // weight of the prior of a row's or column's magnitude
constexpr int kAlphabets = 2 * kClasses;       // by class, and by quantizer of a trellis
constexpr uint64_t kMean = 256;                // the mean of the model in sums of magnitudes
constexpr uint64_t kFirst = kPriorValues * kMean;  // what such a sum starts from

// Code one symbol and its bits(symbol) raw bits.
struct Write {
    static constexpr bool kLearns = true;
    RansEncoder& coder;
    template <class Bits>
    std::pair<int, uint32_t> operator()(const Alphabet& alphabet, const Bits& bits, int symbol, uint32_t raw) {
        coder.put({static_cast<uint16_t>(alphabet.start(symbol)), static_cast<uint16_t>(alphabet.frequency(symbol)),
                   static_cast<uint16_t>(raw), static_cast<uint16_t>(bits(symbol))});
        return {symbol, raw};
    }
};

// Codes nothing: the model learns.
struct Skip {
    static constexpr bool kLearns = true;
    template <class Bits>
    std::pair<int, uint32_t> operator()(const Alphabet&, const Bits&, int symbol, uint32_t raw) {
        return {symbol, raw};
    }
};

struct Read {
    static constexpr bool kLearns = true;
    RansDecoder& coder;
    template <class Bits>
    std::pair<int, uint32_t> operator()(Alphabet& alphabet, const Bits& bits, int, uint32_t) {
        const int symbol = alphabet.find(coder.slot());
        return {symbol, coder.take(alphabet.start(symbol), alphabet.frequency(symbol), bits(symbol))};
    }
};

// The symbols of each alphabet, in order.
using History = std::array<std::vector<uint16_t>, kAlphabets>;

// Codes nothing, and leaves alphabets as they are: which one codes which symbol does not depend on what they learn.
struct Record {
    static constexpr bool kLearns = false;
    History& history;
    template <class Bits>
    std::pair<int, uint32_t> operator()(const Alphabet& alphabet, const Bits&, int symbol, uint32_t raw) {
        history[alphabet.number()].push_back(static_cast<uint16_t>(symbol));
        return {symbol, raw};
    }
};

// Returns 2 log2(x), rounded, for x >= 1.
int half_octaves(uint64_t x) {
    const int octave = bit_length(x) - 1;
    const uint64_t mantissa = (x << (63 - octave)) >> 48;
    return 2 * octave + (mantissa >= 38968) + (mantissa >= 55109);  // 2^15.25, 2^15.75
}

// The model of levels, which are coded in order, some at a time. A copy goes on from the same place.
class RansLevels {
public:
    RansLevels(const LevelModel& model, int octaves, int memory_code)
        : model_(model), trellis_(model.log_states), symbols_(2 * tokens_of(octaves) - 1), memory_(memory(memory_code)),
          inverse_scale_((uint64_t{kMean} << 32) / static_cast<uint64_t>(model.scale)),
          column_sum_(model.by_column && model.rows > 1 ? model.columns : 0, kFirst) {}

    RansLevels(const RansLevels& other)
        : model_(other.model_), trellis_(other.trellis_), symbols_(other.symbols_), memory_(other.memory_),
          inverse_scale_(other.inverse_scale_), column_sum_(other.column_sum_), row_sum_(other.row_sum_),
          row_(other.row_), column_(other.column_), state_(other.state_) {
        for (size_t i = 0; i < alphabets_.size(); ++i)
            if (other.alphabets_[i]) alphabets_[i] = std::make_unique<Alphabet>(*other.alphabets_[i]);
    }

    // Codes exponents: reads them from `data` or, when decoding, writes them to it.
    template <class Coder>
    void start(LevelData& data, Coder coder) {
        exponents(model_.row_steps, model_.rows, data.row, coder);
        exponents(model_.column_steps, model_.columns, data.column, coder);
    }

    // Codes the next integers: reads them from `k` or, when decoding, writes values to it.
    template <bool Decoding, class Coder>
    void run(const LevelData& data, int32_t* k, int64_t count, Coder coder) {
        const bool adapting = model_.by_row || model_.by_column || model_.row_steps || model_.column_steps;
        while (count > 0) {
            const int64_t some = std::min(count, model_.columns - column_);
            adapting ? row<Decoding, true>(data, k, some, coder) : row<Decoding, false>(data, k, some, coder);
            k += some;
            count -= some;
        }
    }

    // Goes to a place as if all before it had the mean of the model.
    void skip_to(int64_t place) {
        row_ = place / model_.columns;
        column_ = place % model_.columns;
        row_sum_ = (kPriorValues + column_) * kMean;
        std::fill(column_sum_.begin(), column_sum_.end(), (kPriorValues + row_) * kMean);
    }

    // Makes an alphabet with counts in proportion to the prior.
    std::unique_ptr<Alphabet> make_alphabet(int number) const {
        const int magnitude_class = number / 2;
        const auto state = static_cast<uint32_t>(number % 2);
        const int64_t scale = std::max<int64_t>((int64_t{4} * model_.scale * step_factor(magnitude_class)) >> 23, 8);
        const Tail tail(model_.shape, scale);
        auto created = std::make_unique<Alphabet>(number, symbols_, memory_);
        uint32_t above = 1u << 30;
        for (int s = 0; s < symbols_; s += 2) {
            const uint32_t below = s + 1 < symbols_ ? tail(threshold(trellis_, state, kTable.symbol[s + 1].low)) : 0;
            const uint32_t count = 1 + ((above - below) >> (30 - kPriorBits + (s > 0)));
            created->set_count(s, count);
            if (s > 0) created->set_count(s - 1, count);
            above = below;
        }
        created->update_frequencies();
        return created;
    }

private:
    // Codes the next `count` integers, all of them in one row.
    template <bool Decoding, bool Adapting, class Coder>
    void row(const LevelData& data, int32_t* k, int64_t count, Coder coder) {
        const int row_exponent = model_.row_steps ? data.row[row_] : 0;
        const uint64_t row_share = reciprocal(kPriorValues + row_);
        const bool summed = !column_sum_.empty();  // the sums of a single row are never used
        uint64_t sum = row_sum_;
        uint32_t state = state_;
        for (int64_t i = 0; i < count; ++i) {
            const int64_t c = column_ + i;
            const int exponent = Adapting ? row_exponent + (model_.column_steps ? data.column[c] : 0) : 0;
            int magnitude_class = -kMinClass;
            if (Adapting) {
                const uint64_t along = model_.by_row ? mean(sum, reciprocal(kPriorValues + c)) : kMean;
                const uint64_t down = model_.by_column ? mean(summed ? column_sum_[c] : kFirst, row_share) : kMean;
                magnitude_class += half_octaves(along * down) - half_octaves(kMean * kMean) - exponent;
                magnitude_class = std::clamp(magnitude_class, 0, kClasses - 1);
            }
            const int32_t coded = integer(alphabet(state, magnitude_class), k[i], coder);
            const int32_t value = trellis_.value(state, coded);
            if (trellis_.log_states) state = trellis_.next(state, coded & 1);
            if (Decoding) k[i] = value;
            if (Adapting) {
                const uint64_t observed = relative_magnitude(value, exponent);
                sum += observed;
                if (summed) column_sum_[c] += observed;
            }
        }
        state_ = state;
        column_ += count;
        row_sum_ = sum;
        if (column_ == model_.columns) {
            column_ = 0;
            ++row_;
            row_sum_ = kFirst;
        }
    }

    static uint64_t reciprocal(int64_t n) { return n > UINT32_MAX ? 0 : UINT32_MAX / static_cast<uint32_t>(n); }
    static uint64_t mean(uint64_t sum, uint64_t share) { return std::max<uint64_t>((sum * share) >> 32, 1); }

    // Returns a value's magnitude over the mean of the model, in 1/kMean, at most 2^12 times the mean.
    uint64_t relative_magnitude(int32_t value, int exponent) const {
        const uint64_t magnitude = std::abs(static_cast<int64_t>(value)) * step_factor(exponent) >> 3;
        return (std::min<uint64_t>(magnitude, static_cast<uint64_t>(model_.scale) << 12) * inverse_scale_) >> 32;
    }

    template <class Coder>
    static void exponents(bool present, int64_t count, std::vector<uint8_t>& exponent, Coder coder) {
        if (!present) return;
        exponent.resize(count);
        Alphabet alphabet(0, kMaxExponent + 1, memory(0));
        for (int e = 0; e <= kMaxExponent; ++e) alphabet.set_count(e, kObservation / 4);
        alphabet.update_frequencies();
        for (uint8_t& e : exponent) {
            e = static_cast<uint8_t>(coder(alphabet, [](int) { return 0; }, e, 0).first);
            alphabet.learn(e);
        }
    }

    template <class Coder>
    static int32_t integer(Alphabet& alphabet, int32_t k, Coder coder) {
        const uint32_t magnitude = static_cast<uint32_t>(std::abs(k));
        const int t = token_of(magnitude);
        const auto bits = [](int symbol) { return kTable.symbol[symbol].raw_bits; };
        const auto [symbol, raw] = coder(alphabet, bits, 2 * t - (k > 0), magnitude - token(t).low);
        if (Coder::kLearns) alphabet.learn(symbol);
        const int32_t coded = kTable.symbol[symbol].low + static_cast<int32_t>(raw), sign = symbol & 1 ? 0 : -1;
        return (coded ^ sign) - sign;
    }

    Alphabet& alphabet(uint32_t state, int magnitude_class) {
        const int number = 2 * magnitude_class + static_cast<int>(trellis_.log_states ? state & 1 : 0);
        auto& created = alphabets_[number];
        if (!created) created = make_alphabet(number);
        return *created;
    }

    const LevelModel model_;
    const Trellis trellis_;
    const int symbols_;
    const uint32_t memory_;
    const uint64_t inverse_scale_;
    std::vector<uint64_t> column_sum_;
    std::array<std::unique_ptr<Alphabet>, kAlphabets> alphabets_;
    uint64_t row_sum_ = kFirst;
    int64_t row_ = 0, column_ = 0;
    uint32_t state_ = 0;
};

// Most levels by which the memory of alphabets is chosen; levels of a block, and most blocks.
constexpr int64_t kSample = 1 << 19, kBlock = 1 << 16, kBlocks = 64;

// A block of a source, as a model takes it.
struct Block {
    explicit Block(int64_t size) : k(size) {}
    int32_t* fill(const LevelSource& source, int64_t begin, int64_t count) {
        for (int64_t i = 0; i < count; ++i) k[i] = source.at(begin + i);
        return k.data();
    }
    std::vector<int32_t> k;
};

// Returns the codes of those memories of which one takes the fewest bytes, by the sum of the bits of all symbols. Sizes
// are whole words, so sums that differ by more than a word and what rANS loses on each symbol decide.
std::vector<int> smallest_memories(const LevelModel& model, int octaves, const History& history) {
    double bits[kMemories], least = std::numeric_limits<double>::infinity();
    int codes = 0;
    for (bool forgets = true; forgets && codes < kMemories; ++codes) {
        const RansLevels levels(model, octaves, codes);
        forgets = false;
        bits[codes] = 0;
        for (int number = 0; number < kAlphabets; ++number) {
            if (history[number].empty()) continue;
            const std::unique_ptr<Alphabet> alphabet = levels.make_alphabet(number);
            bits[codes] += alphabet->learn_all(history[number].data(), history[number].size());
            forgets |= alphabet->has_forgotten();
        }
        least = std::min(least, bits[codes]);
    }
    size_t symbols = 0;
    for (const auto& of_alphabet : history) symbols += of_alphabet.size();
    std::vector<int> found;
    for (int code = 0; code < codes; ++code)
        if (bits[code] <= least + 33 + 0x1p-16 * static_cast<double>(symbols)) found.push_back(code);
    return found;
}

int choose_memory(const LevelModel& model, int octaves, const LevelSource& source, const LevelData& exponents) {
    const int64_t all = model.rows * model.columns, count = std::min(all, kSample), begin = (all - count) / 2;
    Block block(count);
    History history;
    const auto run = [&](int code, auto coder) {
        RansLevels levels(model, octaves, code);
        levels.skip_to(begin);
        levels.run<false>(exponents, block.fill(source, begin, count), count, coder);
    };
    run(0, Record{history});
    const std::vector<int> codes = smallest_memories(model, octaves, history);
    if (codes.size() == 1) return codes[0];
    size_t least = SIZE_MAX;
    int best = 0;
    for (const int code : codes) {
        RansEncoder coder;
        run(code, Write{coder});
        const size_t size = coder.finish(0).size();
        if (size < least) {
            least = size;
            best = code;
        }
    }
    return best;
}

}  // namespace

std::string encode_levels_rans(const LevelModel& model, const LevelData& integers) {
    uint32_t largest = 0;
    for (const int32_t k : integers.k) largest = std::max(largest, static_cast<uint32_t>(std::abs(k)));
    const int octaves = bit_length(largest);
    LevelData copy = integers;
    const auto count = static_cast<int64_t>(copy.k.size());
    History history;
    RansLevels(model, octaves, 0).run<false>(copy, copy.k.data(), count, Record{history});
    std::string best;
    for (const int code : smallest_memories(model, octaves, history)) {
        RansEncoder coder;
        RansLevels levels(model, octaves, code);
        levels.start(copy, Write{coder});
        levels.run<false>(copy, copy.k.data(), count, Write{coder});
        std::string out = coder.finish(static_cast<char>(octaves | code << 5));
        if (best.empty() || out.size() < best.size()) best = std::move(out);
    }
    return best;
}

CodedLevels encode_levels_in_blocks(const LevelModel& model, const LevelSource& k, const LevelData& exponents) {
    check_model(model, &exponents);
    const int64_t count = model.rows * model.columns;
    if (!model.rans || count == 0) throw std::invalid_argument("blocks are of levels, and coded by rANS");
    uint32_t largest = 0;
    for (int64_t i = 0; i < count; ++i) {
        const int64_t magnitude = std::abs(static_cast<int64_t>(k.at(i)));
        if (magnitude > kMaxLevel) throw std::invalid_argument("a level is not in +-(2**20 - 1)");
        largest = std::max(largest, static_cast<uint32_t>(magnitude));
    }
    const int octaves = bit_length(largest), code = choose_memory(model, octaves, k, exponents);
    const int64_t size = std::max(kBlock, (count + kBlocks - 1) / kBlocks);
    Block block(std::min(size, count));
    std::vector<RansLevels> starts;
    starts.reserve(kBlocks);
    RansLevels levels(model, octaves, code);
    for (int64_t begin = 0; begin < count; begin += size) {
        const int64_t some = std::min(size, count - begin);
        starts.push_back(levels);
        levels.run<false>(exponents, block.fill(k, begin, some), some, Skip{});
    }
    RansEncoder coder;
    for (int64_t begin = (static_cast<int64_t>(starts.size()) - 1) * size; begin >= 0; begin -= size) {
        const int64_t some = std::min(size, count - begin);
        starts.back().run<false>(exponents, block.fill(k, begin, some), some, Write{coder});
        coder.encode_block();
        starts.pop_back();
    }
    LevelData copy = exponents;
    RansLevels(model, octaves, code).start(copy, Write{coder});
    coder.encode_block();
    return {static_cast<char>(octaves | code << 5), std::move(coder)};
}

struct LevelReader::State {
    State(const LevelModel& model, const uint8_t* data, int64_t size, int octaves, int code)
        : coder(data, size), levels(model, octaves, code) {
        levels.start(exponents, Read{coder});
    }
    RansDecoder coder;
    RansLevels levels;
    LevelData exponents;
};

LevelReader::LevelReader(const LevelModel& model, const uint8_t* data, int64_t size) {
    check_model(model, nullptr);
    if (!model.rans) throw std::invalid_argument("only what rANS coded is read in parts");
    if (size < 1) throw std::invalid_argument("coded data is empty");
    const int octaves = data[0] & 31, code = data[0] >> 5;
    if (octaves > kRansOctaves || code >= kMemories)
        throw std::invalid_argument("coded data begins with byte " + std::to_string(data[0]) + ", which means nothing");
    state_ = std::make_unique<State>(model, data + 1, size - 1, octaves, code);
}

LevelReader::~LevelReader() = default;

const LevelData& LevelReader::exponents() const { return state_->exponents; }

void LevelReader::read(int64_t count, int32_t* values) {
    state_->levels.run<true>(state_->exponents, values, count, Read{state_->coder});
}

void LevelReader::finish() const { state_->coder.finish(); }

LevelData decode_levels_rans(const LevelModel& model, const uint8_t* data, int64_t size) {
    LevelReader reader(model, data, size);
    LevelData values = reader.exponents();
    values.k.resize(model.rows * model.columns);
    reader.read(static_cast<int64_t>(values.k.size()), values.k.data());
    reader.finish();
    return values;
}

}  // namespace coinr
