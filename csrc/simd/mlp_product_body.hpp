// Products of small matrices whose columns fill the lanes, and transposition. See kernels_body.hpp for how such files
// are used.

namespace coinr {
namespace {

// A block of R rows from `first` on and NV vectors of columns from j on, whose sums stay in registers.
template <int R, int NV, bool packed>
void multiply_block(const Product& t, const float* a, const float* b, int64_t first, int64_t j) {
    float* const c = t.c + first * t.c_stride + j;
    Floats sum[R][NV];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v)
            sum[r][v] = t.start  ? load(t.start + (first + r) * t.c_stride + j + v * kLanes)
                        : t.bias ? all(t.bias[first + r])
                                 : Floats{};
    const int64_t row = packed ? 1 : t.a_stride, next = packed ? R : t.a_step, b_stride = t.b_stride;
    for (int64_t k = 0; k < t.depth; ++k, a += next, b += b_stride) {
        Floats x[NV];
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) x[v] = load(b + v * kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const Floats w = all(a[r * row]);
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v) sum[r][v] = multiply_add(w, x[v], sum[r][v]);
        }
    }
    if (!packed || !t.factor) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v) store(c + r * t.c_stride + v * kLanes, sum[r][v]);
        return;
    }
    const float* const factor = t.factor + first * t.c_stride + j;
    float* const sums = t.sums + first * kLanes;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        Floats total = load(sums + r * kLanes);
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) {
            const Floats product = sum[r][v] * load(factor + r * t.c_stride + v * kLanes);
            store(c + r * t.c_stride + v * kLanes, product);
            total += product;
        }
        store(sums + r * kLanes, total);
    }
}

typedef void (*Block)(const Product&, const float*, const float*, int64_t, int64_t);

template <int R, bool packed>
Block block_of_vectors(int64_t vectors) {
#if COINR_LEVEL == 2
    if (vectors == 4) return multiply_block<R, 4, packed>;
    if (vectors == 3) return multiply_block<R, 3, packed>;
#endif
    return vectors == 2 ? multiply_block<R, 2, packed> : multiply_block<R, 1, packed>;
}

template <bool packed>
Block block_of(int64_t rows, int64_t vectors) {
    switch (rows) {
        case 1: return block_of_vectors<1, packed>(vectors);
        case 2: return block_of_vectors<2, packed>(vectors);
        case 3: return block_of_vectors<3, packed>(vectors);
        case 4: return block_of_vectors<4, packed>(vectors);
        case 5: return block_of_vectors<5, packed>(vectors);
        default: return block_of_vectors<6, packed>(vectors);
    }
}

void multiply(const Product& t) {
    const int64_t blocks = block_count(t.rows);
    for (int64_t j = 0; j < t.columns; j += kColumns) {
        const float* const b = t.b + j / kColumns * t.b_block;
        const int64_t vectors = (t.columns - j < kColumns ? t.columns - j : kColumns) / kLanes;
        for (int64_t i = 0, r = 0; i < blocks; ++i) {
            const int64_t next = block_begin(t.rows, i + 1), rows = next - r;
            const float* const a = t.packed ? t.a + r * t.depth : t.a + r * t.a_stride;
            const Block block = t.packed ? block_of<true>(rows, vectors) : block_of<false>(rows, vectors);
            block(t, a, b, r, j);
            r = next;
        }
    }
}

// Lane g of the result, of four floats each, is row 4 g of `in`.
COINR_INLINE Floats load_quads(const float* in, int64_t stride) {
#if COINR_LEVEL == 2
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(in));
    v = _mm512_mask_broadcast_f32x4(v, 0x00F0, _mm_loadu_ps(in + 4 * stride));
    v = _mm512_mask_broadcast_f32x4(v, 0x0F00, _mm_loadu_ps(in + 8 * stride));
    return (Floats)_mm512_mask_broadcast_f32x4(v, 0xF000, _mm_loadu_ps(in + 12 * stride));
#elif COINR_LEVEL == 1
    return (Floats)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(in)), _mm_loadu_ps(in + 4 * stride), 1);
#else
    (void)stride;
    return load(in);
#endif
}

#if COINR_LEVEL == 2
COINR_INLINE Floats low_singles(Floats a, Floats b) { return (Floats)_mm512_unpacklo_ps((__m512)a, (__m512)b); }
COINR_INLINE Floats high_singles(Floats a, Floats b) { return (Floats)_mm512_unpackhi_ps((__m512)a, (__m512)b); }
COINR_INLINE Floats low_pairs(Floats a, Floats b) { return (Floats)_mm512_unpacklo_pd((__m512d)a, (__m512d)b); }
COINR_INLINE Floats high_pairs(Floats a, Floats b) { return (Floats)_mm512_unpackhi_pd((__m512d)a, (__m512d)b); }
#elif COINR_LEVEL == 1
COINR_INLINE Floats low_singles(Floats a, Floats b) { return (Floats)_mm256_unpacklo_ps((__m256)a, (__m256)b); }
COINR_INLINE Floats high_singles(Floats a, Floats b) { return (Floats)_mm256_unpackhi_ps((__m256)a, (__m256)b); }
COINR_INLINE Floats low_pairs(Floats a, Floats b) { return (Floats)_mm256_unpacklo_pd((__m256d)a, (__m256d)b); }
COINR_INLINE Floats high_pairs(Floats a, Floats b) { return (Floats)_mm256_unpackhi_pd((__m256d)a, (__m256d)b); }
#else
COINR_INLINE Floats low_singles(Floats a, Floats b) { return Floats{a[0], b[0], a[1], b[1]}; }
COINR_INLINE Floats high_singles(Floats a, Floats b) { return Floats{a[2], b[2], a[3], b[3]}; }
COINR_INLINE Floats low_pairs(Floats a, Floats b) { return Floats{a[0], a[1], b[0], b[1]}; }
COINR_INLINE Floats high_pairs(Floats a, Floats b) { return Floats{a[2], a[3], b[2], b[3]}; }
#endif

// kLanes rows, four columns: within each group of four lanes these are 4 by 4 matrices.
COINR_INLINE void transpose_quads(const float* in, int64_t stride, float* out, int64_t out_stride) {
    const Floats a = load_quads(in, stride), b = load_quads(in + stride, stride);
    const Floats c = load_quads(in + 2 * stride, stride), d = load_quads(in + 3 * stride, stride);
    const Floats ab0 = low_singles(a, b), ab1 = high_singles(a, b), cd0 = low_singles(c, d), cd1 = high_singles(c, d);
    store(out, low_pairs(ab0, cd0));
    store(out + out_stride, high_pairs(ab0, cd0));
    store(out + 2 * out_stride, low_pairs(ab1, cd1));
    store(out + 3 * out_stride, high_pairs(ab1, cd1));
}

void transpose(const float* in, int64_t rows, int64_t columns, float* out) {
    for (int64_t r = 0; r < rows; r += kLanes) {
        float* const block = out + r / kColumns * columns * kColumns + r % kColumns;
        for (int64_t j = 0; j < columns; j += 4)
            transpose_quads(in + r * kTile + j, kTile, block + j * kColumns, kColumns);
    }
}

void mirror(const float* in, int64_t rows, int64_t columns, float* out, int64_t stride) {
    for (int64_t r = 0; r < rows; r += kLanes)
        for (int64_t j = 0; j < columns; j += 4)
            transpose_quads(in + r * stride + j, stride, out + j * stride + r, stride);
}

// N vectors of columns.
template <int64_t N>
void outer_block(const float* a, int64_t rows, const float* b, int64_t count, float* sums) {
    for (int64_t c = 0; c < count; ++c) {
        Floats x[N];
#pragma GCC unroll 4
        for (int64_t v = 0; v < N; ++v) x[v] = load(b + c * kTile + v * kLanes);
        for (int64_t r = 0; r < rows; ++r) {
            float* const at = sums + (r * count + c) * kLanes;
            Floats sum = load(at);
#pragma GCC unroll 4
            for (int64_t v = 0; v < N; ++v) sum = multiply_add(load(a + r * kTile + v * kLanes), x[v], sum);
            store(at, sum);
        }
    }
}

void outer(const float* a, int64_t rows, const float* b, int64_t count, int64_t columns, float* sums) {
    int64_t j = 0;
    for (; j + 4 * kLanes <= columns; j += 4 * kLanes) outer_block<4>(a + j, rows, b + j, count, sums);
    for (; j < columns; j += kLanes) outer_block<1>(a + j, rows, b + j, count, sums);
}

}  // namespace
}  // namespace coinr
