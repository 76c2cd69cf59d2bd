#include "omp/omp.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include "simd/aligned.hpp"
#include "omp/hadamard.hpp"
#include "simd/kernels.hpp"
#include "omp/least_squares.hpp"
#include "omp/screen.hpp"
#include "omp/select.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {
namespace {

// A pursuit ends when the best normalised correlation is at most this share of |w|.
constexpr double kStop = 1e-6;

struct Output {
    int32_t* indices;
    float* values;
    float* path;
};

// Turns that a vector takes where threads share few of them: one costs a lock, and a thread waits for one at the end.
constexpr int64_t kTurns = 128;
// More vectors a thread than this are shared evenly enough.
constexpr int64_t kFew = 8;

// Room for the pursuits of one block of vectors, in bytes.
constexpr int64_t kBlockBytes = int64_t{64} << 20;
constexpr int64_t kCacheBytes = int64_t{3} << 19;  // of a block that stays in a core's cache

// Blocks are whole groups of the vectors that the kernels take at once (12 rows, or lanes of a transform).
int64_t group_of(const Dictionary& dictionary) {
    return dictionary.kind == Kind::hadamard ? HadamardScreen::lanes(dictionary) : 48;
}

// Vectors whose pursuits, and `besides` bytes for each, fit in `room` bytes.
int64_t block_size(const Dictionary& dictionary, int64_t s, int64_t room, int64_t besides = 0) {
    const int64_t atoms = s * padded(dictionary.n) / (dictionary.kind == Kind::gaussian ? 1 : 4);
    const int64_t each = atoms + 4 * s * s + 64 * s + 10 * padded(dictionary.n) + 512 + besides;
    return std::max<int64_t>(1, room / each);
}

// Vectors of a block for one of several threads: of those that its cache takes, in whole groups, as many as leave the
// least to the thread that does most.
int64_t side_by_side_size(const Dictionary& dictionary, int64_t B, int64_t s, int threads) {
    const int64_t share = (B + threads - 1) / threads, group = group_of(dictionary);
    const int64_t most = std::min(block_size(dictionary, s, kCacheBytes), share);
    if (most <= group) return most;
    const auto longest = [&](int64_t size) { return ((B + size - 1) / size + threads - 1) / threads * size; };
    int64_t best = most / group * group;
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

// Whether vectors are so few that some members of a team would have none, and their own work is worth dividing.
bool few_and_long(const Dictionary& dictionary, int64_t B, const Team& team) {
    return dictionary.n >= 2048 && B < team.size();
}

// Whether whole vectors would leave some of the threads idle for a good part of the time.
bool uneven(int64_t B, int threads) { return B > threads && B < kFew * threads && B % threads != 0; }

using Select = std::function<std::vector<Choice>(const std::vector<Query>&, Team&)>;

// One block of vectors and where their results go.
class Block {
public:
    // `pursuits` is room that one block after another may use.
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

    // Every active vector picks one atom. False when all have ended, their results written.
    bool pass(const Select& select) {
        const std::vector<int64_t> who = waiting();
        if (who.empty()) {
            finish_all();
            return false;
        }
        std::vector<Query> queries;
        for (const int64_t b : who) queries.push_back(query(b));
        const std::vector<Choice> choices = select(queries, team_);
        for_vectors(static_cast<int64_t>(who.size()),
                    [&](int64_t v, int, Team& team) { add(who[v], choices[v], team); });
        return true;
    }

    void run(const Select& select) {
        while (pass(select)) {
        }
    }

    // Every active vector picks as many atoms per pass as its lazy scores allow.
    void run_lazily(Screen& screen) {
        std::vector<LazyScores> lazy(B_);
        std::vector<Aligned<int8_t>> rows(team_.size(), Aligned<int8_t>(padded(dictionary_.n)));
        while (true) {
            const std::vector<int64_t> who = waiting();
            if (who.empty()) break;
            std::vector<Query> queries;
            for (const int64_t b : who) queries.push_back(query(b));
            screen.look(queries, team_);
            std::vector<char> fresh(who.size(), 1), undecided(who.size(), 0);
            const auto pick = [&](int64_t v, Aligned<int8_t>* room, Team& team) {
                const int64_t b = who[v];
                if (fresh[v]) screen.refill(v, pursuits_[b], lazy[b]);
                fresh[v] = 0;
                Choice choice;
                const LazyScores::Next next = lazy[b].next(dictionary_, pursuits_[b], room, team, &choice);
                undecided[v] = next == LazyScores::Next::undecided;
                if (next != LazyScores::Next::found) return false;
                add(b, choice, team);
                return active_[b] != 0;
            };
            const int64_t count = static_cast<int64_t>(who.size());
            if (few_and_long(dictionary_, count, team_))
                for (int64_t v = 0; v < count; ++v)
                    while (pick(v, rows.data(), team_)) {
                    }
            else
                team_.take_turns(count, [&](int64_t v, int rank) { return pick(v, &rows[rank], alone_); });
            for (size_t v = 0; v < who.size(); ++v)
                if (undecided[v]) add(who[v], screen.select({queries[v]}, false, team_)[0], team_);
        }
        finish_all();
    }

private:
    std::vector<int64_t> waiting() const {
        std::vector<int64_t> who;
        for (int64_t b = 0; b < B_; ++b)
            if (active_[b]) who.push_back(b);
        return who;
    }

    Query query(int64_t b) const { return {pursuits_[b].residual(), &pursuits_[b].support()}; }

    // body(v, rank, team) for every vector: by one member of the team each, or by all together for few long ones.
    template <class Body>
    void for_vectors(int64_t count, const Body& body) {
        if (few_and_long(dictionary_, count, team_))
            for (int64_t v = 0; v < count; ++v) body(v, 0, team_);
        else
            team_.for_each(count, dictionary_.n >= 512 ? 1 : 4, [&](int64_t v, int rank) { body(v, rank, alone_); });
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
    Team alone_{1};  // shared by all members: one that has no threads keeps nothing
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
    // One block after another, the whole team on each.
    const auto in_turn = [&](const std::function<void(Block&)>& run, int64_t besides = 0) {
        const int64_t size = block_size(dictionary, s, kBlockBytes, besides);
        std::vector<Pursuit> pursuits;
        for (int64_t b = 0; b < B; b += size) {
            Block block(dictionary, W + b * n, std::min(size, B - b), s, team, block_output(b), pursuits);
            run(block);
        }
    };
    // Blocks that stay in a core's cache, each on one thread.
    const auto side_by_side = [&](const std::function<Select(const Team&)>& make) {
        const int64_t size = side_by_side_size(dictionary, B, s, threads);
        std::vector<std::vector<Pursuit>> pursuits(team.size());
        team.for_each((B + size - 1) / size, 1, [&](int64_t i, int rank) {
            Team alone(1);
            Block block(dictionary, W + i * size * n, std::min(size, B - i * size), s, alone, block_output(i * size),
                        pursuits[rank]);
            block.run(make(alone));
        });
        team.run([&](int rank) { std::vector<Pursuit>().swap(pursuits[rank]); });  // many small pieces to give back
    };
    // Blocks of one vector, in turns.
    const auto one_by_one = [&](const std::function<Select(const Team&)>& make) {
        struct Room {
            Team alone{1};
            std::vector<Pursuit> pursuits;
            Select select;
            std::unique_ptr<Block> block;
        };
        std::vector<Room> rooms(B);
        const int64_t passes = std::max<int64_t>(1, s / kTurns);
        team.take_turns(B, [&](int64_t b, int) {
            Room& room = rooms[b];
            if (!room.block) {
                room.select = make(room.alone);
                room.block =
                    std::make_unique<Block>(dictionary, W + b * n, 1, s, room.alone, block_output(b), room.pursuits);
            }
            for (int64_t pass = 0; pass < passes; ++pass)
                if (!room.block->pass(room.select)) return false;
            return true;
        });
    };
    if (exact) {
        in_turn([&](Block& block) {
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
        if (uneven(B, threads) && B <= block_size(dictionary, s, kBlockBytes))
            one_by_one(make);
        else if (B >= threads)
            side_by_side(make);
        else
            in_turn([&](Block& block) { block.run(make(team)); });
    } else {
        const TileSource source(dictionary, team);
        const auto make = [&](const Team& members) -> Select {
            auto screen = std::make_shared<Screen>(source, members);
            return [screen](const std::vector<Query>& queries, Team& own) {
                return screen->select(queries, false, own);
            };
        };
        if (source.cached()) {
            side_by_side(make);
        } else if (lazy_pays(dictionary, B)) {
            Screen screen(source, team);
            in_turn([&](Block& block) { block.run_lazily(screen); }, LazyScores::bytes(dictionary.M, threads));
        } else {
            in_turn([&](Block& block) { block.run(make(team)); });
        }
    }
}

}  // namespace coinr
