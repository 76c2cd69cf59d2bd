// Fast Walsh-Hadamard transforms of 16 float or 32 short lanes side by side, once per instruction set; see
// kernels_body.hpp.

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
COINR_INLINE void scatter(const FwhtTask& t) {
    for (int64_t i = 0; i < t.n; i += 32) {
        u32x16 word = load<u32x16>(t.signs + i / 2);
        const int64_t stop = t.n - i < 32 ? t.n - i : 32;
        for (int64_t bit = 0; bit < stop; ++bit, word >>= 1) {
            const u32x16 value = (u32x16)repeat<LV>(t.residuals + (i + bit) * LV) ^ (word << 31);
            store(t.x + static_cast<int64_t>(t.rows[i + bit]) * 16, value);
        }
    }
}

// What transforms of floats and of shorts differ in.
struct Floats {
    using Vector = f32x16;
    using Value = float;
    using Task = FwhtTask;

    // Magnitudes of floats order like their bit patterns without the sign.
    using Magnitude = i32x16;
    COINR_INLINE static Magnitude magnitude(Vector v) { return (i32x16)v & 0x7FFFFFFF; }
    COINR_INLINE static Magnitude limit(const Task& t) { return (i32x16)load<f32x16>(t.threshold); }

    // One bit for every lane that reaches its limit.
    COINR_INLINE static uint32_t reaching(Magnitude v, Magnitude limit) {
#if COINR_LEVEL == 2
        return _mm512_cmpge_epi32_mask((__m512i)v, (__m512i)limit);
#else
        const i32x16 below = v < limit;
        uint32_t which = 0;
        for (int k = 0; k < 16; ++k) which |= static_cast<uint32_t>(below[k] == 0) << k;
        return which;
#endif
    }
};

struct Shorts {
    using Vector = i16x32;
    using Value = int16_t;
    using Task = FwhtShortTask;
    using Magnitude = i16x32;

    COINR_INLINE static Magnitude magnitude(Vector v) {
#if COINR_LEVEL == 2
        return (i16x32)_mm512_abs_epi16((__m512i)v);
#else
        return v > -v ? v : -v;
#endif
    }
    COINR_INLINE static Magnitude limit(const Task& t) { return load<i16x32>(t.threshold); }
    COINR_INLINE static uint32_t reaching(Magnitude v, Magnitude limit) {
#if COINR_LEVEL == 2
        return _mm512_cmpge_epi16_mask((__m512i)v, (__m512i)limit);
#else
        const i16x32 below = v < limit;
        uint32_t which = 0;
        for (int k = 0; k < 32; ++k) which |= static_cast<uint32_t>(below[k] == 0) << k;
        return which;
#endif
    }
};

// One butterfly over `Radix` vectors.
template <class V, int Radix>
COINR_INLINE void butterfly(V v[Radix]) {
#pragma GCC unroll 4
    for (int half = 1; half < Radix; half *= 2)
#pragma GCC unroll 8
        for (int i = 0; i < Radix; ++i)
            if (!(i & half)) {
                const V a = v[i], b = v[i + half];
                v[i] = a + b;
                v[i + half] = a - b;
            }
}

// Butterflies over vectors `stride` apart, read by `from(index)`.
template <class L, int Radix, class From>
COINR_INLINE void stage(typename L::Value* x, int64_t length, int64_t stride, const From& from) {
    using V = typename L::Vector;
    constexpr int64_t lanes = sizeof(V) / sizeof(typename L::Value);
    for (int64_t base = 0; base < length; base += Radix * stride)
        for (int64_t i = base; i < base + stride; ++i) {
            V v[Radix];
#pragma GCC unroll 8
            for (int k = 0; k < Radix; ++k) v[k] = from(i + k * stride);
            butterfly<V, Radix>(v);
#pragma GCC unroll 8
            for (int k = 0; k < Radix; ++k) store(x + (i + k * stride) * lanes, v[k]);
        }
}

// The last stage (stride 1): results are compared and never stored.
template <class L, int Radix, class From>
COINR_INLINE void last_stage(int64_t length, int64_t column, const typename L::Task& t, const From& from) {
    using V = typename L::Vector;
    constexpr int64_t lanes = sizeof(V) / sizeof(typename L::Value);
    for (int64_t i = 0; i < length; i += Radix) {
        V v[Radix];
#pragma GCC unroll 8
        for (int k = 0; k < Radix; ++k) v[k] = from(i + k);
        butterfly<V, Radix>(v);
        typename L::Magnitude largest = L::magnitude(v[0]);
#pragma GCC unroll 8
        for (int k = 1; k < Radix; ++k) {
            const typename L::Magnitude m = L::magnitude(v[k]);
            largest = m > largest ? m : largest;
        }
        if (!L::reaching(largest, L::limit(t))) continue;
        typename L::Value values[Radix * lanes];
        for (int k = 0; k < Radix; ++k) store(values + lanes * k, v[k]);
        for (int k = 0; k < Radix; ++k)
            if (const uint32_t which = L::reaching(L::magnitude(v[k]), L::limit(t)))
                t.hit(t.context, column + i + k, which, values + lanes * k);
    }
}

// Transform of [length] vectors that `from` reads, x being scratch: wide strides first, then pieces that stay in the
// first-level cache.
template <class L, class From>
COINR_INLINE void transform_from(typename L::Value* x, int64_t length, int64_t column, const typename L::Task& t,
                                 const From& from);

template <class L>
void transform(typename L::Value* x, int64_t length, int64_t column, const typename L::Task& t) {
    constexpr int64_t lanes = sizeof(typename L::Vector) / sizeof(typename L::Value);
    transform_from<L>(x, length, column, t, [x](int64_t i) { return load<typename L::Vector>(x + i * lanes); });
}

template <class L, class From>
COINR_INLINE void transform_from(typename L::Value* x, int64_t length, int64_t column, const typename L::Task& t,
                                 const From& from) {
    constexpr int64_t lanes = sizeof(typename L::Vector) / sizeof(typename L::Value);
    switch (length) {
        case 1: return last_stage<L, 1>(length, column, t, from);
        case 2: return last_stage<L, 2>(length, column, t, from);
        case 4: return last_stage<L, 4>(length, column, t, from);
        case 8: return last_stage<L, 8>(length, column, t, from);
        default: break;
    }
    int64_t stride = length;
    if (length > 256 || length % 64 == 0) {
        stride /= 8;
        stage<L, 8>(x, length, stride, from);
    } else if (length % 32 == 0) {
        stride /= 4;
        stage<L, 4>(x, length, stride, from);
    } else {
        stride /= 2;
        stage<L, 2>(x, length, stride, from);
    }
    const auto staged = [x](int64_t i) { return load<typename L::Vector>(x + i * lanes); };
    if (stride == 8) return last_stage<L, 8>(length, column, t, staged);
    for (int64_t piece = 0; piece < length; piece += stride) transform<L>(x + piece * lanes, stride, column + piece, t);
}

#if COINR_LEVEL == 2
// Lanes of a and b in turn.
COINR_INLINE void zip(f32x16 a, f32x16 b, f32x16* low, f32x16* high) {
    *low = __builtin_shuffle(a, b, i32x16{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23});
    *high = __builtin_shuffle(a, b, i32x16{8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31});
}

// Sequences of `Length` vectors, each V / Length residuals apart from the next it is zipped with, to one of all V.
template <int V, int Length>
COINR_INLINE void zip_all(const f32x16 a[V], float* to) {
    if constexpr (Length == V) {
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) store(to + 16 * v, a[v]);
    } else {
        constexpr int half = V / 2;
        f32x16 b[V];
#pragma GCC unroll 8
        for (int k = 0; k < half; ++k) zip(a[k], a[k + half], b + 2 * k, b + 2 * k + 1);
        zip_all<V, 2 * Length>(b, to);
    }
}

// Sixteen entries of V residuals at a time; returns how many entries are done.
template <int V>
COINR_INLINE int64_t interleave_vectors(const float* const* from, int64_t n, float* to) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        f32x16 a[V];
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) a[v] = load<f32x16>(from[v] + i);
        zip_all<V, 1>(a, to + i * V);
    }
    return i;
}
#endif

void interleave(const float* const* from, int vectors, int64_t n, float* to) {
    int64_t i = 0;
#if COINR_LEVEL == 2
    if (vectors == 2) i = interleave_vectors<2>(from, n, to);
    if (vectors == 4) i = interleave_vectors<4>(from, n, to);
    if (vectors == 8) i = interleave_vectors<8>(from, n, to);
    if (vectors == 16) i = interleave_vectors<16>(from, n, to);
#endif
    for (; i < n; ++i)
        for (int v = 0; v < vectors; ++v) to[i * vectors + v] = from[v][i];
}

void fwht(const FwhtTask& t) {
    if (t.n < t.order) __builtin_memset(t.x, 0, static_cast<uint64_t>(t.order) * 64);
    switch (t.vectors) {
        case 1: scatter<1>(t); break;
        case 2: scatter<2>(t); break;
        case 4: scatter<4>(t); break;
        case 8: scatter<8>(t); break;
        default: scatter<16>(t); break;
    }
    transform<Floats>(t.x, t.order, 0, t);
}

void fwht_short(const FwhtShortTask& t) {
    const auto signed_entry = [&t](int64_t i) {
        const i16x32 flip = i16x32{} + t.flips[i];
        return (load<i16x32>(t.residuals + 32 * i) ^ flip) - flip;
    };
    if (t.n == t.order) {  // every row is used, in order
        transform_from<Shorts>(t.x, t.order, 0, t, signed_entry);
        return;
    }
    __builtin_memset(t.x, 0, static_cast<uint64_t>(t.order) * 64);
    for (int64_t i = 0; i < t.n; ++i) store(t.x + 32 * static_cast<int64_t>(t.rows[i]), signed_entry(i));
    transform<Shorts>(t.x, t.order, 0, t);
}

void flips(const uint32_t* words, int64_t n, int16_t* out) {
    for (int64_t i = 0; i < n; i += 32) {
#if COINR_LEVEL == 2
        _mm512_storeu_si512(out + i, _mm512_movm_epi16(words[i / 32]));
#else
        for (int bit = 0; bit < 32; ++bit) out[i + bit] = static_cast<int16_t>(-(words[i / 32] >> bit & 1));
#endif
    }
}

// Two rounded residuals, low and high halves of 32-bit lanes; adds up their rounding errors and squares.
COINR_INLINE u32x16 short_pair(const float* a, const float* b, float scale_a, float scale_b, f32x16 error[2],
                               f32x16 size[2]) {
    const float magic = 12582912.0f;  // see quantise
    const float* const from[2] = {a, b};
    const float scale[2] = {scale_a, scale_b};
    u32x16 bits[2];
    for (int k = 0; k < 2; ++k) {
        const f32x16 x = load<f32x16>(from[k]) * scale[k];
        bits[k] = (u32x16)(x + magic);
        const f32x16 q = (f32x16)bits[k] - magic;
        error[k] += (x - q) * (x - q);
        size[k] += q * q;
    }
    return (bits[0] & 0xFFFFu) | bits[1] << 16;
}

// Rows of 16 pairs to 16 lanes of one entry each.
COINR_INLINE void transpose_pairs(const uint32_t* rows, int64_t stride, int16_t* out) {
#if COINR_LEVEL == 2
    __m512i v[16], w[16];
    for (int k = 0; k < 16; ++k) v[k] = _mm512_loadu_si512(rows + k * stride);
    for (int k = 0; k < 16; k += 2) {
        w[k] = _mm512_unpacklo_epi32(v[k], v[k + 1]);
        w[k + 1] = _mm512_unpackhi_epi32(v[k], v[k + 1]);
    }
    for (int k = 0; k < 16; k += 4)
        for (int h = 0; h < 2; ++h) {
            v[k + 2 * h] = _mm512_unpacklo_epi64(w[k + h], w[k + 2 + h]);
            v[k + 2 * h + 1] = _mm512_unpackhi_epi64(w[k + h], w[k + 2 + h]);
        }
    // v[4 g + j] holds entries j, j + 4, j + 8, j + 12 of rows 4 g ..: transpose the 128-bit pieces.
    for (int j = 0; j < 4; ++j) {
        const __m512i a = _mm512_shuffle_i32x4(v[j], v[4 + j], 0x88), b = _mm512_shuffle_i32x4(v[j], v[4 + j], 0xDD);
        const __m512i c = _mm512_shuffle_i32x4(v[8 + j], v[12 + j], 0x88);
        const __m512i d = _mm512_shuffle_i32x4(v[8 + j], v[12 + j], 0xDD);
        _mm512_storeu_si512(out + 32 * j, _mm512_shuffle_i32x4(a, c, 0x88));
        _mm512_storeu_si512(out + 32 * (j + 4), _mm512_shuffle_i32x4(b, d, 0x88));
        _mm512_storeu_si512(out + 32 * (j + 8), _mm512_shuffle_i32x4(a, c, 0xDD));
        _mm512_storeu_si512(out + 32 * (j + 12), _mm512_shuffle_i32x4(b, d, 0xDD));
    }
#else
    for (int k = 0; k < 16; ++k)
        for (int e = 0; e < 16; ++e) __builtin_memcpy(out + 32 * e + 2 * k, rows + k * stride + e, 4);
#endif
}

void short_lanes(const float* const residuals[32], int64_t n, int16_t* out, double error[32], double size[32]) {
    constexpr int64_t kPiece = 256;
    float scale[32];
    f32x16 errors[32] = {}, sizes[32] = {};
    for (int v = 0; v < 32; ++v) {
        f32x16 total = {};
        for (int64_t i = 0; i < n; i += 16) total += (f32x16)((i32x16)load<f32x16>(residuals[v] + i) & 0x7FFFFFFF);
        float sum = 0;
        for (int k = 0; k < 16; ++k) sum += total[k];
        scale[v] = sum > 0 ? (32760.0f - 0.5f * static_cast<float>(n)) / sum : 0.0f;
    }
    uint32_t pairs[16 * kPiece];
    for (int64_t begin = 0; begin < n; begin += kPiece) {
        const int64_t stop = n - begin < kPiece ? n - begin : kPiece;
        for (int p = 0; p < 16; ++p)
            for (int64_t i = 0; i < stop; i += 16)
                store(pairs + p * kPiece + i,
                      short_pair(residuals[2 * p] + begin + i, residuals[2 * p + 1] + begin + i, scale[2 * p],
                                 scale[2 * p + 1], errors + 2 * p, sizes + 2 * p));
        for (int64_t i = 0; i < stop; i += 16) transpose_pairs(pairs + i, kPiece, out + 32 * (begin + i));
    }
    for (int v = 0; v < 32; ++v) {
        error[v] = size[v] = 0;
        for (int k = 0; k < 16; ++k) {
            error[v] += errors[v][k];
            size[v] += sizes[v][k];
        }
    }
}

}  // namespace
}  // namespace coinr
