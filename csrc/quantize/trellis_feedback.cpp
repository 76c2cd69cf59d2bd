#include "quantize/trellis_feedback.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "simd/kernels.hpp"
#include "quantize/prices.hpp"

namespace coinr {
namespace {

// Elements in whose course survivors carry what their errors ask of these elements alone; of all others after them in
// the row it is summed in the end, which takes one pass over memory for all.
constexpr int64_t kWindow = 64;

// Elements for which that is done together, so that their feedback stays in the cache.
constexpr int64_t kTogether = 512;

// One survivor a state: its cost, and how far its errors move the targets of the elements to come in the row.
class Search {
public:
    Search(int log_states, const ShapedProblem& problem)
        : trellis_(log_states),
          problem_(problem),
          prices_(log_states > 0, problem.bits, problem.tables, problem.entries),
          states_(trellis_.states()),
          cost_(states_, std::numeric_limits<double>::infinity()),
          fresh_(states_),
          now_(std::max<int64_t>(states_, 4), problem.columns),
          next_(now_),
          options_(2 * states_),
          chosen_(problem.rows * problem.columns * states_),
          feedback_(problem.feedback, problem.feedback + problem.columns * problem.columns) {
        if (log_states > 0) edges_ = edges_into(trellis_);
        came_.resize(edges_.empty() ? 0 : chosen_.size());
        cost_[0] = 0;
    }

    std::vector<int32_t> run() {
        for (int64_t i = 0; i < problem_.rows; ++i) {
            std::fill(now_.moved.begin(), now_.moved.end(), 0.0f);
            for (int64_t begin = 0; begin < problem_.columns; begin += kWindow) {
                const int64_t end = std::min(begin + kWindow, problem_.columns);
                open(begin, end);
                for (int64_t j = begin; j < end; ++j) step(i * problem_.columns + j, j, begin, end);
                close(begin, end);
            }
        }
        return trace();
    }

private:
    // Of all survivors: how far targets are moved by errors made before the window, [survivor][column]; of those in
    // it by all errors, [survivor][kWindow]; the errors made in it; and the survivor at its beginning that each was.
    struct Survivors {
        Survivors(int64_t count, int64_t columns)
            : moved(count * columns), near(count * kWindow), errors(count * kWindow), root(count) {}
        std::vector<float> moved, near, errors;
        std::vector<int64_t> root;
    };

    void open(int64_t begin, int64_t end) {
        for (size_t s = 0; s < now_.root.size(); ++s) {
            now_.root[s] = static_cast<int64_t>(s);
            const float* moved = now_.moved.data() + s * problem_.columns;
            std::copy(moved + begin, moved + end, now_.near.data() + s * kWindow);
        }
    }

    void close(int64_t begin, int64_t end) {
        const int64_t columns = problem_.columns;
        for (int64_t at = end; at < columns; at += kTogether) {
            const int64_t n = std::min(kTogether, columns - at);
            for (size_t s = 0; s < now_.root.size(); s += 4) {
                const float *before[4], *errors[4];
                float* after[4];
                for (size_t i = 0; i < 4; ++i) {
                    before[i] = now_.moved.data() + now_.root[s + i] * columns + at;
                    errors[i] = now_.errors.data() + (s + i) * kWindow;
                    after[i] = next_.moved.data() + (s + i) * columns + at;
                }
                const float* rows = feedback_.data() + begin * columns + at;
                kernels().carry(before, errors, end - begin, rows, columns, n, after);
            }
        }
        now_.moved.swap(next_.moved);
    }

    void step(int64_t at, int64_t j, int64_t begin, int64_t end) {
        const double width = problem_.steps[at];
        const int parities = edges_.empty() ? 1 : 2;
        for (int s = 0; s < states_; ++s) {
            const double x = (problem_.matrix[at] - now_.near[s * kWindow + j - begin]) / width;
            for (int parity = 0; parity < parities; ++parity)
                options_[2 * s + parity] = prices_.best(x, problem_.weight[at], s & 1, parity, problem_.table[at]);
        }
        double least = std::numeric_limits<double>::infinity();
        for (int to = 0; to < states_; ++to) {
            Edge edge{0, 0};
            if (!edges_.empty()) {
                const Edge &a = edges_[2 * to], &b = edges_[2 * to + 1];
                const bool second = cost_[b.from] + option(b).cost < cost_[a.from] + option(a).cost;
                came_[at * states_ + to] = second;
                edge = second ? b : a;
            }
            const Candidate& taken = option(edge);
            chosen_[at * states_ + to] = taken.k;
            fresh_[to] = cost_[edge.from] + taken.cost;
            least = std::min(least, fresh_[to]);
            const double error = trellis_.value(edge.from, taken.k) * width - problem_.matrix[at];
            pass_on(edge.from, to, j, begin, end, static_cast<float>(error));
        }
        for (int to = 0; to < states_; ++to) cost_[to] = fresh_[to] - least;
        now_.near.swap(next_.near);
        now_.errors.swap(next_.errors);
        now_.root.swap(next_.root);
    }

    const Candidate& option(const Edge& edge) const { return options_[2 * edge.from + edge.parity]; }

    void pass_on(int from, int to, int64_t j, int64_t begin, int64_t end, float error) {
        const int64_t done = j - begin;
        const float* before = now_.near.data() + from * kWindow;
        const float* row = feedback_.data() + j * problem_.columns + begin;
        float* after = next_.near.data() + to * kWindow;
        for (int64_t l = done + 1; l < end - begin; ++l) after[l] = before[l] + error * row[l];
        const float* made = now_.errors.data() + from * kWindow;
        std::copy(made, made + done, next_.errors.data() + to * kWindow);
        next_.errors[to * kWindow + done] = error;
        next_.root[to] = now_.root[from];
    }

    std::vector<int32_t> trace() const {
        const int64_t count = problem_.rows * problem_.columns;
        std::vector<int32_t> k(count);
        int state = static_cast<int>(std::min_element(cost_.begin(), cost_.end()) - cost_.begin());
        for (int64_t at = count - 1; at >= 0; --at) {
            k[at] = chosen_[at * states_ + state];
            if (!edges_.empty()) state = edges_[2 * state + came_[at * states_ + state]].from;
        }
        return k;
    }

    const Trellis trellis_;
    const ShapedProblem& problem_;
    const Prices prices_;
    const int64_t states_;
    std::vector<Edge> edges_;
    std::vector<double> cost_, fresh_;
    Survivors now_, next_;
    std::vector<Candidate> options_;
    std::vector<int32_t> chosen_;
    std::vector<uint8_t> came_;
    const std::vector<float> feedback_;
};

}  // namespace

std::vector<int32_t> choose_shaped_levels(int log_states, const ShapedProblem& problem) {
    return Search(log_states, problem).run();
}

}  // namespace coinr
