// Activations of rows of a tile, their derivatives, and the encoding of coordinates. See kernels_body.hpp for how such
// files are used.

namespace coinr {
namespace {

// Calls f(at) for every vector of the rows.
template <class F>
COINR_INLINE void for_vectors(int64_t rows, int64_t columns, F f) {
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t j = 0; j < columns; j += kLanes) f(r * kTile + j);
}

// Sines of a row, and their derivatives in `kept`. Whether a number is far is asked once.
template <bool with_cosine>
COINR_INLINE void sine_row(float* y, float* kept, int64_t columns) {
    Floats most = {};
    for (int64_t j = 0; j < columns; j += kLanes) most = larger_magnitude(load(y + j), most);
    const bool far = any_far(most);
    for (int64_t j = 0; j < columns; j += kLanes) {
        Floats s, c;
        if (__builtin_expect(far, 0))
            sines<with_cosine>(load(y + j), s, c);
        else
            near_sines<with_cosine>(load(y + j), s, c);
        store(y + j, s);
        if (with_cosine) store(kept + j, c);
    }
}

COINR_INLINE Floats factor_of_finer(Floats z, float omega) { return (magnitude(z) + 1.0f) * omega; }

// Activations alone.
void activate_forward(const ActivationTask& t) {
    float* const y = t.y;
    const float omega = t.omega;
    switch (t.activation) {
        case Activation::sine:
            for (int64_t r = 0; r < t.rows; ++r) sine_row<false>(y + r * kTile, nullptr, t.columns);
            return;
        case Activation::finer:
            return for_vectors(t.rows, t.columns, [=](int64_t at) {
                const Floats z = load(y + at);
                Floats s, none;
                sines<false>(factor_of_finer(z, omega) * z, s, none);
                store(y + at, s);
            });
        case Activation::gauss:
            return for_vectors(t.rows, t.columns, [=](int64_t at) {
                const Floats z = load(y + at);
                store(y + at, exponential(-(z * z)));
            });
        case Activation::relu:
            return for_vectors(t.rows, t.columns, [=](int64_t at) {
                const Floats z = load(y + at);
                store(y + at, choose(z < 0.0f, Floats{}, z));
            });
        case Activation::sigmoid:
            return for_vectors(t.rows, t.columns,
                               [=](int64_t at) { store(y + at, 1.0f / (exponential(-load(y + at)) + 1.0f)); });
        default: return;
    }
}

// Activations, and their derivatives in `kept`.
void activate_both(const ActivationTask& t) {
    float *const y = t.y, *const kept = t.kept;
    const float omega = t.omega;
    switch (t.activation) {
        case Activation::sine:
            for (int64_t r = 0; r < t.rows; ++r) sine_row<true>(y + r * kTile, kept + r * kTile, t.columns);
            return;
        case Activation::finer:
            return for_vectors(t.rows, t.columns, [=](int64_t at) {
                const Floats z = load(y + at), factor = factor_of_finer(z, omega);
                Floats s, c;
                sines<true>(factor * z, s, c);
                store(y + at, s);
                store(kept + at, c * factor);
            });
        case Activation::gauss:
            return for_vectors(t.rows, t.columns, [=](int64_t at) {
                const Floats z = load(y + at), e = exponential(-(z * z));
                store(y + at, e);
                store(kept + at, z * e * -2.0f);
            });
        case Activation::relu:
            return for_vectors(t.rows, t.columns, [=](int64_t at) {
                const Floats z = load(y + at);
                store(y + at, choose(z < 0.0f, Floats{}, z));
                store(kept + at, choose(z <= 0.0f, Floats{}, all(1.0f)));
            });
        case Activation::sigmoid:
            return for_vectors(t.rows, t.columns, [=](int64_t at) {
                const Floats e = 1.0f / (exponential(-load(y + at)) + 1.0f);
                store(y + at, e);
                store(kept + at, e * (1.0f - e));
            });
        default: return;
    }
}

// y = exp(i omega z - |scale z|^2): real parts in rows 0 to n, imaginary ones in the n rows after them. z is kept.
void activate_gabor(const ActivationTask& t) {
    const bool complex = t.activation == Activation::gabor_complex;
    const int64_t n = complex ? t.rows / 2 : t.rows, imaginary = n * kTile;
    float *const y = t.y, *const kept = t.kept;
    const float omega = t.omega, narrow = t.scale * t.scale;
    for_vectors(n, t.columns, [=](int64_t at) {
        const Floats u = load(y + at), v = complex ? load(y + at + imaginary) : Floats{};
        if (kept) {
            store(kept + at, u);
            if (complex) store(kept + at + imaginary, v);
        }
        const Floats size = exponential(-(v * omega) - (u * u + v * v) * narrow);
        Floats s, c;
        sines<true>(u * omega, s, c);
        store(y + at, size * c);
        store(y + at + imaginary, size * s);
    });
}

void activate(const ActivationTask& t) {
    if (t.activation == Activation::gabor || t.activation == Activation::gabor_complex) return activate_gabor(t);
    return t.kept ? activate_both(t) : activate_forward(t);
}

void differentiate_gabor(const ActivationTask& t) {
    const bool complex = t.activation == Activation::gabor_complex;
    const int64_t n = complex ? t.rows / 2 : t.rows, imaginary = n * kTile;
    float* const g = t.gradient;
    const float *const y = t.y, *const kept = t.kept;
    const float omega = t.omega, narrow = 2 * t.scale * t.scale;
    for_vectors(n, t.columns, [=](int64_t at) {
        const Floats real = load(g + at), other = load(g + at + imaginary);
        const Floats c = load(y + at), s = load(y + at + imaginary);
        const Floats along = real * c + other * s, across = other * c - real * s;
        store(g + at, across * omega - load(kept + at) * narrow * along);
        if (complex) store(g + at + imaginary, -(load(kept + at + imaginary) * narrow + omega) * along);
    });
}

void differentiate(const ActivationTask& t) {
    const bool gabor = t.activation == Activation::gabor || t.activation == Activation::gabor_complex;
    if (gabor) differentiate_gabor(t);
    const bool factor = !gabor && t.activation != Activation::none;
    for (int64_t r = 0; r < t.rows; ++r) {
        float* const g = t.gradient + r * kTile;
        const float* const kept = t.kept + r * kTile;
        Floats sum = load(t.sums + r * kLanes);
        for (int64_t j = 0; j < t.columns; j += kLanes) {
            Floats v = load(g + j);
            if (factor) {
                v *= load(kept + j);
                store(g + j, v);
            }
            sum += v;
        }
        store(t.sums + r * kLanes, sum);
    }
}

void encode(float* rows, int64_t features, const float* frequencies, int64_t count, int64_t columns) {
    float* out = rows + features * kTile;
    for (int64_t i = 0; i < count; ++i, out += 2 * features * kTile) {
        const float frequency = frequencies[i];
        for_vectors(features, columns, [=](int64_t at) {
            Floats s, c;
            sines<true>(load(rows + at) * frequency, s, c);
            store(out + at, s);
            store(out + features * kTile + at, c);
        });
    }
}

void encode_gradient(const float* rows, float* gradient, int64_t features, const float* frequencies, int64_t count,
                     int64_t columns) {
    const int64_t cosine = features * kTile;
    for (int64_t i = 0; i < count; ++i) {
        const int64_t sine = (1 + 2 * i) * features * kTile;
        const float frequency = frequencies[i];
        for_vectors(features, columns, [=](int64_t at) {
            const int64_t s = sine + at, c = s + cosine;
            const Floats change = load(gradient + s) * load(rows + c) - load(gradient + c) * load(rows + s);
            store(gradient + at, load(gradient + at) + change * frequency);
        });
    }
}

void sine(const float* x, int64_t count, float* sine, float* cosine) {
    for (int64_t i = 0; i < count; i += kLanes) {
        Floats s, c;
        sines<true>(load(x + i), s, c);
        store(sine + i, s);
        store(cosine + i, c);
    }
}

}  // namespace
}  // namespace coinr
