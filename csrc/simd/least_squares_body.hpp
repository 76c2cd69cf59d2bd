// Inner loops of the least squares of a pursuit, compiled once per instruction set; see kernels_body.hpp.

namespace coinr {
namespace {

void subtract(const int8_t* atoms, int64_t stride, const int32_t* u, int64_t k, int64_t n, double step, float* r) {
#if COINR_LEVEL == 2
    // Three digits of seven bits, four atoms at a time: sums of (atom + 128) * digit, less 128 * digits.
    constexpr int kMaxTogether = 64;
    uint32_t digits[3][kMaxTogether / 4];
    for (int64_t begin = 0; begin < k; begin += kMaxTogether) {
        const int64_t count = k - begin < kMaxTogether ? k - begin : kMaxTogether, fours = (count + 3) / 4;
        int8_t bytes[3][kMaxTogether] = {};
        int32_t excess[3] = {};
        for (int64_t m = 0; m < count; ++m) {
            int32_t remaining = u[begin + m];
            for (int d = 2; d >= 0; --d) {
                const int32_t digit = d > 0 ? ((remaining + 64) & 127) - 64 : remaining;
                remaining = (remaining - digit) / 128;
                bytes[d][m] = static_cast<int8_t>(digit);
                excess[d] += 128 * digit;
            }
        }
        __builtin_memcpy(digits, bytes, sizeof digits);
        const __m512i flip = _mm512_set1_epi8(-128);
        const int8_t* first = atoms + begin * stride;
        for (int64_t i = 0; i < n; i += 64) {
            __m512i acc[3][4];
#pragma GCC unroll 3
            for (int d = 0; d < 3; ++d)
#pragma GCC unroll 4
                for (int q = 0; q < 4; ++q) acc[d][q] = _mm512_set1_epi32(-excess[d]);
            for (int64_t f = 0; f < fours; ++f) {
                __m512i a[4];
#pragma GCC unroll 4
                for (int m = 0; m < 4; ++m) {
                    const int64_t row = 4 * f + m < count ? 4 * f + m : 0;  // its digits are zero
                    a[m] = _mm512_xor_si512(_mm512_loadu_si512(first + row * stride + i), flip);
                }
                const __m512i ab0 = _mm512_unpacklo_epi8(a[0], a[1]), ab1 = _mm512_unpackhi_epi8(a[0], a[1]);
                const __m512i cd0 = _mm512_unpacklo_epi8(a[2], a[3]), cd1 = _mm512_unpackhi_epi8(a[2], a[3]);
                const __m512i four[4] = {_mm512_unpacklo_epi16(ab0, cd0), _mm512_unpackhi_epi16(ab0, cd0),
                                         _mm512_unpacklo_epi16(ab1, cd1), _mm512_unpackhi_epi16(ab1, cd1)};
#pragma GCC unroll 3
                for (int d = 0; d < 3; ++d) {
                    const __m512i digit = _mm512_set1_epi32(static_cast<int32_t>(digits[d][f]));
#pragma GCC unroll 4
                    for (int q = 0; q < 4; ++q) acc[d][q] = _mm512_dpbusd_epi32(acc[d][q], four[q], digit);
                }
            }
            // Lane l of the four sums holds entries 16 l + 4 q ..: transpose the 128-bit pieces.
            int32_t sums[3][64];
            for (int d = 0; d < 3; ++d) {
                const __m512i t0 = _mm512_shuffle_i32x4(acc[d][0], acc[d][1], 0x44);
                const __m512i t1 = _mm512_shuffle_i32x4(acc[d][0], acc[d][1], 0xEE);
                const __m512i t2 = _mm512_shuffle_i32x4(acc[d][2], acc[d][3], 0x44);
                const __m512i t3 = _mm512_shuffle_i32x4(acc[d][2], acc[d][3], 0xEE);
                _mm512_storeu_si512(sums[d], _mm512_shuffle_i32x4(t0, t2, 0x88));
                _mm512_storeu_si512(sums[d] + 16, _mm512_shuffle_i32x4(t0, t2, 0xDD));
                _mm512_storeu_si512(sums[d] + 32, _mm512_shuffle_i32x4(t1, t3, 0x88));
                _mm512_storeu_si512(sums[d] + 48, _mm512_shuffle_i32x4(t1, t3, 0xDD));
            }
            for (int e = 0; e < 64; e += 8) {
                f64x8 total = {};
                for (int d = 0; d < 3; ++d)
                    total = total * 128.0 +
                            (f64x8)_mm512_cvtepi32_pd(_mm256_loadu_si256((const __m256i*)(sums[d] + e)));
                const f64x8 x = widen_f64x8(r + i + e) - total * step;
                _mm256_storeu_ps(r + i + e, _mm512_cvtpd_ps((__m512d)x));
            }
        }
    }
#else
    constexpr int64_t kMaxTogether = 64;  // rounds to float32 after as many atoms as above
    for (int64_t begin = 0; begin < k; begin += kMaxTogether) {
        const int64_t stop = k - begin < kMaxTogether ? k : begin + kMaxTogether;
        for (int64_t i = 0; i < n; i += 16) {
            f64x8 total0 = {}, total1 = {};  // integers, exact
            for (int64_t m = begin; m < stop; ++m) {
                const double level = u[m];
                total0 += level * widen_f64x8(atoms + m * stride + i);
                total1 += level * widen_f64x8(atoms + m * stride + i + 8);
            }
            store(r + i, __builtin_convertvector(widen_f64x8(r + i) - total0 * step, f32x8));
            store(r + i + 8, __builtin_convertvector(widen_f64x8(r + i + 8) - total1 * step, f32x8));
        }
    }
#endif
}

void gram(const int8_t* atoms, const int8_t* row, int64_t k, int64_t n, double* out) {
#if COINR_LEVEL == 2
    // Sums of (atom + 128) * row, less 128 times the sum of the row.
    const __m512i flip = _mm512_set1_epi8(-128), ones = _mm512_set1_epi8(1);
    __m512i total = _mm512_setzero_si512();
    for (int64_t i = 0; i < n; i += 64) total = _mm512_dpbusd_epi32(total, ones, _mm512_loadu_si512(row + i));
    const int32_t excess = 128 * _mm512_reduce_add_epi32(total);
    int64_t m = 0;
    for (; m + 4 <= k; m += 4) {
        const int8_t* a = atoms + m * n;
        __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                          _mm512_setzero_si512()};
        for (int64_t i = 0; i < n; i += 64) {
            const __m512i y = _mm512_loadu_si512(row + i);
#pragma GCC unroll 4
            for (int q = 0; q < 4; ++q)
                sum[q] = _mm512_dpbusd_epi32(sum[q], _mm512_xor_si512(_mm512_loadu_si512(a + q * n + i), flip), y);
        }
        for (int q = 0; q < 4; ++q) out[m + q] = _mm512_reduce_add_epi32(sum[q]) - excess;
    }
    for (; m < k; ++m) out[m] = dot_i8(atoms + m * n, row, n);
#else
    for (int64_t m = 0; m < k; ++m) out[m] = dot_i8(atoms + m * n, row, n);
#endif
}

void residual(const int8_t* atoms, int64_t stride, const double* u, int64_t k, int64_t n, const float* w, float* r) {
    for (int64_t i = 0; i < n; i += 16) {
        f64x8 x0 = widen_f64x8(w + i);
        f64x8 x1 = widen_f64x8(w + i + 8);
        for (int64_t m = 0; m < k; ++m) {
            const int8_t* a = atoms + m * stride + i;
            x0 -= u[m] * widen_f64x8(a);
            x1 -= u[m] * widen_f64x8(a + 8);
        }
        store(r + i, __builtin_convertvector(x0, f32x8));
        store(r + i + 8, __builtin_convertvector(x1, f32x8));
    }
}

// Sums of the lanes of eight vectors, each in the order of sum8.
COINR_INLINE f64x8 sums8(const f64x8 v[8]) {
#if COINR_LEVEL == 2
    f64x8 half[4], quarter[2];
    for (int k = 0; k < 4; ++k)
        half[k] = __builtin_shuffle(v[2 * k], v[2 * k + 1], u64x8{0, 1, 2, 3, 8, 9, 10, 11}) +
                  __builtin_shuffle(v[2 * k], v[2 * k + 1], u64x8{4, 5, 6, 7, 12, 13, 14, 15});
    for (int k = 0; k < 2; ++k)
        quarter[k] = __builtin_shuffle(half[2 * k], half[2 * k + 1], u64x8{0, 1, 4, 5, 8, 9, 12, 13}) +
                     __builtin_shuffle(half[2 * k], half[2 * k + 1], u64x8{2, 3, 6, 7, 10, 11, 14, 15});
    return __builtin_shuffle(quarter[0], quarter[1], u64x8{0, 2, 4, 6, 8, 10, 12, 14}) +
           __builtin_shuffle(quarter[0], quarter[1], u64x8{1, 3, 5, 7, 9, 11, 13, 15});
#else
    return f64x8{sum8(v[0]), sum8(v[1]), sum8(v[2]), sum8(v[3]), sum8(v[4]), sum8(v[5]), sum8(v[6]), sum8(v[7])};
#endif
}

double project(const double* basis, const double* gram, int64_t begin, int64_t stop, double* inner, double* out) {
    f64x8 inside = {};
    const double* v = basis;
    for (int64_t c = 0; c < begin; c += 8) store(out + c, f64x8{});
    for (int64_t first = begin; first < stop; first += 8) {
        const int64_t length = first + 8;
        f64x8 sum[8] = {};
        for (int64_t c = 0; c < length; c += 8)
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) sum[i] += load<f64x8>(v + i * length + c) * load<f64x8>(gram + c);
        store(inner + first, sums8(sum));
        for (int64_t i = stop; i < length; ++i) inner[i] = 0;  // unused rows, which hold finite numbers
        const f64x8 parts = load<f64x8>(inner + first);
        inside += parts * parts;
        store(out + first, f64x8{});
        for (int64_t c = 0; c < length; c += 8) {
            f64x8 total = load<f64x8>(out + c);
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) total -= inner[first + i] * load<f64x8>(v + i * length + c);
            store(out + c, total);
        }
        v += 8 * length;
    }
    return sum8(inside);
}

double basis_row(const double* coefficients, int64_t count, double inverse, double levels, double* row,
                 int32_t* update) {
    f64x8 maxima = {};
    for (int64_t i = 0; i < count; i += 8) {
        const f64x8 v = load<f64x8>(coefficients + i) * inverse;
        const f64x8 magnitude = (f64x8)((u64x8)v & 0x7FFFFFFFFFFFFFFFull);
        maxima = magnitude > maxima ? magnitude : maxima;
        store(row + i, v);
    }
    double largest = 0;
    for (int k = 0; k < 8; ++k) largest = maxima[k] > largest ? maxima[k] : largest;
    const double scale = levels / largest, magic = 6755399441055744.0;  // 1.5 * 2^52 rounds to even
    for (int64_t i = 0; i < count; i += 8) {
        const u64x8 bits = (u64x8)(load<f64x8>(row + i) * scale + magic);
#if COINR_LEVEL == 2
        _mm256_storeu_si256((__m256i*)(update + i), _mm512_cvtepi64_epi32((__m512i)bits));
#else
        for (int k = 0; k < 8; ++k) update[i + k] = static_cast<int32_t>(bits[k]);
#endif
    }
    return largest;
}

void pack_signs(const int8_t* row, int64_t n, int m, uint64_t* words, uint8_t* bytes) {
    for (int64_t i = 0; i < n; i += 64) {
#if COINR_LEVEL == 2
        const __mmask64 word = _mm512_movepi8_mask(_mm512_loadu_si512(row + i));
        const __m512i bit = _mm512_maskz_set1_epi8(word, static_cast<char>(1 << m));
        const __m512i before = m > 0 ? _mm512_loadu_si512(bytes + i) : _mm512_setzero_si512();
        _mm512_storeu_si512(bytes + i, _mm512_or_si512(before, bit));
        words[i / 8 + m] = word;
#else
        uint64_t word = 0;
        for (int64_t b = 0; b < 64; ++b) {
            const uint8_t bit = static_cast<uint8_t>(row[i + b]) >> 7;
            word |= static_cast<uint64_t>(bit) << b;
            bytes[i + b] = static_cast<uint8_t>((m > 0 ? bytes[i + b] : 0) | bit << m);
        }
        words[i / 8 + m] = word;
#endif
    }
    if (m > 0) return;
    for (int64_t i = 0; i < n; i += 64)
        for (int other = 1; other < 8; ++other) words[i / 8 + other] = 0;
}

void unpack_signs(const uint64_t* words, int64_t n, int64_t entries, int8_t* out) {
    for (int64_t i = 0; i < n; i += 64) {
        const uint64_t word = words[i / 8];
#if COINR_LEVEL == 2
        _mm512_storeu_si512(out + i, _mm512_mask_blend_epi8(word, _mm512_set1_epi8(1), _mm512_set1_epi8(-1)));
#else
        for (int b = 0; b < 64; ++b) out[i + b] = static_cast<int8_t>(1 - 2 * static_cast<int>(word >> b & 1));
#endif
    }
    for (int64_t i = entries; i < n; ++i) out[i] = 0;
}

void gram_signs(const uint64_t* words, const int8_t* row, int64_t k, int64_t n, int64_t entries, double* out) {
    constexpr int64_t kMaxTogether = 64;  // words of the row at a time
    for (int64_t first = 0; first < k; first += 8) store(out + first, f64x8{} + static_cast<double>(entries));
    for (int64_t begin = 0; begin < n / 64; begin += kMaxTogether) {
        const int64_t count = n / 64 - begin < kMaxTogether ? n / 64 - begin : kMaxTogether;
        uint64_t signs[kMaxTogether];
        for (int64_t w = 0; w < count; ++w) {
            const int8_t* entry = row + 64 * (begin + w);
#if COINR_LEVEL == 2
            signs[w] = _mm512_movepi8_mask(_mm512_loadu_si512(entry));
#else
            signs[w] = 0;
            for (int b = 0; b < 64; ++b) signs[w] |= static_cast<uint64_t>(static_cast<uint8_t>(entry[b]) >> 7) << b;
#endif
        }
        const uint64_t* group = words + 8 * begin;
        for (int64_t first = 0; first < k; first += 8, group += n / 8) {
            u64x8 differ = {};
            for (int64_t w = 0; w < count; ++w) {
                const u64x8 mixed = load<u64x8>(group + 8 * w) ^ signs[w];
#if COINR_LEVEL == 2
                differ += (u64x8)_mm512_popcnt_epi64((__m512i)mixed);
#else
                for (int m = 0; m < 8; ++m) differ[m] += static_cast<uint64_t>(__builtin_popcountll(mixed[m]));
#endif
            }
            for (int m = 0; m < 8; ++m) out[first + m] -= 2.0 * static_cast<double>(differ[m]);
        }
    }
}

// Fills table[signs] = the sum of the four levels, level m negated if bit m of `signs` is set.
COINR_INLINE void sign_table(const int32_t* u, int32_t* table) {
    i32x16 sums = i32x16{} + (u[0] + u[1] + u[2] + u[3]);
    const i32x16 choice = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#pragma GCC unroll 4
    for (int m = 0; m < 4; ++m) sums -= (i32x16{} + 2 * u[m]) & -((choice >> m) & 1);
    store(table, sums);
}

void subtract_signs(const uint8_t* bytes, int64_t stride, const int32_t* u, int64_t k, int64_t n, double step,
                    float* r) {
    constexpr int64_t kMaxTogether = 64;  // as subtract: rounds to float32 after so many atoms
    int32_t tables[kMaxTogether / 4][16];
    for (int64_t begin = 0; begin < k; begin += kMaxTogether, bytes += kMaxTogether / 8 * stride) {
        const int64_t groups = ((k - begin < kMaxTogether ? k - begin : kMaxTogether) + 7) / 8;
        for (int64_t t = 0; t < 2 * groups; ++t) sign_table(u + begin + 4 * t, tables[t]);
        for (int64_t i = 0; i < n; i += 64) {
            int32_t sums[64];
#if COINR_LEVEL == 2
            __m512i total[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                                _mm512_setzero_si512()};
            for (int64_t g = 0; g < groups; ++g) {
                const __m512i low = _mm512_loadu_si512(tables[2 * g]), high = _mm512_loadu_si512(tables[2 * g + 1]);
#pragma GCC unroll 4
                for (int q = 0; q < 4; ++q) {
                    const __m512i signs =
                        _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)(bytes + g * stride + i + 16 * q)));
                    // The lookup reads only the low four bits.
                    total[q] = _mm512_add_epi32(total[q], _mm512_permutexvar_epi32(signs, low));
                    total[q] = _mm512_add_epi32(
                        total[q], _mm512_permutexvar_epi32(_mm512_srli_epi32(signs, 4), high));
                }
            }
            for (int q = 0; q < 4; ++q) _mm512_storeu_si512(sums + 16 * q, total[q]);
#else
            for (int e = 0; e < 64; ++e) sums[e] = 0;
            for (int64_t g = 0; g < groups; ++g) {
                const uint8_t* signs = bytes + g * stride + i;
                for (int e = 0; e < 64; ++e) sums[e] += tables[2 * g][signs[e] & 15] + tables[2 * g + 1][signs[e] >> 4];
            }
#endif
            for (int e = 0; e < 64; e += 8) {
#if COINR_LEVEL == 2
                const f64x8 sum = (f64x8)_mm512_cvtepi32_pd(_mm256_loadu_si256((const __m256i*)(sums + e)));
                const f64x8 x = widen_f64x8(r + i + e) - sum * step;
                _mm256_storeu_ps(r + i + e, _mm512_cvtpd_ps((__m512d)x));
#else
                for (int l = e; l < e + 8; ++l) r[i + l] = static_cast<float>(r[i + l] - sums[l] * step);
#endif
            }
        }
    }
}

}  // namespace
}  // namespace coinr
