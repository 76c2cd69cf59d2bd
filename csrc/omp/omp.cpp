#include "omp/omp.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include "omp/hadamard.hpp"
#include "omp/least_squares.hpp"
#include "omp/screen.hpp"
#include "omp/select.hpp"
#include "simd/aligned.hpp"
#include "simd/kernels.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {
namespace {

// A pursuit ends when the best normalized correlation is at most this times |w|.
constexpr double kStop = 1e-6;

struct Output {
    int32_t* indices;
    float* values;
    float* path;
};

// Rounds in which threads that share few vectors work on each: a round costs a lock, and long rounds make threads wait
// at the end. The gain of a second core is in bench/results/omp_scaling.json.
constexpr int64_t kRoundsPerVector = 128;
// From this many vectors per thread on, whole vectors are shared evenly enough.
constexpr int64_t kFewPerThread = 8;

// Bytes for the pursuits of one block of vectors: in memory, and in a core's cache.
constexpr int64_t kBlockBytes = int64_t{64} << 20;
constexpr int64_t kCacheBytes = int64_t{3} << 19;

// Blocks are multiples of the number of vectors that a kernel takes at once (12 rows, or lanes of a transform).
int64_t group_of(const Dictionary& dictionary) {
    return dictionary.kind == Kind::hadamard ? HadamardScreen::lanes(dictionary) : 48;
}

// Returns how many vectors fit in `bytes`, with `extra` bytes for each beside its pursuit.
int64_t block_size(const Dictionary& dictionary, int64_t s, int64_t bytes, int64_t extra = 0) {
    const int64_t atoms = s * padded(dictionary.n) / (dictionary.kind == Kind::gaussian ? 1 : 4);
    const int64_t each = atoms + 4 * s * s + 64 * s + 10 * padded(dictionary.n) + 512 + extra;
    return std::max<int64_t>(1, bytes / each);
}

// Returns how many vectors make a block for one of several threads: whole groups that fit its cache, as many as
// minimize the work of the busiest thread.
int64_t parallel_block_size(const Dictionary& dictionary, int64_t B, int64_t s, int threads) {
    const int64_t share = (B + threads - 1) / threads, group = group_of(dictionary);
    const int64_t max_size = std::min(block_size(dictionary, s, kCacheBytes), share);
    if (max_size <= group) return max_size;
    const auto longest = [&](int64_t size) { return ((B + size - 1) / size + threads - 1) / threads * size; };
    int64_t best = max_size / group * group;
    for (int64_t size = best; size > 0; size -= group)
        if (longest(size) < longest(best)) best = size;
    return best;
}

void record_energy(const Pursuit& p, float* path) {
    *path = static_cast<float>(std::ldexp(p.energy(), 2 * p.exponent()));
}

void finish(Pursuit& p, int64_t s, int32_t* indices, float* values, float* path, Team& team) {
    const int64_t k = p.size();
    if (k > 0) p.refresh(team);
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

// Whether all threads should work on each vector: there are fewer vectors than threads, and each is long.
bool share_each_vector(const Dictionary& dictionary, int64_t B, const Team& team) {
    return dictionary.n >= 2048 && B < team.size();
}

// Whether whole vectors would leave some threads idle for much of the time.
bool uneven_split(int64_t B, int threads) { return B > threads && B < kFewPerThread * threads && B % threads != 0; }

using Select = std::function<std::vector<Choice>(const std::vector<Query>&, Team&)>;

// One block of vectors and the place of their results.
class Block {
public:
    // `pursuits` is memory that one block after another may use.
    Block(const Dictionary& dictionary, const float* W, int64_t B, int64_t s, Team& team, Output out,
          std::vector<Pursuit>& pursuits)
        : dictionary_(dictionary), B_(B), s_(s), team_(team), out_(out), pursuits_(pursuits), active_(B, 1) {
        if (static_cast<int64_t>(pursuits_.size()) < B_) pursuits_.resize(B_);
        team_.for_each(B_, 4, [&](int64_t b, int) {
            pursuits_[b].start(dictionary_, W + b * dictionary_.n, s_);
            record_energy(pursuits_[b], out_.path + b * (s_ + 1));
            active_[b] = s_ > 0 && pursuits_[b].input_energy() > 0;
        });
    }

    // Picks one atom for every active vector. Returns false when no vector is active and the results are written.
    bool pass(const Select& select) {
        const std::vector<int64_t> active = active_vectors();
        if (active.empty()) {
            finish_all();
            return false;
        }
        std::vector<Query> queries;
        for (const int64_t b : active) queries.push_back(query(b));
        const std::vector<Choice> choices = select(queries, team_);
        for_vectors(static_cast<int64_t>(active.size()),
                    [&](int64_t v, int, Team& team) { add(active[v], choices[v], team); });
        return true;
    }

    void run(const Select& select) {
        while (pass(select)) {
        }
    }

    // Picks as many atoms for every active vector per pass as its lazy candidates allow.
    void run_lazily(Screen& screen) {
        std::vector<LazyCandidates> lazy(B_);
        std::vector<Aligned<int8_t>> rows(team_.size(), Aligned<int8_t>(padded(dictionary_.n)));
        while (true) {
            const std::vector<int64_t> active = active_vectors();
            if (active.empty()) break;
            std::vector<Query> queries;
            for (const int64_t b : active) queries.push_back(query(b));
            screen.collect_top(queries, team_);
            std::vector<char> needs_refill(active.size(), 1), undecided(active.size(), 0);
            const auto pick = [&](int64_t v, Aligned<int8_t>* scratch, Team& team) {
                const int64_t b = active[v];
                if (needs_refill[v]) screen.refill(v, pursuits_[b], lazy[b]);
                needs_refill[v] = 0;
                Choice choice;
                const LazyCandidates::Next next = lazy[b].next(dictionary_, pursuits_[b], scratch, team, &choice);
                undecided[v] = next == LazyCandidates::Next::undecided;
                if (next != LazyCandidates::Next::found) return false;
                add(b, choice, team);
                return active_[b] != 0;
            };
            const int64_t count = static_cast<int64_t>(active.size());
            if (share_each_vector(dictionary_, count, team_))
                for (int64_t v = 0; v < count; ++v)
                    while (pick(v, rows.data(), team_)) {
                    }
            else
                team_.for_each_in_rounds(count, [&](int64_t v, int rank) { return pick(v, &rows[rank], serial_); });
            for (size_t v = 0; v < active.size(); ++v)
                if (undecided[v]) add(active[v], screen.select({queries[v]}, false, team_)[0], team_);
        }
        finish_all();
    }

private:
    std::vector<int64_t> active_vectors() const {
        std::vector<int64_t> active;
        for (int64_t b = 0; b < B_; ++b)
            if (active_[b]) active.push_back(b);
        return active;
    }

    Query query(int64_t b) const { return {pursuits_[b].residual(), &pursuits_[b].support()}; }

    // Calls body(v, rank, team) for every vector: each on one thread, or few long ones on all threads together.
    template <class Body>
    void for_vectors(int64_t count, const Body& body) {
        if (share_each_vector(dictionary_, count, team_))
            for (int64_t v = 0; v < count; ++v) body(v, 0, team_);
        else
            team_.for_each(count, dictionary_.n >= 512 ? 1 : 4, [&](int64_t v, int rank) { body(v, rank, serial_); });
    }

    void add(int64_t b, const Choice& choice, Team& team) {
        Pursuit& p = pursuits_[b];
        const double floor = kStop * std::sqrt(p.input_energy());
        if (choice.atom < 0 || !p.add(dictionary_, choice.atom, floor, team)) {
            active_[b] = 0;
            return;
        }
        record_energy(p, out_.path + b * (s_ + 1) + p.size());
        active_[b] = p.size() < s_ && p.energy() > 0;
    }

    void finish_all() {
        for_vectors(B_, [&](int64_t b, int, Team& team) {
            finish(pursuits_[b], s_, out_.indices + b * s_, out_.values + b * s_, out_.path + b * (s_ + 1), team);
        });
    }

    const Dictionary& dictionary_;
    const int64_t B_, s_;
    Team& team_;
    const Output out_;
    Team serial_{1};  // shared by all members: a team of one has no state
    std::vector<Pursuit>& pursuits_;
    std::vector<char> active_;
};

}  // namespace

void correlate_argmax(const Dictionary& dictionary, const float* R, int64_t B, int threads, bool exact, int32_t* best,
                      float* value) {
    Team team(threads);
    if (B == 0) return;
    const int64_t n = dictionary.n, stride = padded(n);
    Aligned<float> residuals(B * stride, 0.0f);
    std::vector<int> exponents(B);
    const std::vector<int32_t> none;
    std::vector<Query> queries(B);
    for (int64_t b = 0; b < B; ++b) {
        exponents[b] = scale_exponent(R + b * n, n);
        for (int64_t i = 0; i < n; ++i) residuals[b * stride + i] = std::ldexp(R[b * n + i], -exponents[b]);
        queries[b] = {residuals.data() + b * stride, &none};
    }
    std::vector<Choice> choices;
    if (exact) {
        choices = select_exact(dictionary, queries, team);
    } else if (dictionary.kind == Kind::hadamard) {
        choices = HadamardScreen(dictionary, team).select(queries, true, team);
    } else {
        const TileSource source(dictionary, team);
        choices = Screen(source, team).select(queries, true, team);
    }
    for (int64_t b = 0; b < B; ++b) {
        best[b] = static_cast<int32_t>(choices[b].atom);
        value[b] = static_cast<float>(std::ldexp(choices[b].score, exponents[b]));
    }
}

void omp(const Dictionary& dictionary, const float* W, int64_t B, int64_t s, int threads, bool exact,
         int32_t* indices, float* values, float* path) {
    Team team(threads);
    if (B == 0) return;
    const int64_t n = dictionary.n;
    const auto block_output = [&](int64_t b) { return Output{indices + b * s, values + b * s, path + b * (s + 1)}; };
    // Runs one block after another, the whole team on each.
    const auto blocks_in_sequence = [&](const std::function<void(Block&)>& run, int64_t extra = 0) {
        const int64_t size = block_size(dictionary, s, kBlockBytes, extra);
        std::vector<Pursuit> pursuits;
        for (int64_t b = 0; b < B; b += size) {
            Block block(dictionary, W + b * n, std::min(size, B - b), s, team, block_output(b), pursuits);
            run(block);
        }
    };
    // Runs blocks that fit a core's cache in parallel, each on one thread.
    const auto blocks_in_parallel = [&](const std::function<Select(const Team&)>& make) {
        const int64_t size = parallel_block_size(dictionary, B, s, threads);
        std::vector<std::vector<Pursuit>> pursuits(team.size());
        team.for_each((B + size - 1) / size, 1, [&](int64_t i, int rank) {
            Team serial(1);
            Block block(dictionary, W + i * size * n, std::min(size, B - i * size), s, serial, block_output(i * size),
                        pursuits[rank]);
            block.run(make(serial));
        });
        team.run([&](int rank) { std::vector<Pursuit>().swap(pursuits[rank]); });  // frees many small arrays
    };
    // Runs blocks of one vector, a few passes of each per round.
    const auto vectors_in_rounds = [&](const std::function<Select(const Team&)>& make) {
        struct VectorState {
            Team serial{1};
            std::vector<Pursuit> pursuits;
            Select select;
            std::unique_ptr<Block> block;
        };
        std::vector<VectorState> states(B);
        const int64_t passes = std::max<int64_t>(1, s / kRoundsPerVector);
        team.for_each_in_rounds(B, [&](int64_t b, int) {
            VectorState& state = states[b];
            if (!state.block) {
                state.select = make(state.serial);
                state.block =
                    std::make_unique<Block>(dictionary, W + b * n, 1, s, state.serial, block_output(b), state.pursuits);
            }
            for (int64_t pass = 0; pass < passes; ++pass)
                if (!state.block->pass(state.select)) return false;
            return true;
        });
    };
    if (exact) {
        blocks_in_sequence([&](Block& block) {
            block.run([&](const std::vector<Query>& queries, Team& members) {
                return select_exact(dictionary, queries, members);
            });
        });
    } else if (dictionary.kind == Kind::hadamard) {
        const auto make = [&](const Team& members) -> Select {
            auto screen = std::make_shared<HadamardScreen>(dictionary, members);
            return [screen](const std::vector<Query>& queries, Team& own) {
                return screen->select(queries, false, own);
            };
        };
        if (uneven_split(B, threads) && B <= block_size(dictionary, s, kBlockBytes))
            vectors_in_rounds(make);
        else if (B >= threads)
            blocks_in_parallel(make);
        else
            blocks_in_sequence([&](Block& block) { block.run(make(team)); });
    } else {
        const TileSource source(dictionary, team);
        const auto make = [&](const Team& members) -> Select {
            auto screen = std::make_shared<Screen>(source, members);
            return [screen](const std::vector<Query>& queries, Team& own) {
                return screen->select(queries, false, own);
            };
        };
        if (source.cached()) {
            blocks_in_parallel(make);
        } else if (lazy_selection_pays(dictionary, B)) {
            Screen screen(source, team);
            blocks_in_sequence([&](Block& block) { block.run_lazily(screen); },
                               LazyCandidates::bytes(dictionary.M, threads));
        } else {
            blocks_in_sequence([&](Block& block) { block.run(make(team)); });
        }
    }
}

}  // namespace coinr
