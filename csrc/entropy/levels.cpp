#include "entropy/levels.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

#include "entropy/levels_rans.hpp"
#include "entropy/mixing.hpp"
#include "entropy/prior.hpp"
#include "entropy/rangecoder.hpp"

namespace coinr {
namespace {

// Ungerboeck's codes for amplitude modulation by number of registers: feedback and input polynomials.
constexpr uint32_t kCodes[9][2] = {{0, 0},      {0, 0},       {05, 02},     {013, 04},   {023, 04},
                                   {045, 010}, {0103, 024}, {0235, 0126}, {0515, 0362}};

constexpr int kOctaves = 20;
constexpr int kMantissa = 3;              // leading mantissa bits that are modeled
constexpr int kMagnitudeClasses = 8;      // of the expected magnitude
constexpr int kInputs = 4;                // predictions that are mixed
constexpr int kMaxObservations = 1000;    // the count of a context stops here, so that old bits fade
constexpr int kPriorObservations = 48;    // weight of a context's prior
constexpr int kPriorValues = 4;           // weight of the prior of a row's or column's magnitude
constexpr int kLearningRate = 14;         // the mixer learns by error * input / 2^14

// Nodes of the binarization: the first decision, octaves above it, octaves below it, leading mantissa bits, sign.
constexpr int kUp = kOctaves, kDown = 2 * kOctaves, kMantissas = 3 * kOctaves;
constexpr int kSignNode = kMantissas + ((kOctaves + 1) << kMantissa);
constexpr int kNodes = kSignNode + 1;

uint32_t ratio(uint64_t part, uint64_t whole) {
    if (whole == 0) return kProbOne / 2;
    return clip(static_cast<int64_t>((part << kProbBits) / whole));
}

struct Context {
    AdaptiveBit bit;
    bool unseen = true;

    // `prior` returns the probability of an unseen context.
    template <class Prior>
    uint32_t probability(const Prior& prior) {
        if (unseen) {
            bit.p = static_cast<uint16_t>(prior());
            bit.count = kPriorObservations;
            unseen = false;
        }
        return clip(bit.p);
    }
};

struct Weights {
    int32_t w[kInputs];
};

template <class Coder>
class LevelCoder {
public:
    LevelCoder(const LevelModel& model, Coder coder)
        : model_(model), trellis_(model.log_states), coder_(coder), global_tail_(model.shape, scale()),
          local_tail_(model.shape, scale()), global_contexts_(kClasses * kNodes),
          local_contexts_(kClasses * kMagnitudeClasses * kNodes),
          neighbor_contexts_(kClasses * 9 * kNodes), weights_(kClasses * kNodes, Weights{{49152, 8192, 8192, 0}}),
          column_sum_(model.columns, 0), above_(model.columns, 0) {
        set_expectation(scale(), scale());
    }

    // Codes exponents and integers: reads them from `data` or, when decoding, writes exponents and values to it.
    void run(LevelData& data, bool decoding) {
        exponents(model_.row_steps, model_.rows, data.row);
        exponents(model_.column_steps, model_.columns, data.column);
        if (decoding) data.k.resize(model_.rows * model_.columns);
        uint32_t state = 0;
        for (int64_t r = 0; r < model_.rows; ++r) {
            row_sum_ = 0;
            left_ = 0;
            for (int64_t c = 0; c < model_.columns; ++c) {
                const int64_t factor = step_factor((model_.row_steps ? data.row[r] : 0) +
                                                   (model_.column_steps ? data.column[c] : 0));
                column_ = c;
                if (adapting()) set_expectation(expected(r, c), scale(), factor);
                if (model_.mixed) neighbor_class_ = 3 * std::min(std::abs(left_), 2) + std::min(std::abs(above_[c]), 2);
                class_ = trellis_.log_states == 0 ? 0 : 1 + static_cast<int>(state & 1);
                int32_t& k = data.k[r * model_.columns + c];
                const int32_t coded = integer(state, k);
                const int32_t value = trellis_.value(state, coded);
                if (decoding) k = value;
                if (adapting()) {
                    const int64_t magnitude = std::abs(static_cast<int64_t>(value));
                    const int64_t observed = std::min((magnitude * factor) >> 1, kMaxMagnitude);
                    row_sum_ += observed;
                    column_sum_[c] += observed;
                }
                left_ = coded;
                above_[c] = coded;
                if (trellis_.log_states) state = trellis_.next(state, coded & 1);
            }
        }
    }

private:
    static constexpr int kClasses = 3;
    static constexpr int64_t kMaxMagnitude = int64_t{1} << 36;

    // Magnitudes are in 1/32 half step; so is the model's mean.
    int64_t scale() const { return 4 * static_cast<int64_t>(model_.scale); }

    bool adapting() const { return model_.by_row || model_.by_column || model_.row_steps || model_.column_steps; }

    void exponents(bool present, int64_t count, std::vector<uint8_t>& exponent) {
        if (!present) return;
        exponent.resize(count);
        AdaptiveBit tree[kMaxExponent + 1];
        for (uint8_t& e : exponent) {
            int node = 1;
            for (int i = 4; i >= 0; --i) {
                AdaptiveBit& bit = tree[node];
                const int coded = coder_(e >> i & 1, clip(bit.p));
                bit.update(coded, kMaxObservations);
                node = 2 * node + coded;
            }
            e = static_cast<uint8_t>(node & kMaxExponent);
        }
    }

    // Returns the expected magnitude of an element, in 1/32 half base step, from earlier values of its row and column.
    int64_t expected(int64_t r, int64_t c) const {
        const int64_t m = scale();
        int64_t s = m;
        if (model_.by_row) s = (kPriorValues * m + row_sum_) / (kPriorValues + c);
        if (model_.by_column) {
            const int64_t column = (kPriorValues * m + column_sum_[c]) / (kPriorValues + r);
            const auto both = static_cast<unsigned __int128>(s) * column / m;
            s = model_.by_row ? static_cast<int64_t>(std::min<unsigned __int128>(both, kMaxMagnitude)) : column;
        }
        return std::clamp<int64_t>(s, 1, kMaxMagnitude);
    }

    // Sets the expected magnitude of the next element, from magnitudes in base steps and the factor of its own step.
    void set_expectation(int64_t local, int64_t whole, int64_t factor = 128) {
        const int64_t s = std::clamp<int64_t>(128 * local / factor, 8, kMaxMagnitude);
        const int64_t m = std::clamp<int64_t>(128 * whole / factor, 8, kMaxMagnitude);
        local_tail_.set(s);
        global_tail_.set(m);
        // classes of s over the model's mean, bounds at 1/64, 1/16, 1/4, 1/2, 3/4, 5/4, 2
        const int64_t mean = scale();
        magnitude_class_ = (64 * s > mean) + (16 * s > mean) + (4 * s > mean) + (2 * s > mean) + (4 * s > 3 * mean) +
                 (4 * s > 5 * mean) + (s > 2 * mean);
        // about half of all magnitudes lie below 2^first
        const int64_t steps = s / (trellis_.log_states ? 160 : 80);
        first_ = steps ? std::min(64 - __builtin_clzll(static_cast<uint64_t>(steps)), kOctaves - 1) : 0;
    }

    // Codes one binary decision; `prior` returns its probability under a prior distribution.
    template <class Prior>
    int decide(int node, int bit, const Prior& prior) {
        Context& n = local_contexts_[(class_ * kMagnitudeClasses + magnitude_class_) * kNodes + node];
        if (!model_.mixed) {
            bit = coder_(bit, n.probability([&] { return prior(local_tail_); }));
            n.bit.update(bit, kMaxObservations);
            return bit;
        }
        const uint32_t prior_local = prior(local_tail_);
        const auto same = [&] { return prior_local; };
        Context& g = global_contexts_[class_ * kNodes + node];
        Context& e = neighbor_contexts_[(class_ * 9 + neighbor_class_) * kNodes + node];
        const uint32_t pg = g.probability([&] { return prior(global_tail_); });
        const uint32_t pn = n.probability(same), pe = e.probability(same);
        const Logistic& table = logistic();
        const int32_t in[kInputs] = {table.stretch[prior_local >> 4], table.stretch[pg >> 4], table.stretch[pn >> 4],
                                     table.stretch[pe >> 4]};
        Weights& weights = weights_[class_ * kNodes + node];
        int64_t sum = 0;
        for (int i = 0; i < kInputs; ++i) sum += static_cast<int64_t>(in[i]) * weights.w[i];
        const int32_t x = static_cast<int32_t>(std::clamp<int64_t>(sum >> 16, -kStretchMax, kStretchMax));
        const uint32_t p = clip(table.squash[kStretchMax + x]);
        bit = coder_(bit, p);
        const int32_t error = (bit ? 65535 : 0) - static_cast<int32_t>(p);
        for (int i = 0; i < kInputs; ++i)
            weights.w[i] += static_cast<int32_t>((static_cast<int64_t>(in[i]) * error) >> kLearningRate);
        g.bit.update(bit, kMaxObservations);
        n.bit.update(bit, kMaxObservations);
        e.bit.update(bit, kMaxObservations);
        return bit;
    }

    int32_t integer(uint32_t state, int32_t k) {
        const int64_t magnitude = std::abs(static_cast<int64_t>(k));
        const auto from = [&](int64_t j) { return threshold(trellis_, state, j); };
        const int o = octave(magnitude, from);
        if (o == 0) return 0;
        const int64_t found = mantissa(o, magnitude, from);
        const int left = (left_ > 0) - (left_ < 0), above = (above_[column_] > 0) - (above_[column_] < 0);
        neighbor_class_ = 3 * (left + 1) + above + 1;
        const int negative = decide(kSignNode, k < 0, [](const Tail&) { return kProbOne / 2; });
        return static_cast<int32_t>(negative ? -found : found);
    }

    // Codes the octave: 0 for zero, else o with 2^(o-1) <= magnitude < 2^o; decides up or down from `first_`.
    template <class From>
    int octave(int64_t magnitude, const From& from) {
        int o = first_;
        const auto edge = [](int i) { return int64_t{1} << i; };
        if (decide(o, magnitude >= edge(o), [&](const Tail& tail) { return ratio(tail(from(edge(o))), 1u << 30); })) {
            for (++o; o < kOctaves; ++o)
                if (!decide(kUp + o, magnitude >= edge(o),
                            [&](const Tail& tail) { return ratio(tail(from(edge(o))), tail(from(edge(o - 1)))); }))
                    break;
            return o;
        }
        for (; o > 0; --o)
            if (decide(kDown + o - 1, magnitude >= edge(o - 1), [&](const Tail& tail) {
                    const uint64_t above = tail(from(edge(o)));
                    return ratio(tail(from(edge(o - 1))) - above, (1u << 30) - above);
                }))
                break;
        return o;
    }

    template <class From>
    int64_t mantissa(int o, int64_t magnitude, const From& from) {
        int64_t low = int64_t{1} << (o - 1);
        int node = 1;
        for (int bits = o - 1; bits > 0; --bits) {
            if (o - 1 - bits == kMantissa) return low + coder_.raw(static_cast<uint32_t>(magnitude - low), bits);
            const int64_t half = int64_t{1} << (bits - 1);
            const int up = decide(kMantissas + (o << kMantissa) + node, magnitude >= low + half, [&](const Tail& tail) {
                const uint64_t end = tail(from(low + 2 * half));
                return ratio(tail(from(low + half)) - end, tail(from(low)) - end);
            });
            if (up) low += half;
            node = 2 * node + up;
        }
        return low;
    }

    const LevelModel model_;
    const Trellis trellis_;
    Coder coder_;
    Tail global_tail_, local_tail_;
    std::vector<Context> global_contexts_, local_contexts_, neighbor_contexts_;
    std::vector<Weights> weights_;
    std::vector<int64_t> column_sum_;
    std::vector<int32_t> above_;
    int64_t row_sum_ = 0, column_ = 0;
    int32_t left_ = 0;
    int class_ = 0, magnitude_class_ = 0, neighbor_class_ = 0, first_ = 0;
};

void check(const LevelModel& model) {
    if (model.rows < 0 || model.columns < 0) throw std::invalid_argument("negative number of rows or columns");
    if (model.shape < 0 || model.shape >= kShapes)
        throw std::invalid_argument("shape is " + std::to_string(model.shape) + "; allowed: 0 to 7");
    if (model.scale < 1 || model.scale > (1 << 26))
        throw std::invalid_argument("scale is " + std::to_string(model.scale) + "; allowed: 1 to 2**26");
    if (model.rans && model.mixed) throw std::invalid_argument("rANS contexts are not mixed");
}

void check_exponents(bool present, int64_t count, const std::vector<uint8_t>& exponent) {
    if (static_cast<int64_t>(exponent.size()) != (present ? count : 0))
        throw std::invalid_argument(std::to_string(exponent.size()) + " step exponents for " +
                                    std::to_string(present ? count : 0) + " rows or columns");
    for (const uint8_t e : exponent)
        if (e > kMaxExponent)
            throw std::invalid_argument("step exponent " + std::to_string(e) + " is not in 0 to 31");
}

}  // namespace

Trellis::Trellis(int log_states_) : log_states(log_states_) {
    if (log_states < 0 || log_states == 1 || log_states > 8)
        throw std::invalid_argument("log_states is " + std::to_string(log_states) + "; allowed: 0, 2 to 8");
    feedback = kCodes[log_states][0] >> 1;
    input = kCodes[log_states][1] >> 1;
}

void check_model(const LevelModel& model, const LevelData* exponents) {
    check(model);
    if (!exponents) return;
    check_exponents(model.row_steps, model.rows, exponents->row);
    check_exponents(model.column_steps, model.columns, exponents->column);
}

std::string encode_levels(const LevelModel& model, const LevelData& integers) {
    check_model(model, &integers);
    if (static_cast<int64_t>(integers.k.size()) != model.rows * model.columns)
        throw std::invalid_argument("integers and shape differ in size");
    for (const int32_t k : integers.k)
        if (std::abs(static_cast<int64_t>(k)) > kMaxLevel)
            throw std::invalid_argument("level " + std::to_string(k) + " is not in +-(2**20 - 1)");
    if (model.rans) return encode_levels_rans(model, integers);
    RangeEncoder coder;
    LevelData copy = integers;
    LevelCoder<Encode>(model, Encode{coder}).run(copy, false);
    return coder.finish();
}

LevelData decode_levels(const LevelModel& model, const uint8_t* data, int64_t size) {
    check(model);
    if (model.rans) return decode_levels_rans(model, data, size);
    RangeDecoder coder(data, size);
    LevelData values;
    LevelCoder<Decode>(model, Decode{coder}).run(values, true);
    coder.finish();
    return values;
}

void level_values(int log_states, const int32_t* k, int64_t count, int32_t* values) {
    const Trellis trellis(log_states);
    uint32_t state = 0;
    for (int64_t i = 0; i < count; ++i) {
        values[i] = trellis.value(state, k[i]);
        if (log_states) state = trellis.next(state, k[i] & 1);
    }
}

std::vector<double> level_costs(const LevelModel& model, int64_t count) {
    check(model);
    const Trellis trellis(model.log_states);
    const Tail tail(model.shape, 4 * static_cast<int64_t>(model.scale));
    std::vector<double> bits(2 * count);
    for (uint32_t q = 0; q < 2; ++q)
        for (int64_t j = 0; j < count; ++j) {
            const double above = j == 0 ? 1u << 30 : tail(threshold(trellis, q, j));
            const double p = (above - tail(threshold(trellis, q, j + 1))) / (1u << 30);
            bits[q * count + j] = (j > 0) - std::log2(std::max(p, 1e-9 / (1.0 + static_cast<double>(j))));
        }
    return bits;
}

}  // namespace coinr
