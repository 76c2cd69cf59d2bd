// Vectors of floats of one instruction set, and what networks compute of them: sine and cosine, exponential.
// See kernels_body.hpp for how such files are used.

#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

namespace coinr {
namespace {

#define COINR_INLINE inline __attribute__((always_inline))

#if COINR_LEVEL == 2
constexpr int64_t kLanes = 16, kVectors = 4;
#elif COINR_LEVEL == 1
constexpr int64_t kLanes = 8, kVectors = 2;
#else
constexpr int64_t kLanes = 4, kVectors = 2;
#endif
constexpr int64_t kColumns = kLanes * kVectors;  // of a block

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef double Doubles __attribute__((vector_size(8 * kLanes)));

COINR_INLINE Floats load(const float* p) {
    Floats v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
COINR_INLINE void store(float* p, Floats v) { __builtin_memcpy(p, &v, sizeof v); }
COINR_INLINE Floats all(float x) { return x - Floats{}; }

// a b + c, rounded once where the processor can.
COINR_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
#if COINR_LEVEL == 2
    return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif COINR_LEVEL == 1
    return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

// `yes` where the mask (0 or -1) is set, else `no`.
COINR_INLINE Floats choose(Ints mask, Floats yes, Floats no) { return mask ? yes : no; }

COINR_INLINE Floats magnitude(Floats x) { return (Floats)((Ints)x & 0x7FFFFFFF); }

// The larger magnitude; `most`, which is not negative, where x is NaN.
COINR_INLINE Floats larger_magnitude(Floats x, Floats most) {
#if COINR_LEVEL == 2
    return (Floats)_mm512_range_ps((__m512)x, (__m512)most, 0b1011);
#elif COINR_LEVEL == 1
    return (Floats)_mm256_max_ps((__m256)magnitude(x), (__m256)most);
#else
    return choose(magnitude(x) > most, magnitude(x), most);
#endif
}

constexpr float kRound = 12582912;  // 1.5 * 2^23: adding it rounds to an integer, which the lowest bits then hold

// Sines and cosines beyond this are computed in double precision, one by one.
constexpr float kFarthest = 65536;

// Returns whether one of the numbers is farther, or NaN.
COINR_INLINE bool any_far(Floats x) {
#if COINR_LEVEL == 2
    return _mm512_cmp_ps_mask((__m512)magnitude(x), _mm512_set1_ps(kFarthest), _CMP_NLE_UQ) != 0;
#elif COINR_LEVEL == 1
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)magnitude(x), _mm256_set1_ps(kFarthest), _CMP_NLE_UQ)) != 0;
#else
    const Ints far = ~(magnitude(x) <= kFarthest);
    return (far[0] | far[1] | far[2] | far[3]) != 0;
#endif
}

__attribute__((noinline, cold)) void far_sines(const float* x, float* sine, float* cosine) {
    for (int i = 0; i < kLanes; ++i) {
        if (__builtin_fabsf(x[i]) <= kFarthest) continue;  // NaN goes on
        sine[i] = static_cast<float>(__builtin_sin(static_cast<double>(x[i])));
        cosine[i] = static_cast<float>(__builtin_cos(static_cast<double>(x[i])));
    }
}

// Sets r = x - n pi for the nearest integer n; returns the sign bit of (-1)^n.
COINR_INLINE Ints reduce(Floats x, Floats& r) {
    const Floats shifted = multiply_add(x, all(0.318309886f), all(kRound));
#if COINR_LEVEL > 0
    // The first difference is exact: it is a multiple of 2^-22 (or of a bit of x) below 2.
    const Floats n = all(kRound) - shifted;
    r = multiply_add(n, all(3.1415927410125732f), x);
    r = multiply_add(n, all(-8.742277657347586e-08f), r);
    r = multiply_add(n, all(-3.4302490200117637e-15f), r);
#else
    // The first part of pi has 33 bits, so its product is exact.
    const Doubles n = __builtin_convertvector(shifted - kRound, Doubles);
    const Doubles wide = __builtin_convertvector(x, Doubles);
    r = __builtin_convertvector((wide - n * 3.14159265346825122834) - n * 1.21542010130123844986e-10, Floats);
#endif
    return (Ints)shifted << 31;
}

// p r^3 + r
COINR_INLINE Floats last_step(Floats p, Floats r) {
#if COINR_LEVEL > 0
    return multiply_add(p, r * r * r, r);
#else
    const Doubles wide = __builtin_convertvector(r, Doubles);
    return __builtin_convertvector(__builtin_convertvector(p, Doubles) * wide * wide * wide + wide, Floats);
#endif
}

// Of magnitudes up to kFarthest, and NaN. Errors: sine at most 2 units in the last place, cosine 1.5e-7.
template <bool with_cosine>
COINR_INLINE void near_sines(Floats x, Floats& sine, Floats& cosine) {
    Floats r;
    const Ints sign = reduce(x, r);
    const Floats square = r * r;
    Floats p = all(2.600169559945006e-06f);
    p = multiply_add(p, square, all(-0.0001980715816260628f));
    p = multiply_add(p, square, all(0.008333034436855253f));
    p = multiply_add(p, square, all(-0.16666658387848643f));
    sine = (Floats)((Ints)last_step(p, r) ^ sign);
    if (with_cosine) {
        Floats q = all(2.3194384993985295e-05f);
        q = multiply_add(q, square, all(-0.001385592739097774f));
        q = multiply_add(q, square, all(0.041663989424705505f));
        q = multiply_add(q, square, all(-0.4999993145465851f));
        q = multiply_add(q, square, all(1.0f));
        cosine = (Floats)((Ints)q ^ sign);
    }
}

// As near_sines, of all numbers.
template <bool with_cosine>
COINR_INLINE void sines(Floats x, Floats& sine, Floats& cosine) {
    near_sines<with_cosine>(x, sine, cosine);
    if (__builtin_expect(any_far(x), 0)) {
        float in[kLanes], s[kLanes], c[kLanes];
        store(in, x);
        store(s, sine);
        if (with_cosine) store(c, cosine);
        far_sines(in, s, c);
        sine = load(s);
        if (with_cosine) cosine = load(c);
    }
}

// e^x with a relative error below 2^-22; the ends of the range give 0 and infinity.
COINR_INLINE Floats exponential(Floats x) {
    x = choose(x < -110.0f, all(-110.0f), x);  // NaN stays
    x = choose(x > 100.0f, all(100.0f), x);
    const Floats shifted = multiply_add(x, all(1.44269504f), all(kRound));
    const Floats n = shifted - kRound;
    Floats r = multiply_add(n, all(-0.693145751953125f), x);
    r = multiply_add(n, all(-1.4286068203094173e-06f), r);
    Floats p = all(0.0013813159690100642f);
    p = multiply_add(p, r, all(0.008369411545327526f));
    p = multiply_add(p, r, all(0.04166845606793554f));
    p = multiply_add(p, r, all(0.1666651485210846f));
    p = multiply_add(p, r, all(0.49999993054878766f));
    p = multiply_add(p, r * r, r) + 1.0f;
    // Two factors, as 2^n may be too large or too small for one.
    const Ints whole = (Ints)shifted - (Ints)all(kRound), half = whole >> 1;
    p *= (Floats)((half + 127) << 23);
    return p * (Floats)((whole - half + 127) << 23);
}

}  // namespace
}  // namespace coinr
