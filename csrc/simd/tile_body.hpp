// Dictionary tiles and their int8 products, compiled once per instruction set; see kernels_body.hpp.
//
// A tile holds 16 atoms as unsigned codes in groups of four consecutive entries: code[step][atom][4] with
// step = entry / 4, which is how 16 Philox lanes (one per atom) deliver their words, and what a four-way
// byte product wants. gaussian: code = entry + 4 (0..8); rademacher: code = 1 - entry (0 or 2).

namespace coinr {
namespace {

typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef int16_t i16x32 __attribute__((vector_size(64)));

// Low halves of even and odd lanes, interleaved.
COINR_INLINE u32x16 merge(u64x8 even, u64x8 odd) {
#if COINR_LEVEL == 2
    return (u32x16)_mm512_mask_shuffle_epi32((__m512i)even, 0xAAAA, (__m512i)odd, (_MM_PERM_ENUM)0xA0);
#else
    return (u32x16)((even & 0xFFFFFFFFull) | (odd << 32));
#endif
}

COINR_INLINE u32x16 popcount_bytes(u32x16 v) {
#if COINR_LEVEL == 2
    return (u32x16)_mm512_popcnt_epi8((__m512i)v);
#else
    v -= (v >> 1) & 0x55555555u;
    v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
    return (v + (v >> 4)) & 0x0F0F0F0Fu;
#endif
}

// acc[lane] += sum of four products of unsigned codes (<= 8) and signed bytes.
COINR_INLINE i32x16 dot4(i32x16 acc, u32x16 codes, u32x16 bytes) {
#if COINR_LEVEL == 2
    return (i32x16)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)codes, (__m512i)bytes);
#elif COINR_LEVEL == 1
    __m256i c[2], b[2], a[2];
    __builtin_memcpy(c, &codes, 64);
    __builtin_memcpy(b, &bytes, 64);
    __builtin_memcpy(a, &acc, 64);
    for (int h = 0; h < 2; ++h)
        a[h] = _mm256_add_epi32(a[h], _mm256_madd_epi16(_mm256_maddubs_epi16(c[h], b[h]), _mm256_set1_epi16(1)));
    __builtin_memcpy(&acc, a, 64);
    return acc;
#else
    const i16x32 even = (i16x32)(codes & 0x00FF00FFu) * (((i16x32)bytes << 8) >> 8);
    const i16x32 odd = (i16x32)((codes >> 8) & 0x00FF00FFu) * ((i16x32)bytes >> 8);
    const i32x16 pairs = (i32x16)(even + odd);
    return acc + ((pairs << 16) >> 16) + (pairs >> 16);
#endif
}

struct Lanes {
    u64x8 even, odd;
};

// Philox for 16 consecutive atoms. What does not depend on the call (second counter word) is computed once.
class AtomLanes {
public:
    COINR_INLINE AtomLanes(uint64_t seed, uint32_t stream, uint32_t kind, uint32_t atom) {
        for (int round = 0; round < 10; ++round) {
            key0_[round] = static_cast<uint32_t>(seed) + static_cast<uint32_t>(round) * 0x9E3779B9u;
            key1_[round] = static_cast<uint32_t>(seed >> 32) + static_cast<uint32_t>(round) * 0xBB67AE85u;
        }
        const uint64_t product = static_cast<uint64_t>(stream) * kM1;
        stream_high_ = static_cast<uint32_t>(product >> 32);
        const uint32_t stream_low = static_cast<uint32_t>(product);
        start(even_, u64x8{0, 2, 4, 6, 8, 10, 12, 14} + atom, kind, stream_low);
        start(odd_, u64x8{1, 3, 5, 7, 9, 11, 13, 15} + atom, kind, stream_low);
    }

    // The four words of one call for each atom.
    COINR_INLINE void words(uint32_t call, u32x16 out[4]) const {
        const uint64_t product = (stream_high_ ^ call ^ key0_[0]) * kM0;
        u64x8 e[4], o[4];
        finish(even_, product, e);
        finish(odd_, product, o);
        for (int w = 0; w < 4; ++w) out[w] = merge(e[w], o[w]);
    }

private:
    static constexpr uint32_t kM0 = 0xD2511F53u, kM1 = 0xCD9E8D57u;
    struct Fixed {
        u64x8 x2, x1, high0, low0;  // of rounds 1 and 2
    };

    COINR_INLINE void start(Fixed& f, u64x8 atoms, uint32_t kind, uint32_t stream_low) const {
        const u64x8 first = mul32(atoms, kM0);
        const u64x8 second = mul32((first >> 32) ^ (kind ^ key1_[0]), kM1);
        f.x2 = (first & 0xFFFFFFFFull) ^ key1_[1];
        f.x1 = second ^ key0_[2];
        const u64x8 third = mul32((second >> 32) ^ (stream_low ^ key0_[1]), kM0);
        f.high0 = (third >> 32) ^ key1_[2];
        f.low0 = third;
    }

    COINR_INLINE void finish(const Fixed& f, uint64_t product, u64x8 x[4]) const {
        const u64x8 third = mul32(f.x2 ^ (product >> 32), kM1);
        x[0] = (third >> 32) ^ f.x1;
        x[1] = third;
        x[2] = f.high0 ^ (product & 0xFFFFFFFFull);
        x[3] = f.low0;
#pragma GCC unroll 7
        for (int round = 3; round < 10; ++round) {
            const u64x8 p0 = mul32(x[0], kM0), p1 = mul32(x[2], kM1);
            x[0] = xor3(p1 >> 32, x[1], key0_[round]);
            x[1] = p1;
            x[2] = xor3(p0 >> 32, x[3], key1_[round]);
            x[3] = p0;
        }
    }

    uint64_t key0_[10], key1_[10];
    uint32_t stream_high_;
    Fixed even_, odd_;
};

void tile_popcount(uint64_t seed, uint32_t stream, uint32_t kind, uint32_t atom, int64_t first, int64_t calls,
                   int64_t n, uint8_t* out, int32_t* norm2) {
    const AtomLanes lanes(seed, stream, kind, atom);
    i32x16 sum = load<i32x16>(norm2);
    for (int64_t c = first; c < first + calls; ++c, out += 256) {
        u32x16 words[4];
        lanes.words(static_cast<uint32_t>(c), words);
        for (int w = 0; w < 4; ++w) {
            u32x16 codes = popcount_bytes(words[w]);
            const int64_t valid = n - 16 * c - 4 * w;
            if (valid < 4) codes &= valid <= 0 ? 0u : (1u << (8 * valid)) - 1;
            // code - 8 without borrows between bytes: entry^2 - 16 = code (code - 8).
            const u32x16 less8 = ((codes | 0x80808080u) - 0x08080808u) ^ 0x80808080u;
            sum = dot4(sum, codes, less8);
            store(out + 64 * w, codes);
        }
    }
    store(norm2, sum);
}

void tile_signs(uint64_t seed, uint32_t stream, uint32_t kind, uint32_t atom, int64_t first, int64_t calls, int64_t n,
                uint8_t* out) {
    const AtomLanes lanes(seed, stream, kind, atom);
    for (int64_t c = first; c < first + calls; ++c) {
        u32x16 words[4];
        lanes.words(static_cast<uint32_t>(c), words);
        for (int w = 0; w < 4; ++w) {
            const int64_t valid = n - 128 * c - 32 * w;
            if (valid <= 0) return;
            for (int64_t step = 0; step < 8 && 4 * step < valid; ++step, out += 64) {
                // Four bits to the second bit of four bytes.
                const u32x16 bits = (words[w] >> static_cast<uint32_t>(4 * step)) & 0xFu;
                u32x16 codes = ((bits * 0x00204081u) & 0x01010101u) << 1;
                if (valid - 4 * step < 4) codes &= (1u << (8 * (valid - 4 * step))) - 1;
                store(out, codes);
            }
        }
    }
}

float max_abs(const float* r, int64_t n) {
    i32x16 largest = {};  // magnitudes of floats order like their bit patterns without the sign
    for (int64_t i = 0; i < n; i += 16) {
        const i32x16 m = (i32x16)load<f32x16>(r + i) & 0x7FFFFFFF;
        largest = m > largest ? m : largest;
    }
    int32_t bits = 0;
    for (int k = 0; k < 16; ++k) bits = largest[k] > bits ? largest[k] : bits;
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
}

// See Kernels::quantize. Adding and subtracting 1.5 * 2^23 rounds to even.
void quantize(const float* r, int64_t n, float inverse, int digits, float base, int8_t* const to[2],
              const int64_t stride[2], QuantizeSums* sums) {
    const float magic = 12582912.0f, per_base = 1.0f / base;
    f32x16 error = {}, size = {};
    i32x16 sum[2] = {};
    for (int64_t i = 0; i < n; i += 16) {
        const f32x16 x = load<f32x16>(r + i) * inverse;
        const f32x16 q = (x + magic) - magic;
        error += (x - q) * (x - q);
        size += q * q;
        f32x16 digit[2] = {q, {}};
        if (digits == 2) {
            digit[0] = (q * per_base + magic) - magic;
            digit[1] = q - digit[0] * base;
        }
        for (int d = 0; d < digits; ++d) {
            const i32x16 whole = (i32x16)(digit[d] + magic) - 0x4B400000;
            sum[d] += whole;
#if COINR_LEVEL == 2
            uint32_t fours[4];
            _mm_storeu_si128((__m128i*)fours, _mm512_cvtepi32_epi8((__m512i)whole));
#else
            int8_t fours[16];
            for (int k = 0; k < 16; ++k) fours[k] = static_cast<int8_t>(whole[k]);
#endif
            for (int k = 0; k < 4; ++k)
                __builtin_memcpy(to[d] + (i / 4 + k) * stride[d], (const char*)fours + 4 * k, 4);
        }
    }
    *sums = {0, 0, {0, 0}};
    for (int k = 0; k < 16; ++k) {
        sums->error += error[k];
        sums->size += size[k];
        for (int d = 0; d < 2; ++d) sums->sum[d] += sum[d][k];
    }
}

constexpr int kGroups = kScreenTiles;
#if COINR_LEVEL == 2
constexpr int kRows = 12;  // 24 accumulators of 32 registers
#else
constexpr int kRows = 2;
#endif

// Returns which magnitudes reach the threshold: bits 0..15 for a, 16..31 for b.
COINR_INLINE uint32_t reaching(f32x16 a, f32x16 b, float threshold) {
#if COINR_LEVEL == 2
    const __m512 limit = _mm512_set1_ps(threshold);
    const __mmask16 low = _mm512_cmp_ps_mask(_mm512_abs_ps((__m512)a), limit, _CMP_GE_OQ);
    const __mmask16 high = _mm512_cmp_ps_mask(_mm512_abs_ps((__m512)b), limit, _CMP_GE_OQ);
    return mask_bits(low) | mask_bits(high) << 16;
#elif COINR_LEVEL == 1
    const __m256 sign = _mm256_set1_ps(-0.0f), limit = _mm256_set1_ps(threshold);
    __m256 v[4];
    __builtin_memcpy(v, &a, 64);
    __builtin_memcpy(v + 2, &b, 64);
    uint32_t which = 0;
    for (int h = 0; h < 4; ++h)
        which |= static_cast<uint32_t>(
                     _mm256_movemask_ps(_mm256_cmp_ps(_mm256_andnot_ps(sign, v[h]), limit, _CMP_GE_OQ)))
                 << (8 * h);
    return which;
#else
    uint32_t which = 0;
    for (int i = 0; i < 16; ++i) {
        which |= static_cast<uint32_t>(a[i] >= threshold || -a[i] >= threshold) << i;
        which |= static_cast<uint32_t>(b[i] >= threshold || -b[i] >= threshold) << (16 + i);
    }
    return which;
#endif
}

// Scores `rows` int8 rows against two tiles; see Kernels::screen.
template <int NB>
COINR_INLINE void screen_block(const ScreenTask& t, int64_t row) {
    i32x16 acc[NB][kGroups];
    int32_t* saved = t.partial ? t.partial + row * 16 * kGroups : nullptr;
    for (int b = 0; b < NB; ++b)
        for (int g = 0; g < kGroups; ++g)
            acc[b][g] = t.first ? i32x16{} - t.offset[row + b] : load<i32x16>(saved + (b * kGroups + g) * 16);
    const int8_t* bytes = t.rows + row * t.row_bytes + t.skip * NB * 4;
    for (int64_t step = 0; step < t.steps; ++step, bytes += 4 * NB) {
        u32x16 codes[kGroups];
        for (int g = 0; g < kGroups; ++g) codes[g] = load<u32x16>(t.tiles + g * t.tile_stride + 64 * step);
#pragma GCC unroll 12
        for (int b = 0; b < NB; ++b) {
            uint32_t four;
            __builtin_memcpy(&four, bytes + 4 * b, 4);
            const u32x16 spread = u32x16{} + four;
#pragma GCC unroll 2
            for (int g = 0; g < kGroups; ++g) acc[b][g] = dot4(acc[b][g], codes[g], spread);
        }
    }
    if (!t.last) {
        for (int b = 0; b < NB; ++b)
            for (int g = 0; g < kGroups; ++g) store(saved + (b * kGroups + g) * 16, acc[b][g]);
        return;
    }
    f32x16 inverse[kGroups];
    for (int g = 0; g < kGroups; ++g) inverse[g] = load<f32x16>(t.inverse_norm + 16 * g);
    for (int b = 0; b < NB; b += t.digits) {
        const int64_t query = (row + b) / t.digits;
        if (query >= t.queries) return;
        f32x16 score[kGroups];
        for (int g = 0; g < kGroups; ++g) {
            f32x16 sum = __builtin_convertvector(acc[b][g], f32x16);
            if (t.digits == 2) sum = sum * t.base + __builtin_convertvector(acc[b + 1 < NB ? b + 1 : b][g], f32x16);
            score[g] = sum * inverse[g];
        }
        if (const uint32_t which = reaching(score[0], score[1], t.threshold[query])) {
            float scores[16 * kGroups];
            for (int g = 0; g < kGroups; ++g) store(scores + 16 * g, score[g]);
            t.hit(t.context, query, which, scores);
        }
    }
}

void screen(const ScreenTask& t) {
    for (int64_t row = 0; row < t.row_count;) {
        const int block = screen_rows(kRows, t.row_count - row);
        switch (block) {
#if COINR_LEVEL == 2
            case 12: screen_block<12>(t, row); break;
            case 8: screen_block<8>(t, row); break;
            case 6: screen_block<6>(t, row); break;
            case 4: screen_block<4>(t, row); break;
#endif
            default: screen_block<2>(t, row); break;
        }
        row += block;
    }
}

}  // namespace
}  // namespace coinr
