#include "omp.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "kernels.hpp"
#include "lsq.hpp"
#include "screen.hpp"
#include "select.hpp"
#include "team.hpp"

namespace coinr {
namespace {

// A pursuit ends when the best normalised correlation is at most this share of |w|.
constexpr double kStop = 1e-6;

struct Output {
    int32_t* indices;
    float* values;
    float* path;
};

// Room for the pursuits of one block of vectors, in bytes.
constexpr int64_t kBlockBytes = int64_t{64} << 20;
constexpr int64_t kCacheBytes = int64_t{1} << 20;

int64_t block_size(int64_t n, int64_t s, int64_t room) {
    const int64_t each = s * padded(n) + 4 * s * s + 16 * s + 8 * padded(n) + 512;
    return std::max<int64_t>(1, room / each);
}

void record_energy(const Pursuit& p, float* path) {
    *path = static_cast<float>(std::ldexp(p.energy(), 2 * p.exponent()));
}

void finish(Pursuit& p, int64_t s, int32_t* indices, float* values, float* path) {
    const int64_t k = p.size();
    if (k > 0) p.refresh();
    const std::vector<double> x = p.solution();
    record_energy(p, path + k);
    for (int64_t i = 0; i < k; ++i) {
        indices[i] = p.support()[i];
        values[i] = static_cast<float>(std::ldexp(x[i], p.exponent()));
    }
    for (int64_t i = k; i < s; ++i) {
        indices[i] = -1;
        values[i] = 0.0f;
        path[i + 1] = path[k];
    }
}

using Select = std::function<std::vector<Choice>(const std::vector<Query>&, Team&)>;

// Runs one block of vectors in lockstep.
void pursue_block(const Dictionary& dictionary, const Select& select, const float* W, int64_t B, int64_t s, Team& team,
                  Output out) {
    std::vector<Pursuit> pursuits(B);
    std::vector<char> active(B, 1);
    team.for_each(B, 4, [&](int64_t b, int) {
        pursuits[b].start(dictionary, W + b * dictionary.n, s);
        record_energy(pursuits[b], out.path + b * (s + 1));
        active[b] = s > 0 && pursuits[b].input_energy() > 0;
    });
    std::vector<int64_t> who;
    std::vector<Query> queries;
    while (true) {
        who.clear();
        queries.clear();
        for (int64_t b = 0; b < B; ++b) {
            if (!active[b]) continue;
            who.push_back(b);
            queries.push_back({pursuits[b].residual(), &pursuits[b].support()});
        }
        if (who.empty()) break;
        const std::vector<Choice> choices = select(queries, team);
        team.for_each(static_cast<int64_t>(who.size()), 4, [&](int64_t v, int) {
            const int64_t b = who[v];
            Pursuit& p = pursuits[b];
            const Choice& choice = choices[v];
            const double floor = kStop * std::sqrt(p.input_energy());
            if (choice.atom < 0 || std::fabs(choice.score) <= floor || !p.add(dictionary, choice.atom)) {
                active[b] = 0;
                return;
            }
            record_energy(p, out.path + b * (s + 1) + p.size());
            active[b] = p.size() < s;
        });
    }
    team.for_each(B, 4, [&](int64_t b, int) {
        finish(pursuits[b], s, out.indices + b * s, out.values + b * s, out.path + b * (s + 1));
    });
}

}  // namespace

void correlate_argmax(const Dictionary& dictionary, const float* R, int64_t B, int threads, bool exact, int32_t* best,
                      float* value) {
    Team team(threads);
    if (B == 0) return;
    const int64_t n = dictionary.n, stride = padded(n);
    std::vector<float> residuals(B * stride, 0.0f);
    const std::vector<int32_t> none;
    std::vector<Query> queries(B);
    for (int64_t b = 0; b < B; ++b) {
        std::copy_n(R + b * n, n, residuals.data() + b * stride);
        queries[b] = {residuals.data() + b * stride, &none};
    }
    const bool dense = exact || dictionary.kind == Kind::hadamard;
    const std::vector<Choice> choices = dense ? select_exact(dictionary, queries, team)
                                              : select_screened(TileSource(dictionary, team), queries, team);
    for (int64_t b = 0; b < B; ++b) {
        best[b] = static_cast<int32_t>(choices[b].atom);
        value[b] = static_cast<float>(choices[b].score);
    }
}

void omp(const Dictionary& dictionary, const float* W, int64_t B, int64_t s, int threads, bool exact,
         int32_t* indices, float* values, float* path) {
    Team team(threads);
    if (B == 0) return;
    const int64_t n = dictionary.n;
    const auto block_output = [&](int64_t b) { return Output{indices + b * s, values + b * s, path + b * (s + 1)}; };
    if (exact || dictionary.kind == Kind::hadamard) {
        const Select select = [&](const std::vector<Query>& queries, Team& members) {
            return select_exact(dictionary, queries, members);
        };
        const int64_t block = block_size(n, s, kBlockBytes);
        for (int64_t b = 0; b < B; b += block)
            pursue_block(dictionary, select, W + b * n, std::min(block, B - b), s, team, block_output(b));
        return;
    }
    const TileSource source(dictionary, team);
    const Select select = [&](const std::vector<Query>& queries, Team& members) {
        return select_screened(source, queries, members);
    };
    if (!source.cached()) {
        const int64_t block = block_size(n, s, kBlockBytes);
        for (int64_t b = 0; b < B; b += block)
            pursue_block(dictionary, select, W + b * n, std::min(block, B - b), s, team, block_output(b));
        return;
    }
    // Tiles at hand serve small blocks as well as large ones: each thread takes blocks that stay in its cache.
    const int64_t block = std::min(block_size(n, s, kCacheBytes), (B + threads - 1) / threads);
    team.for_each((B + block - 1) / block, 1, [&](int64_t i, int) {
        Team alone(1);
        pursue_block(dictionary, select, W + i * block * n, std::min(block, B - i * block), s, alone,
                     block_output(i * block));
    });
}

}  // namespace coinr
