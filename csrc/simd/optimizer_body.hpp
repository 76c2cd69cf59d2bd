// Parts of optimizers' steps, vector by vector. See kernels_body.hpp for how such files are used.

namespace coinr {
namespace {

COINR_INLINE Floats square_root(Floats x) {
#if COINR_LEVEL == 2
    return (Floats)_mm512_sqrt_ps((__m512)x);
#elif COINR_LEVEL == 1
    return (Floats)_mm256_sqrt_ps((__m256)x);
#else
    for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
}

// Up to kLanes floats, then zeros.
COINR_INLINE Floats load_some(const float* p, int64_t count) {
#if COINR_LEVEL == 2
    return (Floats)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
#else
    Floats v{};
    for (int64_t i = 0; i < count; ++i) v[i] = p[i];
    return v;
#endif
}
COINR_INLINE void store_some(float* p, Floats v, int64_t count) {
#if COINR_LEVEL == 2
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), (__m512)v);
#else
    for (int64_t i = 0; i < count; ++i) p[i] = v[i];
#endif
}

// Calls body(first, load, store) for each vector; the functions leave out what lies beyond the last float.
template <class Body>
COINR_INLINE void for_floats(int64_t count, const Body& body) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
        body(
            i, [](const float* p) { return load(p); }, [](float* p, Floats v) { store(p, v); });
    if (i == count) return;
    const int64_t left = count - i;
    body(
        i, [=](const float* p) { return load_some(p, left); }, [=](float* p, Floats v) { store_some(p, v, left); });
}

void adam(const AdamTask& task) {
    const AdamTask t = task;
    for_floats(t.count, [&](int64_t i, const auto& get, const auto& put) {
        const Floats g = get(t.gradients + i), before = get(t.means + i);
        const Floats mean = multiply_add(all(t.mean_weight), g - before, before);
        const Floats square = multiply_add(g * t.square_weight, g, get(t.squares + i) * t.square_decay);
        put(t.means + i, mean);
        put(t.squares + i, square);
        const Floats root = square_root(square * t.square_scale) + t.eps;
        put(t.values + i, get(t.values + i) - mean / root * t.rate);
    });
}

double mix(const float* gradient, float* mean, float weight, int64_t count, float* out) {
    Doubles sum{};
    for_floats(count, [&](int64_t i, const auto& get, const auto& put) {
        const Floats g = get(gradient + i), before = get(mean + i);
        const Floats after = multiply_add(all(weight), g - before, before);
        put(mean + i, after);
        const Floats mixed = multiply_add(all(weight), g - after, after);
        store(out + i, mixed);
        const Doubles wide = __builtin_convertvector(mixed, Doubles);
        sum += wide * wide;
    });
    double total = 0;
    for (int i = 0; i < kLanes; ++i) total += sum[i];
    return total;
}

void scale(float* y, float factor, int64_t count) {
    for_floats(count, [&](int64_t i, const auto& get, const auto& put) { put(y + i, get(y + i) * factor); });
}

void combine(float* y, float beta, const float* x, float alpha, int64_t count) {
    for_floats(count, [&](int64_t i, const auto& get, const auto& put) {
        put(y + i, multiply_add(get(x + i), all(alpha), get(y + i) * beta));
    });
}

}  // namespace
}  // namespace coinr
