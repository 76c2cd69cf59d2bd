#include "entropy/levels_binary.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "entropy/mixing.hpp"
#include "entropy/prior.hpp"
#include "entropy/rangecoder.hpp"

namespace coinr {
namespace {

// All that is done for a decision is inlined into the loop over a row, so that the coder's state stays in registers.
#define COINR_INLINE inline __attribute__((always_inline))

constexpr int kOctaves = 20;
constexpr int kMantissa = 3;              // leading mantissa bits that are modeled
constexpr int kMagnitudeClasses = 8;      // of the expected magnitude
constexpr int kNeighborClasses = 9;
constexpr int kInputs = 4;                // predictions that are mixed
constexpr int kMaxObservations = 1000;    // the count of a context stops here, so that old bits fade
constexpr int kPriorObservations = 48;    // weight of a context's prior
constexpr int kRarely = 64;               // of so many distances of ascending levels, one is expected to be negative
constexpr int kPriorValues = 4;           // weight of the prior of a row's or column's magnitude
constexpr int64_t kPlaces = 1024;         // columns for which a reciprocal is kept
constexpr int kLearningRate = 14;         // the mixer learns by error * input / 2^14
constexpr int64_t kMaxMagnitude = int64_t{1} << 36;

// Nodes of the binarization: the first decision, octaves above it, octaves below it, leading mantissa bits, sign.
constexpr int kUp = kOctaves, kDown = 2 * kOctaves, kMantissas = 3 * kOctaves;
constexpr int kSignNode = kMantissas + ((kOctaves + 1) << kMantissa);
constexpr int kNodes = kSignNode + 1;

// What an observation does to a context of c observations: the step of its mean, and 2^16 while c still grows.
struct Learning {
    uint32_t by_count[kMaxObservations + 1];
    constexpr Learning() : by_count() {
        for (uint32_t c = 0; c <= kMaxObservations; ++c)
            by_count[c] = static_cast<uint32_t>(kSteps.step[c]) | (c < kMaxObservations ? 1u << 16 : 0);
    }
};
constexpr Learning kLearning;

// An AdaptiveBit in one word: the probability, and the number of observations above it. It is zero until it is seen.
struct Context {
    uint32_t word;

    bool unseen() const { return word == 0; }
    void start(uint32_t p) { word = p | kPriorObservations << 16; }
    uint32_t p() const { return word & 0xFFFF; }
    COINR_INLINE void learn(int64_t target) {
        const uint32_t learning = kLearning.by_count[word >> 16];
        const int64_t step = learning & 0xFFFF;
        word += static_cast<uint32_t>(((target - p()) * step) >> 16) + (learning & 0x10000);
    }
};

// What a decision learns: the weights of its predictions, and contexts by class.
struct Node {
    int32_t weights[kInputs];
    Context global, local[kMagnitudeClasses], neighbor[kNeighborClasses];
    int32_t prior;   // the stretched prior, where it is the same for all elements
    int32_t unused;  // for a size of 96
};
constexpr int32_t kFirstWeights[kInputs] = {49152, 8192, 8192, 0};

// Of an integer, what classes of its neighbors depend on: min(|k|, 2), and its sign plus 1.
struct Near {
    uint8_t magnitude = 0, sign = 1;
};

// The tables of mixing.hpp for probabilities that are clipped: by p / 16, and to p.
struct ClippedLogistic {
    int16_t stretch[4096];
    uint16_t squash[2 * kStretchMax + 1];

    ClippedLogistic() {
        const Logistic& table = logistic();
        for (uint32_t i = 0; i < 4096; ++i) stretch[i] = table.stretch[clip(16 * i) >> 4];
        for (int x = 0; x <= 2 * kStretchMax; ++x) squash[x] = static_cast<uint16_t>(clip(table.squash[x]));
    }
};

const ClippedLogistic& clipped_logistic() {
    static const ClippedLogistic table;
    return table;
}

// Divides by the same number, at least 2, again and again.
struct Divisor {
    uint64_t by, inverse;  // 2^64 / by, rounded up

    explicit Divisor(uint64_t divisor) : by(divisor), inverse(UINT64_MAX / divisor + 1) {}

    // Returns floor(a / by): exact by the product where a * by < 2^64.
    COINR_INLINE uint64_t operator()(uint64_t a) const {
        if (__builtin_expect((a | by) >> 32, 0)) return a / by;
        return static_cast<uint64_t>((static_cast<unsigned __int128>(a) * inverse) >> 64);
    }
};

// Returns the probability part : whole, both at most 2^30.
COINR_INLINE uint32_t ratio(uint32_t part, uint32_t whole) {
    if (whole == 0) return kProbOne / 2;
    return clip(static_cast<int64_t>((static_cast<uint64_t>(part) << kProbBits) / whole));
}

// Codes integers with models of which two kinds never change within a tensor: whether predictions are mixed, and
// whether the expected magnitude adapts to rows, columns or their steps.
template <class Coder, bool kMixed, bool kAdapting>
class BinaryLevels {
public:
    explicit BinaryLevels(const LevelModel& model)
        : model_(model), trellis_(model.log_states), table_(clipped_logistic()), scale_(int64_t{4} * model.scale),
          nodes_((model.log_states ? 2 : 1) * kNodes), column_sum_(model.by_column && model.rows > 1 ? model.columns : 0),
          above_(model.rows > 1 ? model.columns : 0), mean_(scale_), negative_(kProbOne / (model.ascending ? kRarely : 2)) {
        if (model.by_row)
            for (int64_t c = 0; c < std::min(model.columns, kPlaces); ++c) place_.emplace_back(kPriorValues + c);
    }

    // Codes exponents and integers: reads them from `data` or, when decoding, writes exponents and values to it.
    void run(Coder& coder, LevelData& data) {
        exponents(coder, model_.row_steps, model_.rows, data.row);
        exponents(coder, model_.column_steps, model_.columns, data.column);
        if (Coder::kDecoding) data.k.resize(model_.rows * model_.columns);
        uint32_t state = 0;
        for (int64_t r = 0; r < model_.rows; ++r) state = row(coder, data, r, state);
    }

private:
    // Whether each decision needs its probability by the tail of the element.
    static constexpr bool kUsesOwn = kMixed && kAdapting;

    // What the decisions of an element depend on.
    struct Element {
        Node* nodes;
        uint32_t state;
        Tail tail;                // of the expected magnitude
        int64_t factor;           // of its step, in 1/128
        int magnitude_class, neighbor_class, sign_class;
        int first;                // octave of the first decision
    };

    void exponents(Coder& coder, bool present, int64_t count, std::vector<uint8_t>& exponent) {
        if (!present) return;
        exponent.resize(count);
        AdaptiveBit tree[kMaxExponent + 1];
        for (uint8_t& e : exponent) {
            int node = 1;
            for (int i = 4; i >= 0; --i) {
                AdaptiveBit& bit = tree[node];
                const int coded = coder(e >> i & 1, clip(bit.p));
                bit.update(coded, kMaxObservations);
                node = 2 * node + coded;
            }
            e = static_cast<uint8_t>(node & kMaxExponent);
        }
    }

    // Codes a row; returns the state of the trellis after it.
    uint32_t row(Coder& shared, LevelData& data, int64_t r, uint32_t state) {
        Coder coder = std::move(shared);
        Element element{nodes_.data(), 0, Tail(model_.shape, scale_), 128, 0, 0, 0, 0};
        set_expectation(element, scale_);
        const Divisor row(kPriorValues + r);
        int64_t row_sum = 0;
        Near left;
        int32_t* k = data.k.data() + r * model_.columns;
        const int row_exponent = model_.row_steps ? data.row[r] : 0;
        // what a single row leaves behind is never used
        const bool kept = !above_.empty(), summed = !column_sum_.empty();
        for (int64_t c = 0; c < model_.columns; ++c) {
            if (kAdapting) {
                element.factor = step_factor(row_exponent + (model_.column_steps ? data.column[c] : 0));
                set_expectation(element, expected(row, c, row_sum));
            }
            element.state = state;
            element.nodes = nodes_.data() + (trellis_.log_states ? state & 1 : 0) * kNodes;
            const Near above = kept ? above_[c] : Near();
            element.neighbor_class = 3 * left.magnitude + above.magnitude;
            element.sign_class = 3 * left.sign + above.sign;
            // what follows the sign does not wait for it
            const int32_t size = magnitude(coder, element, k[c]), value = trellis_.value(state, size);
            const int32_t sign = size ? sign_of(coder, element, k[c]) : 0;
            if (Coder::kDecoding) k[c] = sign * value;
            if (kAdapting) {
                const int64_t observed = std::min((value * element.factor) >> 1, kMaxMagnitude);
                row_sum += observed;
                if (summed) column_sum_[c] += observed;
            }
            left.magnitude = static_cast<uint8_t>(std::min(size, 2));
            left.sign = static_cast<uint8_t>(sign + 1);
            if (kept) above_[c] = left;
            if (trellis_.log_states) state = trellis_.next(state, size & 1);
        }
        shared = std::move(coder);
        return state;
    }

    // Returns the expected magnitude of an element from earlier values of its row and column. Magnitudes are in 1/32
    // half base step, and so is the mean of the model.
    COINR_INLINE int64_t expected(const Divisor& row, int64_t c, int64_t row_sum) const {
        int64_t s = scale_;
        if (model_.by_row) {
            const auto sum = static_cast<uint64_t>(kPriorValues * scale_ + row_sum);
            s = static_cast<int64_t>(c < kPlaces ? place_[c](sum) : sum / static_cast<uint64_t>(kPriorValues + c));
        }
        if (model_.by_column) {
            const int64_t above = column_sum_.empty() ? 0 : column_sum_[c];
            const auto column = static_cast<int64_t>(row(kPriorValues * scale_ + above));
            if (!model_.by_row) s = column;
            else if ((s | column) >> 31 == 0) s = static_cast<int64_t>(mean_(s * column));
            else
                s = static_cast<int64_t>(std::min<unsigned __int128>(
                    static_cast<unsigned __int128>(s) * column / scale_, kMaxMagnitude));
        }
        return std::clamp<int64_t>(s, 1, kMaxMagnitude);
    }

    // Returns a magnitude in 1/32 half step of an element, from one in base steps.
    static COINR_INLINE int64_t in_steps(int64_t magnitude, int64_t factor) {
        return std::clamp<int64_t>(factor == 128 ? magnitude : 128 * magnitude / factor, 8, kMaxMagnitude);
    }

    COINR_INLINE void set_expectation(Element& element, int64_t local) const {
        const int64_t s = in_steps(local, element.factor);
        element.tail.set(s);
        // classes of s over the model's mean, bounds at 1/64, 1/16, 1/4, 1/2, 3/4, 5/4, 2
        element.magnitude_class = (64 * s > scale_) + (16 * s > scale_) + (4 * s > scale_) + (2 * s > scale_) +
                                  (4 * s > 3 * scale_) + (4 * s > 5 * scale_) + (s > 2 * scale_);
        // about half of all magnitudes lie below 2^first
        const int64_t steps = s / (trellis_.log_states ? 160 : 80);
        element.first =
            steps ? std::min(64 - __builtin_clzll(static_cast<uint64_t>(steps)), kOctaves - 1) : 0;
    }

    // Codes one binary decision; `prior` returns its probability by a tail, and `own` by that of the element if
    // kUsesOwn, from tails that are known already.
    template <class Own, class Prior>
    COINR_INLINE int decide(Coder& coder, const Element& element, int at, int bit, const Own& own,
                            const Prior& prior) {
        Node& node = element.nodes[at];
        Context& local = node.local[element.magnitude_class];
        if (!kMixed) {
            if (local.unseen()) local.start(prior(element.tail));
            bit = coder(bit, clip(local.p()));
            local.learn(bit ? 65535 : 0);
            return bit;
        }
        Context &global = node.global, &neighbor = node.neighbor[element.neighbor_class];
        const uint32_t of_element = kAdapting ? own() : 0;
        if (__builtin_expect(local.unseen() || neighbor.unseen(), 0)) {
            const uint32_t p = kAdapting ? of_element : prior(element.tail);
            if (local.unseen()) local.start(p);
            if (neighbor.unseen()) neighbor.start(p);
            if (global.unseen()) {
                global.start(prior(Tail(model_.shape, in_steps(scale_, element.factor))));
                std::copy_n(kFirstWeights, kInputs, node.weights);
                node.prior = table_.stretch[p >> 4];
            }
        }
        const int32_t in[kInputs] = {kAdapting ? table_.stretch[of_element >> 4] : node.prior,
                                     table_.stretch[global.p() >> 4], table_.stretch[local.p() >> 4],
                                     table_.stretch[neighbor.p() >> 4]};
        int64_t sum = 0;
        for (int i = 0; i < kInputs; ++i) sum += static_cast<int64_t>(in[i]) * node.weights[i];
        const int64_t x = std::clamp<int64_t>(sum >> 16, -kStretchMax, kStretchMax);
        const int32_t p = table_.squash[kStretchMax + x];
        bit = coder(bit, static_cast<uint32_t>(p));
        const int32_t target = bit ? 65535 : 0;
        for (int i = 0; i < kInputs; ++i) node.weights[i] += (in[i] * (target - p)) >> kLearningRate;
        global.learn(target);
        local.learn(target);
        neighbor.learn(target);
        return bit;
    }

    COINR_INLINE int32_t magnitude(Coder& coder, const Element& element, int32_t k) {
        const int64_t size = std::abs(static_cast<int64_t>(k));
        const auto from = [&](int64_t j) { return threshold(trellis_, element.state, j); };
        const Octave found = octave(coder, element, size, from);
        return found.number ? static_cast<int32_t>(mantissa(coder, element, found, size, from)) : 0;
    }

    // Codes the sign of an integer that is not zero: 1 or -1.
    COINR_INLINE int32_t sign_of(Coder& coder, Element& element, int32_t k) {
        element.neighbor_class = element.sign_class;
        const auto first = [&](const auto&...) { return negative_; };
        return 1 - 2 * decide(coder, element, kSignNode, k < 0, first, first);
    }

    // An octave: 0 for zero, else o with 2^(o-1) <= magnitude < 2^o; the tails of the element at both bounds.
    struct Octave {
        int number;
        uint32_t low, end;
    };

    // Probabilities of decisions from tails: that a magnitude reaches a first bound; the next bound, where it has
    // reached one; the bound below, where it has not reached one; and the middle of two bounds between which it is.
    static COINR_INLINE uint32_t reaches(uint32_t first) { return clip(first >> (30 - kProbBits)); }
    static COINR_INLINE uint32_t goes_on(uint32_t next, uint32_t bound) { return ratio(next, bound); }
    static COINR_INLINE uint32_t stays(uint32_t below, uint32_t bound) {
        return ratio(below - bound, (1u << 30) - bound);
    }
    static COINR_INLINE uint32_t is_upper(uint32_t low, uint32_t middle, uint32_t end) {
        return ratio(middle - end, low - end);
    }

    // Codes the octave: decides up or down from the first.
    template <class From>
    COINR_INLINE Octave octave(Coder& coder, const Element& element, int64_t magnitude, const From& from) {
        int o = element.first;
        const auto edge = [](int i) { return int64_t{1} << i; };
        const auto at = [&](const Tail& tail, int i) { return tail(from(edge(i))); };
        const auto known = [&](int i) { return kUsesOwn ? at(element.tail, i) : 0; };
        uint32_t bound = known(o);
        if (decide(coder, element, o, magnitude >= edge(o), [&] { return reaches(bound); },
                   [&](const Tail& tail) { return reaches(at(tail, o)); })) {
            for (++o; o < kOctaves; ++o) {
                const uint32_t next = known(o);
                if (!decide(coder, element, kUp + o, magnitude >= edge(o), [&] { return goes_on(next, bound); },
                            [&](const Tail& tail) { return goes_on(at(tail, o), at(tail, o - 1)); }))
                    return {o, bound, next};
                bound = next;
            }
            return {o, bound, known(o)};
        }
        for (; o > 0; --o) {
            const uint32_t below = known(o - 1);
            if (decide(coder, element, kDown + o - 1, magnitude >= edge(o - 1), [&] { return stays(below, bound); },
                       [&](const Tail& tail) { return stays(at(tail, o - 1), at(tail, o)); }))
                return {o, below, bound};
            bound = below;
        }
        return {0, 0, 0};
    }

    template <class From>
    COINR_INLINE int64_t mantissa(Coder& coder, const Element& element, Octave octave, int64_t magnitude,
                                  const From& from) {
        int64_t low = int64_t{1} << (octave.number - 1);
        int node = 1;
        for (int bits = octave.number - 1; bits > 0; --bits) {
            if (octave.number - 1 - bits == kMantissa)
                return low + coder.raw(static_cast<uint32_t>(magnitude - low), bits);
            const int64_t half = int64_t{1} << (bits - 1);
            const uint32_t middle = kUsesOwn ? element.tail(from(low + half)) : 0;
            const int up = decide(coder, element, kMantissas + (octave.number << kMantissa) + node,
                                  magnitude >= low + half, [&] { return is_upper(octave.low, middle, octave.end); },
                                  [&](const Tail& tail) {
                                      return is_upper(tail(from(low)), tail(from(low + half)),
                                                      tail(from(low + 2 * half)));
                                  });
            if (up) {
                octave.low = middle;
                low += half;
                node = 2 * node + 1;
            } else {
                octave.end = middle;
                node = 2 * node;
            }
        }
        return low;
    }

    const LevelModel model_;
    const Trellis trellis_;
    const ClippedLogistic& table_;
    const int64_t scale_;
    std::vector<Node> nodes_;  // [classes, kNodes]
    std::vector<int64_t> column_sum_;
    std::vector<Near> above_;
    const Divisor mean_;
    const uint32_t negative_;  // the first probability that an integer is negative
    std::vector<Divisor> place_;  // by the number of values that count in a row: [min(columns, kPlaces)]
};

template <class Coder>
void run(const LevelModel& model, Coder& coder, LevelData& data) {
    const bool adapting = model.by_row || model.by_column || model.row_steps || model.column_steps;
    if (model.mixed && adapting) BinaryLevels<Coder, true, true>(model).run(coder, data);
    else if (model.mixed) BinaryLevels<Coder, true, false>(model).run(coder, data);
    else if (adapting) BinaryLevels<Coder, false, true>(model).run(coder, data);
    else BinaryLevels<Coder, false, false>(model).run(coder, data);
}

}  // namespace

std::string encode_levels_binary(const LevelModel& model, const LevelData& integers) {
    Encoding<RangeEncoder> coder;
    LevelData copy = integers;
    run(model, coder, copy);
    return coder.coder.finish();
}

LevelData decode_levels_binary(const LevelModel& model, const uint8_t* data, int64_t size) {
    Decoding<RangeDecoder> coder{RangeDecoder(data, size)};
    LevelData values;
    run(model, coder, values);
    coder.coder.finish();
    return values;
}

}  // namespace coinr
