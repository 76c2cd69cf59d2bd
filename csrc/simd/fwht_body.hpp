// Fast Walsh-Hadamard transforms of one residual, or of 32 rounded ones at once, compiled once per instruction set; see
// kernels_body.hpp.

namespace coinr {
namespace {

// Lane l of v[l ^ Half].
template <int Half>
COINR_INLINE f32x16 exchanged(f32x16 v) {
#if COINR_LEVEL == 2
    if constexpr (Half == 1) return (f32x16)_mm512_permute_ps((__m512)v, 0xB1);
    if constexpr (Half == 2) return (f32x16)_mm512_permute_ps((__m512)v, 0x4E);
    if constexpr (Half == 4) return (f32x16)_mm512_shuffle_f32x4((__m512)v, (__m512)v, 0xB1);
    return (f32x16)_mm512_shuffle_f32x4((__m512)v, (__m512)v, 0x4E);
#elif COINR_LEVEL == 1
    __m256 half[2];
    __builtin_memcpy(half, &v, 64);
    if constexpr (Half == 8) {
        const __m256 low = half[0];
        half[0] = half[1];
        half[1] = low;
    } else {
        for (__m256& h : half)
            h = Half == 4 ? _mm256_permute2f128_ps(h, h, 1) : _mm256_permute_ps(h, Half == 2 ? 0x4E : 0xB1);
    }
    return load<f32x16>(half);
#else
    f32x16 out;
    for (int l = 0; l < 16; ++l) out[l] = v[l ^ Half];
    return out;
#endif
}

// Butterflies over lanes Half apart.
template <int Half>
COINR_INLINE f32x16 fold_lanes(f32x16 v) {
    f32x16 signs;
    for (int l = 0; l < 16; ++l) signs[l] = l & Half ? -1.0f : 1.0f;
#if COINR_LEVEL == 2
    return (f32x16)_mm512_fmadd_ps((__m512)v, (__m512)signs, (__m512)exchanged<Half>(v));  // the product is exact
#else
    return exchanged<Half>(v) + v * signs;
#endif
}

// The two lane types of the transform: 16 entries of one residual, or one entry of each of 32 residuals.
struct FloatLanes {
    using Vector = f32x16;
    using Value = float;
    using Task = FwhtTask;

    // Magnitudes of floats order like their bit patterns without the sign.
    using Magnitude = i32x16;
    COINR_INLINE static Magnitude magnitude(Vector v) { return (i32x16)v & 0x7FFFFFFF; }
    COINR_INLINE static Magnitude limit(const Task& t) { return (i32x16)(f32x16{} + *t.threshold); }

    // The stages within a vector.
    COINR_INLINE static void fold(Vector& v) { v = fold_lanes<1>(fold_lanes<2>(fold_lanes<4>(fold_lanes<8>(v)))); }
};

struct Int16Lanes {
    using Vector = i16x32;
    using Value = int16_t;
    using Task = FwhtInt16Task;
    using Magnitude = i16x32;

    COINR_INLINE static Magnitude magnitude(Vector v) {
#if COINR_LEVEL == 2
        return (i16x32)_mm512_abs_epi16((__m512i)v);
#else
        return v > -v ? v : -v;
#endif
    }
    COINR_INLINE static Magnitude limit(const Task& t) { return load<i16x32>(t.threshold); }
    COINR_INLINE static void fold(Vector&) {}
};

// One bit for every lane that reaches its limit.
template <class M>
COINR_INLINE uint32_t reaching(M v, M limit) {
#if COINR_LEVEL == 2
    if constexpr (sizeof v[0] == 4) return mask_bits(_mm512_cmpge_epi32_mask((__m512i)v, (__m512i)limit));
    return _mm512_cmpge_epi16_mask((__m512i)v, (__m512i)limit);
#else
    const M below = v < limit;
    uint32_t which = 0;
    for (uint32_t k = 0; k < sizeof v / sizeof v[0]; ++k) which |= static_cast<uint32_t>(below[k] == 0) << k;
    return which;
#endif
}

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
#pragma GCC unroll 8
        for (int k = 0; k < Radix; ++k) L::fold(v[k]);
        typename L::Magnitude largest = L::magnitude(v[0]);
#pragma GCC unroll 8
        for (int k = 1; k < Radix; ++k) {
            const typename L::Magnitude m = L::magnitude(v[k]);
            largest = m > largest ? m : largest;
        }
        if (!reaching(largest, L::limit(t))) continue;
        typename L::Value values[Radix * lanes];
        for (int k = 0; k < Radix; ++k) store(values + lanes * k, v[k]);
        for (int k = 0; k < Radix; ++k)
            if (const uint32_t which = reaching(L::magnitude(v[k]), L::limit(t)))
                t.hit(t.context, column + i + k, which, values + lanes * k);
    }
}

// Transforms [length] vectors that `from` reads; x is scratch. Wide strides come first, then pieces that stay in the
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

// Sixteen entries from i on, signed.
COINR_INLINE f32x16 signed_entries(const float* residual, const uint32_t* signs, int64_t i) {
    const uint32_t word = signs[i / 32] >> i % 32;
    const f32x16 value = load<f32x16>(residual + i);
#if COINR_LEVEL == 2
    const __m512 entries = (__m512)value;
    return (f32x16)_mm512_mask_xor_ps(entries, static_cast<__mmask16>(word), entries, _mm512_set1_ps(-0.0f));
#else
    const u32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return (f32x16)((u32x16)value ^ (u32x16{} + word) >> lane << 31);
#endif
}

// Sixteen columns, signed: those of used rows take consecutive entries.
COINR_INLINE f32x16 signed_columns(const FwhtTask& t, RowGroup group) {
    const uint64_t words = t.signs[group.before / 32] | static_cast<uint64_t>(t.signs[group.before / 32 + 1]) << 32;
    const uint32_t bits = static_cast<uint32_t>(words >> group.before % 32);
#if COINR_LEVEL == 2
    const __m512 entries = _mm512_maskz_expandloadu_ps(static_cast<__mmask16>(group.taken), t.residual + group.before);
    const __mmask16 flip = static_cast<__mmask16>(_pdep_u32(bits, group.taken));
    return (f32x16)_mm512_mask_xor_ps(entries, flip, entries, _mm512_set1_ps(-0.0f));
#else
    f32x16 out = {};
    int64_t i = 0;
    for (int l = 0; l < 16; ++l)
        if (group.taken >> l & 1) {
            const float entry = t.residual[group.before + i];
            out[l] = bits >> i & 1 ? -entry : entry;
            ++i;
        }
    return out;
#endif
}

void fwht(const FwhtTask& t) {
    const int64_t length = (t.order + 15) / 16;
    if (t.n == t.order)  // every row is taken, in order
        transform_from<FloatLanes>(t.x, length, 0, t, [&t](int64_t i) __attribute__((always_inline)) {
            return signed_entries(t.residual, t.signs, 16 * i);
        });
    else
        transform_from<FloatLanes>(t.x, length, 0, t, [&t](int64_t i) __attribute__((always_inline)) {
            return signed_columns(t, t.groups[i]);
        });
}

void fwht_int16(const FwhtInt16Task& t) {
    const auto signed_entry = [&t](int64_t i) {
        const i16x32 flip = i16x32{} + t.sign_masks[i];
        return (load<i16x32>(t.residuals + 32 * i) ^ flip) - flip;
    };
    if (t.n == t.order) {  // every row is used, in order
        transform_from<Int16Lanes>(t.x, t.order, 0, t, signed_entry);
        return;
    }
    __builtin_memset(t.x, 0, static_cast<uint64_t>(t.order) * 64);
    for (int64_t i = 0; i < t.n; ++i) store(t.x + 32 * static_cast<int64_t>(t.rows[i]), signed_entry(i));
    transform<Int16Lanes>(t.x, t.order, 0, t);
}

void sign_masks(const uint32_t* words, int64_t n, int16_t* out) {
    for (int64_t i = 0; i < n; i += 32) {
#if COINR_LEVEL == 2
        _mm512_storeu_si512(out + i, _mm512_movm_epi16(words[i / 32]));
#else
        for (int bit = 0; bit < 32; ++bit) out[i + bit] = static_cast<int16_t>(-(words[i / 32] >> bit & 1));
#endif
    }
}

// Rounds two residuals to the low and high halves of 32-bit lanes; adds up their rounding errors and squares.
COINR_INLINE u32x16 round_pair_to_int16(const float* a, const float* b, float scale_a, float scale_b, f32x16 error[2],
                               f32x16 size[2]) {
    const float magic = 12582912.0f;  // see quantize
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

void round_to_int16_lanes(const float* const residuals[32], int64_t n, int16_t* out, double error[32],
                          double size[32]) {
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
                      round_pair_to_int16(residuals[2 * p] + begin + i, residuals[2 * p + 1] + begin + i, scale[2 * p],
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
