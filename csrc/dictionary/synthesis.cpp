#include "dictionary/synthesis.hpp"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "simd/kernels.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {
namespace {

struct Scratch {
    std::vector<int8_t> row;
    std::vector<int32_t> narrow;
    std::vector<int64_t> wide;
};

int64_t max_entry(Kind kind) { return kind == Kind::gaussian ? 4 : 1; }

template <class Acc, class Add>
void one_vector(const Dictionary& d, const int32_t* indices, const int32_t* q, int64_t s, float step, Add add,
                std::vector<int8_t>& row, std::vector<Acc>& acc, float* out) {
    acc.assign(d.n, 0);
    for (int64_t k = 0; k < s; ++k) {
        if (q[k] == 0) continue;
        d.row(indices[k], row.data());
        add(row.data(), q[k], d.n, acc.data());
    }
    for (int64_t i = 0; i < d.n; ++i) out[i] = static_cast<float>(acc[i]) * step;
}

}  // namespace

void synthesize(const Dictionary& dictionary, const int32_t* indices, const int32_t* q, int64_t B, int64_t s,
                float step, int threads, float* out) {
    if (!std::isnormal(step))
        throw std::invalid_argument("step is " + std::to_string(step) + "; it must be a normal float32");
    for (int64_t i = 0; i < B * s; ++i)
        if (indices[i] < 0 || indices[i] >= dictionary.M)
            throw std::invalid_argument("index " + std::to_string(indices[i]) + " is not in 0 to M - 1 = " +
                                        std::to_string(dictionary.M - 1));
    const int64_t largest = max_entry(dictionary.kind);
    const Kernels& kernel = kernels();
    Team team(threads);
    std::vector<Scratch> scratch(team.size());
    team.for_each(B, 1, [&](int64_t b, int rank) {
        Scratch& own = scratch[rank];
        own.row.resize(padded(dictionary.n));
        const int32_t* qs = q + b * s;
        int64_t bound = 0;
        for (int64_t k = 0; k < s; ++k) bound += largest * std::llabs(static_cast<int64_t>(qs[k]));
        float* w = out + b * dictionary.n;
        if (bound <= std::numeric_limits<int32_t>::max())
            one_vector<int32_t>(dictionary, indices + b * s, qs, s, step, kernel.add_i32, own.row, own.narrow, w);
        else
            one_vector<int64_t>(dictionary, indices + b * s, qs, s, step, kernel.add_i64, own.row, own.wide, w);
        if (!std::isfinite(static_cast<float>(bound) * step))
            for (int64_t i = 0; i < dictionary.n; ++i)
                if (!std::isfinite(w[i])) throw std::invalid_argument("a synthesized weight is not finite");
    });
}

}  // namespace coinr
