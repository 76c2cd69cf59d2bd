// The Viterbi search of quantize/trellis.cpp, compiled once per instruction set; see kernels_body.hpp.

namespace coinr {
namespace {

constexpr int kMaxStates = 256;

COINR_INLINE int state_before(const TrellisTask& task, int state, int parity) {
    const int half = task.states / 2, upper = state >= half;
    const int moved = static_cast<int>((upper ? task.feedback : 0) ^ (parity ? task.input : 0));
    return ((state ^ moved) & (half - 1)) << 1 | upper;
}

#if COINR_LEVEL == 0
void find_survivors(const TrellisTask& task) {
    int before[2][kMaxStates];
    uint32_t ties[kMaxStates];  // whether an odd integer comes from the lower of two states
    for (int s = 0; s < task.states; ++s) {
        for (int p = 0; p < 2; ++p) before[p][s] = state_before(task, s, p);
        ties[s] = before[1][s] < before[0][s];
    }
    double *cost = task.cost, next[kMaxStates];
    uint8_t* odd = task.odd;
    for (int64_t i = 0; i < task.count; ++i) {
        double option[4], least = __builtin_inf();
        uint32_t lower = 0, zero = 0;
        task.choose_options(task.context, i, option, 0, &lower, &zero);
        task.options[i] = static_cast<uint8_t>(lower | zero << 4);
        for (int first = 0; first < task.states; first += 8, ++odd) {
            uint32_t bits = 0;
            for (int s = first; s < first + 8 && s < task.states; ++s) {
                const double* of_half = option + (s < task.states / 2 ? 0 : 2);
                const double a = cost[before[0][s]] + of_half[0], b = cost[before[1][s]] + of_half[1];
                bits |= ((b < a) | ((b == a) & ties[s])) << (s - first);
                next[s] = b < a ? b : a;
                least = next[s] < least ? next[s] : least;
            }
            *odd = static_cast<uint8_t>(bits);
        }
        for (int s = 0; s < task.states; ++s) cost[s] = next[s] - least;
    }
}
#else

// A register of doubles, and a choice of its lanes.
#if COINR_LEVEL == 2
constexpr int kLanes = 8;
typedef __m512d Reals;
typedef __mmask8 Chosen;
#else
constexpr int kLanes = 4;
typedef __m256d Reals;
typedef __m256d Chosen;
#endif
constexpr int kTargets = kLanes / 4;  // targets whose four options fill a register

#if COINR_LEVEL == 2
COINR_INLINE Reals splat(double x) { return _mm512_set1_pd(x); }
COINR_INLINE Chosen less(Reals a, Reals b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
COINR_INLINE Chosen equal(Reals a, Reals b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
COINR_INLINE Chosen either(Chosen a, Chosen b) { return a | b; }
COINR_INLINE Chosen all(Chosen a, Chosen b) { return a & b; }
COINR_INLINE Reals select(Chosen lanes, Reals yes, Reals no) { return _mm512_mask_blend_pd(lanes, no, yes); }
COINR_INLINE uint32_t bits_of(Chosen lanes) { return lanes; }
COINR_INLINE Reals smaller(Reals a, Reals b) { return _mm512_min_pd(a, b); }
COINR_INLINE Reals truncate(Reals v) { return _mm512_roundscale_pd(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }
COINR_INLINE Reals gather(const double* from, Reals index) {
    return _mm512_i64gather_pd(_mm512_cvttpd_epi64(index), from, 8);
}
// Returns from[index] for indices below 2 * kLanes.
COINR_INLINE Reals permute(const double* from, __m512i index) {
    return _mm512_permutex2var_pd(_mm512_load_pd(from), index, _mm512_load_pd(from + 8));
}
COINR_INLINE Reals least(Reals x) {
    const Reals y = _mm512_min_pd(x, _mm512_shuffle_f64x2(x, x, 0x4E));
    const Reals z = _mm512_min_pd(y, _mm512_shuffle_f64x2(y, y, 0xB1));
    return _mm512_min_pd(z, _mm512_permute_pd(z, 0x55));
}
typedef __m512i Places;
COINR_INLINE Places load_places(const int64_t* index) { return _mm512_load_si512(index); }
COINR_INLINE Reals load_reals(const double* p) { return _mm512_load_pd(p); }
COINR_INLINE void store_reals(double* p, Reals v) { _mm512_store_pd(p, v); }
COINR_INLINE Reals join(__m256d first, __m256d second) {
    return _mm512_insertf64x4(_mm512_castpd256_pd512(first), second, 1);
}
#else
COINR_INLINE Reals splat(double x) { return _mm256_set1_pd(x); }
COINR_INLINE Chosen less(Reals a, Reals b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
COINR_INLINE Chosen equal(Reals a, Reals b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
COINR_INLINE Chosen either(Chosen a, Chosen b) { return _mm256_or_pd(a, b); }
COINR_INLINE Chosen all(Chosen a, Chosen b) { return _mm256_and_pd(a, b); }
COINR_INLINE Reals select(Chosen lanes, Reals yes, Reals no) { return _mm256_blendv_pd(no, yes, lanes); }
COINR_INLINE uint32_t bits_of(Chosen lanes) { return static_cast<uint32_t>(_mm256_movemask_pd(lanes)); }
COINR_INLINE Reals smaller(Reals a, Reals b) { return _mm256_min_pd(a, b); }
COINR_INLINE Reals truncate(Reals v) { return _mm256_round_pd(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }
COINR_INLINE Reals gather(const double* from, Reals index) {
    return _mm256_set_pd(from[static_cast<int64_t>(index[3])], from[static_cast<int64_t>(index[2])],
                         from[static_cast<int64_t>(index[1])], from[static_cast<int64_t>(index[0])]);
}
COINR_INLINE Reals permute(const double* from, const int64_t* index) {
    return _mm256_set_pd(from[index[3]], from[index[2]], from[index[1]], from[index[0]]);
}
COINR_INLINE Reals least(Reals x) {
    const Reals y = _mm256_min_pd(x, _mm256_permute2f128_pd(x, x, 1));
    return _mm256_min_pd(y, _mm256_permute_pd(y, 5));
}
typedef const int64_t* Places;
COINR_INLINE Places load_places(const int64_t* index) { return index; }
COINR_INLINE Reals load_reals(const double* p) { return _mm256_load_pd(p); }
COINR_INLINE void store_reals(double* p, Reals v) { _mm256_store_pd(p, v); }
COINR_INLINE Reals join(__m256d first, __m256d) { return first; }
#endif

// RdCost::best of targets `at` for each quantizer and parity, four lanes a target: sets the costs, the lanes whose
// integer is two below the nearest, and those whose integer is zero instead of a larger one.
COINR_INLINE void option_costs(const TrellisTask& task, const int64_t at[2], double* costs, uint32_t* lower,
                               uint32_t* zero) {
    double size[2], weight[2];
    const OptionTable* table[2];
    for (int t = 0; t < kTargets; ++t) {
        const double x = __builtin_fabs(task.x[at[t]]);
        size[t] = x < task.largest ? x : task.largest;
        weight[t] = task.weight[at[t] * task.weight_stride];
        table[t] = task.tables + (task.table ? task.table[at[t]] : 0);
    }
    constexpr int second = kTargets - 1;
    const auto of_tables = [&](double (OptionTable::*field)[4]) {
        return join(_mm256_loadu_pd(table[0]->*field), _mm256_loadu_pd(table[second]->*field));
    };
    const __m256d quantizers = _mm256_set_pd(1, 1, 0, 0), parities = _mm256_set_pd(1, 0, 1, 0);
    const Reals q = join(quantizers, quantizers), parity = join(parities, parities);
    const Reals m = join(_mm256_set1_pd(size[0]), _mm256_set1_pd(size[second]));
    const Reals w = join(_mm256_set1_pd(weight[0]), _mm256_set1_pd(weight[second]));
    const Reals zeros = splat(0), first = of_tables(&OptionTable::row);
    const double entries = static_cast<double>(task.entries);
    const Reals k = 2 * truncate(((m + q) * 0.5 - parity) * 0.5 + 1.5) - 2 + parity;
    const Chosen exists = less(k, splat(entries));
    const Reals inside = select(exists, k, zeros), below = select(less(inside, splat(2)), zeros, inside - 2);
    const Reals off = m - (2 * k - select(less(zeros, k), q, zeros));
    const Reals off_below = m - (2 * below - select(less(zeros, below), q, zeros));
    const Reals cost = w * off * off + gather(task.bits, first + inside);
    const Reals cost_below = w * off_below * off_below + gather(task.bits, first + below);
    const Reals cost_zero = w * m * m + of_tables(&OptionTable::zero_bits);
    // the value two integers down, and zero, if the bits they save may outweigh their larger error
    const Chosen may_be_lower = either(less(w * (16 + 8 * off), of_tables(&OptionTable::two_down)),
                                       either(less(splat(entries - 2), k), equal(k, splat(2))));
    const Chosen may_be_zero = less(w * (m * m - off * off), of_tables(&OptionTable::to_zero));
    const Chosen is_lower = all(all(less(splat(1), k), may_be_lower), less(cost_below, cost));
    const Reals lowest = select(is_lower, cost_below, cost);
    const Chosen is_zero = all(all(less(splat(2), k), equal(parity, zeros)), all(may_be_zero, less(cost_zero, lowest)));
    store_reals(costs, select(is_zero, cost_zero, lowest));
    *lower = bits_of(is_lower);
    *zero = bits_of(is_zero);
    const uint32_t beyond = bits_of(exists) ^ ((1u << kLanes) - 1);
    for (int t = 0; t < kTargets; ++t)
        if (__builtin_expect(beyond >> (4 * t) & 15, 0))
            task.choose_options(task.context, at[t], costs + 4 * t, 4 * t, lower, zero);
}

// The states before each state, in groups of kLanes. Those by one parity are a permutation of a pair of groups.
struct Edges {
    alignas(64) int64_t from[2][2][kLanes];  // [half of the states][parity]: places in the pair
    int pair[2][kMaxStates / kLanes];        // [parity][group]: the first state of the pair
    uint32_t ties[kMaxStates / kLanes];      // lanes where an odd integer comes from the lower of two states
};

COINR_INLINE void find_edges(const TrellisTask& task, Edges* edges) {
    for (int first = 0; first < task.states; first += kLanes) {
        const int half = first > 0 && first >= task.states / 2, group = first / kLanes;
        edges->ties[group] = 0;
        for (int l = 0; l < kLanes; ++l) {
            int before[2] = {l, l};  // lanes beyond the states keep their infinite cost
            for (int p = 0; p < 2; ++p) {
                if (first + l < task.states) before[p] = state_before(task, first + l, p);
                edges->pair[p][group] = before[p] & -(2 * kLanes);
                edges->from[half][p][l] = before[p] % (2 * kLanes);
            }
            edges->ties[group] |= static_cast<uint32_t>(before[1] < before[0]) << l;
        }
    }
}

// Extends the survivors of all states by a target whose options have the given costs: sets the costs of the new
// survivors, less the least of them, and the bits of the states that an odd integer leads to.
template <int kGroups>
COINR_INLINE void extend(const Edges& edges, Chosen upper, const double option_cost[4], const double* cost,
                         double* next, uint8_t* odd) {
    constexpr int kHalves = kGroups > 1 ? 2 : 1, kInHalf = kGroups / kHalves;
    Reals lowest = splat(__builtin_inf());
    for (int h = 0; h < kHalves; ++h) {
        Reals option[2];
        for (int p = 0; p < 2; ++p)
            option[p] = kHalves > 1 ? splat(option_cost[2 * h + p])
                                    : select(upper, splat(option_cost[2 + p]), splat(option_cost[p]));
        const Places even_from = load_places(edges.from[h][0]), odd_from = load_places(edges.from[h][1]);
#pragma GCC unroll 4
        for (int g = h * kInHalf; g < (h + 1) * kInHalf; ++g) {
            const Reals a = permute(cost + edges.pair[0][g], even_from) + option[0];
            const Reals b = permute(cost + edges.pair[1][g], odd_from) + option[1];
            const uint32_t bits = bits_of(less(b, a)) | (bits_of(equal(b, a)) & edges.ties[g]);
            const int place = g * kLanes % 8;
            odd[g * kLanes / 8] = static_cast<uint8_t>((place ? odd[g * kLanes / 8] : 0) | bits << place);
            const Reals smallest = smaller(b, a);
            store_reals(next + g * kLanes, smallest);
            lowest = smaller(lowest, smallest);
        }
    }
    lowest = least(lowest);
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) store_reals(next + g * kLanes, load_reals(next + g * kLanes) - lowest);
}

template <int kGroups>
void find_survivors_in(const TrellisTask& task) {
    Edges edges{};
    find_edges(task, &edges);
    alignas(64) double lanes[kLanes], other[kGroups > 1 ? kGroups * kLanes : 2 * kLanes];
    for (int l = 0; l < kLanes; ++l) lanes[l] = l >= task.states / 2 ? 1 : 0;
    for (double& infinite : other) infinite = __builtin_inf();
    const Chosen upper = less(splat(0), load_reals(lanes));
    const int bytes = (task.states + 7) / 8;
    double *cost = task.cost, *next = other;
    for (int64_t i = 0; i < task.count; i += kTargets) {
        const int64_t at[2] = {i, i + 1 < task.count ? i + 1 : i};
        alignas(64) double costs[kLanes];
        uint32_t lower, zero;
        option_costs(task, at, costs, &lower, &zero);
        for (int t = 0; t < kTargets && i + t < task.count; ++t) {
            task.options[i + t] = static_cast<uint8_t>((lower >> (4 * t) & 15) | (zero >> (4 * t) & 15) << 4);
            extend<kGroups>(edges, upper, costs + 4 * t, cost, next, task.odd + (i + t) * bytes);
            double* const before = cost;
            cost = next;
            next = before;
        }
    }
    if (cost != task.cost)
        for (int s = 0; s < task.states; ++s) task.cost[s] = cost[s];
}

void find_survivors(const TrellisTask& task) {
    switch ((task.states + kLanes - 1) / kLanes) {
        case 1: return find_survivors_in<1>(task);
        case 2: return find_survivors_in<2>(task);
        case 4: return find_survivors_in<4>(task);
        case 8: return find_survivors_in<8>(task);
        case 16: return find_survivors_in<16>(task);
        case 32: return find_survivors_in<32>(task);
        default: return find_survivors_in<kMaxStates / kLanes>(task);
    }
}
#endif

}  // namespace
}  // namespace coinr
