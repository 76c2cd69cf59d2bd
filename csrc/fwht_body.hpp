// Fast Walsh-Hadamard transforms of 16 lanes side by side, once per instruction set; see kernels_body.hpp.

namespace coinr {
namespace {

// LV floats repeated to fill 16 lanes.
template <int LV>
COINR_INLINE f32x16 repeat(const float* p) {
#if COINR_LEVEL == 2
    if constexpr (LV == 4) return (f32x16)_mm512_broadcast_f32x4(_mm_loadu_ps(p));
    if constexpr (LV == 2) return (f32x16)_mm512_broadcastsd_pd(_mm_castps_pd(_mm_loadl_pi(_mm_setzero_ps(), (const __m64*)p)));
#endif
    if constexpr (LV == 1) {
        uint32_t bits;
        __builtin_memcpy(&bits, p, 4);
        return (f32x16)(u32x16{} + bits);
    } else {
        float lanes[16];
        for (int first = 0; first < 16; first += LV) __builtin_memcpy(lanes + first, p, 4 * LV);
        return load<f32x16>(lanes);
    }
}

// x[rows[i]] = signed residuals; bit i % 32 of sign word i / 32 (one word per lane) flips entry i.
template <int LV>
COINR_INLINE void scatter(const float* residuals, const uint32_t* signs, const uint32_t* rows, int64_t n, float* x) {
    for (int64_t i = 0; i < n; i += 32) {
        u32x16 word = load<u32x16>(signs + i / 2);
        const int64_t stop = n - i < 32 ? n - i : 32;
        for (int64_t bit = 0; bit < stop; ++bit, word >>= 1) {
            const u32x16 value = (u32x16)repeat<LV>(residuals + (i + bit) * LV) ^ (word << 31);
            store(x + static_cast<int64_t>(rows[i + bit]) * 16, value);
        }
    }
}

// One butterfly over `Radix` vectors, `stride` floats apart.
template <int Radix>
COINR_INLINE void butterfly(f32x16 v[Radix]) {
#pragma GCC unroll 4
    for (int half = 1; half < Radix; half *= 2)
#pragma GCC unroll 8
        for (int i = 0; i < Radix; ++i)
            if (!(i & half)) {
                const f32x16 a = v[i], b = v[i + half];
                v[i] = a + b;
                v[i + half] = a - b;
            }
}

template <int Radix>
COINR_INLINE void stage(float* x, int64_t length, int64_t stride) {
    for (int64_t base = 0; base < length; base += Radix * stride)
        for (int64_t i = base; i < base + stride; ++i) {
            f32x16 v[Radix];
#pragma GCC unroll 8
            for (int k = 0; k < Radix; ++k) v[k] = load<f32x16>(x + (i + k * stride) * 16);
            butterfly<Radix>(v);
#pragma GCC unroll 8
            for (int k = 0; k < Radix; ++k) store(x + (i + k * stride) * 16, v[k]);
        }
}

// Magnitudes of floats order like their bit patterns without the sign.
COINR_INLINE i32x16 magnitude(f32x16 v) { return (i32x16)v & 0x7FFFFFFF; }

COINR_INLINE bool any_at_least(i32x16 v, i32x16 limit) {
#if COINR_LEVEL == 2
    return _mm512_cmpge_epi32_mask((__m512i)v, (__m512i)limit) != 0;
#else
    const i32x16 below = v < limit;
    int32_t all = -1;
    for (int k = 0; k < 16; ++k) all &= below[k];
    return all == 0;
#endif
}

// The last stage (stride 1): results are compared and never stored.
template <int Radix>
COINR_INLINE void last_stage(const float* x, int64_t length, int64_t column, const FwhtTask& t) {
    for (int64_t i = 0; i < length; i += Radix) {
        f32x16 v[Radix];
#pragma GCC unroll 8
        for (int k = 0; k < Radix; ++k) v[k] = load<f32x16>(x + (i + k) * 16);
        butterfly<Radix>(v);
        i32x16 largest = magnitude(v[0]);
#pragma GCC unroll 8
        for (int k = 1; k < Radix; ++k) {
            const i32x16 m = magnitude(v[k]);
            largest = m > largest ? m : largest;
        }
        if (!any_at_least(largest, (i32x16)load<f32x16>(t.threshold))) continue;
        float values[Radix * 16];
        for (int k = 0; k < Radix; ++k) store(values + 16 * k, v[k]);
        for (int k = 0; k < Radix; ++k)
            if (any_at_least(magnitude(v[k]), (i32x16)load<f32x16>(t.threshold)))
                t.hit(t.context, column + i + k, values + 16 * k);
    }
}

// Transform of [length][16]: wide strides first, then pieces that stay in the first-level cache.
void transform(float* x, int64_t length, int64_t column, const FwhtTask& t) {
    int64_t stride = length;
    if (length > 256) {
        stride /= 8;
        stage<8>(x, length, stride);
        for (int64_t piece = 0; piece < length; piece += stride) transform(x + piece * 16, stride, column + piece, t);
        return;
    }
    while (stride > 8) {
        if (stride % 64 == 0) {
            stride /= 8;
            stage<8>(x, length, stride);
        } else if (stride % 32 == 0) {
            stride /= 4;
            stage<4>(x, length, stride);
        } else {
            stride /= 2;
            stage<2>(x, length, stride);
        }
    }
    if (stride == 8)
        last_stage<8>(x, length, column, t);
    else if (stride == 4)
        last_stage<4>(x, length, column, t);
    else if (stride == 2)
        last_stage<2>(x, length, column, t);
    else
        last_stage<1>(x, length, column, t);
}

void fwht(const FwhtTask& t) {
    if (t.n < t.order) __builtin_memset(t.x, 0, static_cast<uint64_t>(t.order) * 64);
    switch (t.vectors) {
        case 1: scatter<1>(t.residuals, t.signs, t.rows, t.n, t.x); break;
        case 2: scatter<2>(t.residuals, t.signs, t.rows, t.n, t.x); break;
        case 4: scatter<4>(t.residuals, t.signs, t.rows, t.n, t.x); break;
        case 8: scatter<8>(t.residuals, t.signs, t.rows, t.n, t.x); break;
        default: scatter<16>(t.residuals, t.signs, t.rows, t.n, t.x); break;
    }
    transform(t.x, t.order, 0, t);
}

}  // namespace
}  // namespace coinr
