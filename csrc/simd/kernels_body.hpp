// Bodies of the tables in kernels.hpp. Included by kernels_<isa>.cpp inside that file's target region, after every
// header; uses no inline function of another header, so that no code for one processor leaks into shared symbols.

#pragma GCC diagnostic ignored "-Wpsabi"  // 64-byte vectors are only passed between inlined functions
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // _mm512_undefined_* inside the intrinsics of GCC 12
#pragma GCC diagnostic ignored "-Wuninitialized"

namespace coinr {
namespace {

typedef double f64x8 __attribute__((vector_size(64)));
typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef int8_t i8x8 __attribute__((vector_size(8)));
typedef float f32x8 __attribute__((vector_size(32)));

template <class V, class T>
inline __attribute__((always_inline)) V load(const T* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
template <class V, class T>
inline __attribute__((always_inline)) void store(T* p, V v) {
    __builtin_memcpy(p, &v, sizeof v);
}
inline __attribute__((always_inline)) double sum8(f64x8 v) {
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

#define COINR_INLINE inline __attribute__((always_inline))

typedef uint64_t u64x8 __attribute__((vector_size(64)));

#if COINR_LEVEL == 2
// The bits of a mask of 16. GCC 12 may spill such a mask as 16 bits and reload it as 32 where it takes the upper ones
// to be zero, so the value passes through an opaque register.
COINR_INLINE uint32_t mask_bits(__mmask16 mask) {
    uint32_t bits = mask;
    __asm__("" : "+r"(bits));
    return bits;
}
#endif

// Widening loads. Intrinsics where __builtin_convertvector would go through scalars.
COINR_INLINE f64x8 widen_f64x8(const int8_t* p) {
#if COINR_LEVEL == 2
    return (f64x8)_mm512_cvtepi32_pd(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
#elif COINR_LEVEL == 1
    const __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p));
    const __m256d half[2] = {_mm256_cvtepi32_pd(_mm256_castsi256_si128(wide)),
                             _mm256_cvtepi32_pd(_mm256_extracti128_si256(wide, 1))};
    return load<f64x8>(half);
#else
    return __builtin_convertvector(load<i8x8>(p), f64x8);
#endif
}

COINR_INLINE f64x8 widen_f64x8(const float* p) {
#if COINR_LEVEL == 2
    return (f64x8)_mm512_cvtps_pd(_mm256_loadu_ps(p));
#elif COINR_LEVEL == 1
    const __m256d half[2] = {_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4))};
    return load<f64x8>(half);
#else
    return __builtin_convertvector(load<f32x8>(p), f64x8);
#endif
}

// Low 32 bits of each lane times a 32-bit constant.
COINR_INLINE u64x8 mul32(u64x8 a, uint32_t b) {
#if COINR_LEVEL == 2
    return (u64x8)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif COINR_LEVEL == 1
    __m256i half[2];
    __builtin_memcpy(half, &a, 64);
    half[0] = _mm256_mul_epu32(half[0], _mm256_set1_epi64x(b));
    half[1] = _mm256_mul_epu32(half[1], _mm256_set1_epi64x(b));
    __builtin_memcpy(&a, half, 64);
    return a;
#else
    return (a & 0xFFFFFFFFull) * static_cast<uint64_t>(b);
#endif
}

COINR_INLINE u64x8 xor3(u64x8 a, u64x8 b, uint64_t c) {
#if COINR_LEVEL == 2
    return (u64x8)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, _mm512_set1_epi64(static_cast<int64_t>(c)), 0x96);
#else
    return a ^ b ^ c;
#endif
}

constexpr int64_t kCallsPerChunk = 64;

// Words of `calls` consecutive counters (c0, c1.., c2, c3), eight lanes at a time: out [calls rounded up to 8, 4].
COINR_INLINE void words(uint64_t seed, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, int64_t calls,
                        uint32_t* out) {
    for (int64_t c = 0; c < calls; c += 8) {
        u64x8 x0 = u64x8{} + c0, x1 = u64x8{0, 1, 2, 3, 4, 5, 6, 7} + (c1 + static_cast<uint64_t>(c));
        u64x8 x2 = u64x8{} + c2, x3 = u64x8{} + c3;
        uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
        for (int round = 0; round < 10; ++round) {
            const u64x8 p0 = mul32(x0, 0xD2511F53u), p1 = mul32(x2, 0xCD9E8D57u);
            // The upper halves of x1 and x3 are left over from the products; nothing reads them.
            x0 = xor3(p1 >> 32, x1, key0);
            x1 = p1;
            x2 = xor3(p0 >> 32, x3, key1);
            x3 = p0;
            key0 += 0x9E3779B9u;
            key1 += 0xBB67AE85u;
        }
        const u64x8 low = (x0 & 0xFFFFFFFFull) | (x1 << 32), high = (x2 & 0xFFFFFFFFull) | (x3 << 32);
        store(out + 4 * c, __builtin_shuffle(low, high, u64x8{0, 8, 1, 9, 2, 10, 3, 11}));
        store(out + 4 * c + 16, __builtin_shuffle(low, high, u64x8{4, 12, 5, 13, 6, 14, 7, 15}));
    }
}

void words_from_zero(uint64_t seed, uint32_t c0, uint32_t c2, uint32_t c3, int64_t calls, uint32_t* out) {
    words(seed, c0, 0, c2, c3, calls, out);
}

void row_popcount(uint64_t seed, uint32_t stream, uint32_t kind, uint32_t atom, int64_t n, int8_t* out) {
    uint32_t buffer[4 * kCallsPerChunk];
    const int64_t calls = (n + 15) / 16, end = (n + 63) / 64 * 64;
    for (int64_t first = 0; first < calls; first += kCallsPerChunk) {
        const int64_t count = calls - first < kCallsPerChunk ? calls - first : kCallsPerChunk;
        words(seed, atom, static_cast<uint32_t>(first), stream, kind, count, buffer);
        for (int64_t c = 0; c < 4 * count; ++c) {
            uint32_t v = buffer[c];
            v -= (v >> 1) & 0x55555555u;
            v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
            v = (v + (v >> 4)) & 0x0F0F0F0Fu;
            // Bytes 0..8 less 4 without borrows between them.
            v = ((v | 0x80808080u) - 0x04040404u) ^ 0x80808080u;
            __builtin_memcpy(out + 16 * first + 4 * c, &v, 4);
        }
    }
    for (int64_t i = n; i < end; ++i) out[i] = 0;
}

// 0/1 bits, least significant first, to +1/-1; n a multiple of 64.
COINR_INLINE void spread(const uint32_t* words, int64_t n, int8_t* out) {
#if COINR_LEVEL == 2
    for (int64_t i = 0; i < n; i += 64) {
        __mmask64 bits;
        __builtin_memcpy(&bits, words + i / 32, 8);
        _mm512_storeu_si512(out + i, _mm512_mask_blend_epi8(bits, _mm512_set1_epi8(1), _mm512_set1_epi8(-1)));
    }
#else
    for (int64_t i = 0; i < n; i += 8) {
        // The 8 bits spread to the low bit of 8 bytes, then 0/1 -> +1/-1 (0x01 or 0xFF).
        const uint64_t bits = (words[i / 32] >> (i & 31)) & 0xFFu;
        uint64_t bytes = ((bits * 0x0101010101010101ull) & 0x8040201008040201ull);
        bytes = ((bytes + 0x7F7F7F7F7F7F7F7Full) | bytes) & 0x8080808080808080ull;
        bytes = (bytes >> 7) * 0xFEull | 0x0101010101010101ull;
        __builtin_memcpy(out + i, &bytes, 8);
    }
#endif
}

void spread_signs(const uint32_t* words, int64_t n, int8_t* out) {
    const int64_t end = (n + 63) / 64 * 64;
    spread(words, end, out);
    for (int64_t i = n; i < end; ++i) out[i] = 0;
}

void row_signs(uint64_t seed, uint32_t stream, uint32_t kind, uint32_t atom, int64_t n, int8_t* out) {
    uint32_t buffer[4 * kCallsPerChunk];
    const int64_t calls = (n + 127) / 128, end = (n + 63) / 64 * 64;
    for (int64_t first = 0; first < calls; first += kCallsPerChunk) {
        const int64_t count = calls - first < kCallsPerChunk ? calls - first : kCallsPerChunk;
        words(seed, atom, static_cast<uint32_t>(first), stream, kind, count, buffer);
        const int64_t base = 128 * first, stop = base + 128 * count < end ? base + 128 * count : end;
        spread(buffer, stop - base, out + base);
    }
    for (int64_t i = n; i < end; ++i) out[i] = 0;
}

void row_parity(const uint32_t* rows, uint32_t column, int64_t n, int8_t* inout) {
    int64_t i = 0;
#if COINR_LEVEL == 2
    const __m512i which = _mm512_set1_epi32(static_cast<int32_t>(column)), one = _mm512_set1_epi32(1);
    for (; i + 64 <= n; i += 64) {
        __mmask64 odd = 0;
        for (int k = 0; k < 4; ++k) {
            const __m512i common = _mm512_and_si512(_mm512_loadu_si512(rows + i + 16 * k), which);
            odd |= static_cast<uint64_t>(mask_bits(_mm512_test_epi32_mask(_mm512_popcnt_epi32(common), one))) << 16 * k;
        }
        const __m512i entries = _mm512_loadu_si512(inout + i);
        _mm512_storeu_si512(inout + i, _mm512_mask_sub_epi8(entries, odd, _mm512_setzero_si512(), entries));
    }
#endif
    for (; i < n; ++i) {
        uint32_t x = rows[i] & column;
        x ^= x >> 16;
        x ^= x >> 8;
        x ^= x >> 4;
        x ^= x >> 2;
        x ^= x >> 1;
        const int8_t flip = static_cast<int8_t>(-static_cast<int8_t>(x & 1));
        inout[i] = static_cast<int8_t>((inout[i] ^ flip) - flip);
    }
}

int32_t dot_i8(const int8_t* a, const int8_t* b, int64_t n) {
#if COINR_LEVEL == 2
    // Unsigned a + 128 times b, less 128 times the sum of b.
    __m512i sum = _mm512_setzero_si512(), shift = sum;
    const __m512i high = _mm512_set1_epi8(-128), ones = _mm512_set1_epi8(1);
    for (int64_t i = 0; i < n; i += 64) {
        const __m512i x = _mm512_loadu_si512(a + i), y = _mm512_loadu_si512(b + i);
        sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(x, high), y);
        shift = _mm512_dpbusd_epi32(shift, ones, y);
    }
    return _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, _mm512_slli_epi32(shift, 7)));
#elif COINR_LEVEL == 1
    __m256i sum = _mm256_setzero_si256();
    for (int64_t i = 0; i < n; i += 16)
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(a + i))),
                                                      _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(b + i)))));
    int32_t part[8], total = 0;
    __builtin_memcpy(part, &sum, 32);
    for (int i = 0; i < 8; ++i) total += part[i];
    return total;
#else
    int32_t sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<int16_t>(a[i]) * static_cast<int16_t>(b[i]);
    return sum;
#endif
}

double dot_i8_f32(const int8_t* a, const float* r, int64_t n) {
    f64x8 acc0 = {}, acc1 = {};
    for (int64_t i = 0; i < n; i += 16) {
        acc0 += widen_f64x8(a + i) * widen_f64x8(r + i);
        acc1 += widen_f64x8(a + i + 8) * widen_f64x8(r + i + 8);
    }
    return sum8(acc0 + acc1);
}

int64_t dot_i8_i16(const int8_t* a, const int16_t* q, int64_t n) {
    constexpr int64_t kPiece = int64_t{1} << 16;  // so many products of entries up to 8 fit 8 lanes of 32 bits
    int64_t total = 0;
    for (int64_t begin = 0; begin < n; begin += kPiece) {
        const int64_t stop = n - begin < kPiece ? n : begin + kPiece;
#if COINR_LEVEL == 2
        __m512i sum = _mm512_setzero_si512();
        for (int64_t i = begin; i < stop; i += 32)
            sum = _mm512_dpwssd_epi32(sum, _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)(a + i))),
                                      _mm512_loadu_si512(q + i));
        int32_t part[16];
        _mm512_storeu_si512(part, sum);
        for (int k = 0; k < 16; ++k) total += part[k];
#elif COINR_LEVEL == 1
        __m256i sum = _mm256_setzero_si256();
        for (int64_t i = begin; i < stop; i += 16)
            sum = _mm256_add_epi32(sum,
                                   _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(a + i))),
                                                     _mm256_loadu_si256((const __m256i*)(q + i))));
        int32_t part[8];
        _mm256_storeu_si256((__m256i*)part, sum);
        for (int k = 0; k < 8; ++k) total += part[k];
#else
        for (int64_t i = begin; i < stop; ++i) total += static_cast<int32_t>(a[i]) * q[i];
#endif
    }
    return total;
}

double round_i16(const float* r, int64_t n, float inverse, int16_t* q, double* size) {
    constexpr int64_t kPiece = 4096;  // float32 sums of so many stay accurate
    const float magic = 12582912.0f;  // 1.5 * 2^23 rounds to even
    double errors = 0, squares = 0;
    for (int64_t begin = 0; begin < n; begin += kPiece) {
        const int64_t stop = n - begin < kPiece ? n : begin + kPiece;
        f32x16 error = {}, square = {};
        for (int64_t i = begin; i < stop; i += 16) {
            const f32x16 x = load<f32x16>(r + i) * inverse;
            const f32x16 shifted = x + magic, rounded = shifted - magic;
            error += (x - rounded) * (x - rounded);
            square += rounded * rounded;
#if COINR_LEVEL == 2
            _mm256_storeu_si256((__m256i*)(q + i), _mm512_cvtepi32_epi16((__m512i)shifted));
#else
            const i32x16 bits = (i32x16)shifted;
            for (int k = 0; k < 16; ++k) q[i + k] = static_cast<int16_t>(bits[k]);
#endif
        }
        for (int k = 0; k < 16; ++k) {
            errors += error[k];
            squares += square[k];
        }
    }
    *size = squares;
    return errors;
}

double energy(const float* r, int64_t n) {
    f64x8 acc0 = {}, acc1 = {};
    for (int64_t i = 0; i < n; i += 16) {
        const f64x8 x0 = widen_f64x8(r + i);
        const f64x8 x1 = widen_f64x8(r + i + 8);
        acc0 += x0 * x0;
        acc1 += x1 * x1;
    }
    return sum8(acc0 + acc1);
}

void add_i32(const int8_t* row, int32_t q, int64_t n, int32_t* acc) {
    for (int64_t i = 0; i < n; ++i) acc[i] += q * row[i];
}

void add_i64(const int8_t* row, int64_t q, int64_t n, int64_t* acc) {
    for (int64_t i = 0; i < n; ++i) acc[i] += q * row[i];
}

double dot_f64(const double* a, const double* b, int64_t n) {
    f64x8 acc = {};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) acc += load<f64x8>(a + i) * load<f64x8>(b + i);
    double tail = 0;
    for (; i < n; ++i) tail += a[i] * b[i];
    return sum8(acc) + tail;
}

void axpy_f64(double c, const double* a, int64_t n, double* y) {
    for (int64_t i = 0; i < n; ++i) y[i] += c * a[i];
}

// Vectors per sum, of four sums that stay in registers.
constexpr int kVectorsPerSum = COINR_LEVEL == 2 ? 4 : 1;

void add_feedback(const float* const before[4], const float* const errors[4], int64_t count, const float* rows,
                  int64_t stride, int64_t n, float* const after[4]) {
    int64_t l = 0;
    for (; l + 16 * kVectorsPerSum <= n; l += 16 * kVectorsPerSum) {
        f32x16 sum[4][kVectorsPerSum];
        for (int s = 0; s < 4; ++s)
            for (int v = 0; v < kVectorsPerSum; ++v) sum[s][v] = load<f32x16>(before[s] + l + 16 * v);
        for (int64_t t = 0; t < count; ++t)
            for (int v = 0; v < kVectorsPerSum; ++v) {
                const f32x16 row = load<f32x16>(rows + t * stride + l + 16 * v);
                for (int s = 0; s < 4; ++s) sum[s][v] += errors[s][t] * row;
            }
        for (int s = 0; s < 4; ++s)
            for (int v = 0; v < kVectorsPerSum; ++v) store(after[s] + l + 16 * v, sum[s][v]);
    }
    for (; l < n; ++l)
        for (int s = 0; s < 4; ++s) {
            float sum = before[s][l];
            for (int64_t t = 0; t < count; ++t) sum += errors[s][t] * rows[t * stride + l];
            after[s][l] = sum;
        }
}

}  // namespace

}  // namespace coinr
