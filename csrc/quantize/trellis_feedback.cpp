#include "quantize/trellis_feedback.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantize/rd_cost.hpp"
#include "simd/kernels.hpp"

namespace coinr {
namespace {

// Inside a window of so many elements, each survivor carries the feedback of its errors to the window alone. The
// feedback to the rest of the row is added at the end of the window, in one pass over memory.
constexpr int64_t kWindow = 64;

// That pass handles so many elements at a time, whose feedback stays in the cache.
constexpr int64_t kFeedbackBlock = 512;

// A Viterbi search with one survivor per state: its cost, and how far its errors shift the later targets of the row.
class ViterbiSearch {
public:
    ViterbiSearch(int log_states, const FeedbackProblem& problem)
        : trellis_(log_states),
          problem_(problem),
          rd_cost_(log_states > 0, problem.bits, problem.tables, problem.entries),
          states_(trellis_.states()),
          cost_(states_, std::numeric_limits<double>::infinity()),
          next_cost_(states_),
          current_(std::max<int64_t>(states_, 4), problem.columns),
          next_(current_),
          options_(2 * states_),
          levels_(problem.rows * problem.columns * states_),
          feedback_(problem.feedback, problem.feedback + problem.columns * problem.columns) {
        if (log_states > 0) edges_ = edges_into(trellis_);
        took_second_.resize(edges_.empty() ? 0 : levels_.size());
        cost_[0] = 0;
    }

    std::vector<int32_t> run() {
        for (int64_t i = 0; i < problem_.rows; ++i) {
            std::fill(current_.shift.begin(), current_.shift.end(), 0.0f);
            for (int64_t begin = 0; begin < problem_.columns; begin += kWindow) {
                const int64_t end = std::min(begin + kWindow, problem_.columns);
                enter_window(begin, end);
                for (int64_t j = begin; j < end; ++j) step(i * problem_.columns + j, j, begin, end);
                leave_window(begin, end);
            }
        }
        return trace();
    }

private:
    // Of all survivors: shifts of targets by errors before the window, [survivor][column]; shifts in the window by all
    // errors, [survivor][kWindow]; the errors in the window; and which survivor each was at the start of the window.
    struct Survivors {
        Survivors(int64_t count, int64_t columns)
            : shift(count * columns), window_shift(count * kWindow), errors(count * kWindow), origin(count) {}
        std::vector<float> shift, window_shift, errors;
        std::vector<int64_t> origin;
    };

    void enter_window(int64_t begin, int64_t end) {
        for (size_t s = 0; s < current_.origin.size(); ++s) {
            current_.origin[s] = static_cast<int64_t>(s);
            const float* shift = current_.shift.data() + s * problem_.columns;
            std::copy(shift + begin, shift + end, current_.window_shift.data() + s * kWindow);
        }
    }

    void leave_window(int64_t begin, int64_t end) {
        const int64_t columns = problem_.columns;
        for (int64_t at = end; at < columns; at += kFeedbackBlock) {
            const int64_t n = std::min(kFeedbackBlock, columns - at);
            for (size_t s = 0; s < current_.origin.size(); s += 4) {
                const float *before[4], *errors[4];
                float* after[4];
                for (size_t i = 0; i < 4; ++i) {
                    before[i] = current_.shift.data() + current_.origin[s + i] * columns + at;
                    errors[i] = current_.errors.data() + (s + i) * kWindow;
                    after[i] = next_.shift.data() + (s + i) * columns + at;
                }
                const float* rows = feedback_.data() + begin * columns + at;
                kernels().add_feedback(before, errors, end - begin, rows, columns, n, after);
            }
        }
        current_.shift.swap(next_.shift);
    }

    void step(int64_t at, int64_t j, int64_t begin, int64_t end) {
        const double width = problem_.steps[at];
        const int parities = edges_.empty() ? 1 : 2;
        for (int s = 0; s < states_; ++s) {
            const double x = (problem_.matrix[at] - current_.window_shift[s * kWindow + j - begin]) / width;
            for (int parity = 0; parity < parities; ++parity)
                options_[2 * s + parity] = rd_cost_.best(x, problem_.weight[at], s & 1, parity, problem_.table[at]);
        }
        double lowest = std::numeric_limits<double>::infinity();
        for (int to = 0; to < states_; ++to) {
            Edge edge{0, 0};
            if (!edges_.empty()) {
                const Edge &a = edges_[2 * to], &b = edges_[2 * to + 1];
                const bool second = cost_[b.from] + option(b).cost < cost_[a.from] + option(a).cost;
                took_second_[at * states_ + to] = second;
                edge = second ? b : a;
            }
            const LevelOption& taken = option(edge);
            levels_[at * states_ + to] = taken.k;
            next_cost_[to] = cost_[edge.from] + taken.cost;
            lowest = std::min(lowest, next_cost_[to]);
            const double error = trellis_.value(edge.from, taken.k) * width - problem_.matrix[at];
            propagate_error(edge.from, to, j, begin, end, static_cast<float>(error));
        }
        for (int to = 0; to < states_; ++to) cost_[to] = next_cost_[to] - lowest;
        current_.window_shift.swap(next_.window_shift);
        current_.errors.swap(next_.errors);
        current_.origin.swap(next_.origin);
    }

    const LevelOption& option(const Edge& edge) const { return options_[2 * edge.from + edge.parity]; }

    void propagate_error(int from, int to, int64_t j, int64_t begin, int64_t end, float error) {
        const int64_t done = j - begin;
        const float* before = current_.window_shift.data() + from * kWindow;
        const float* row = feedback_.data() + j * problem_.columns + begin;
        float* after = next_.window_shift.data() + to * kWindow;
        for (int64_t l = done + 1; l < end - begin; ++l) after[l] = before[l] + error * row[l];
        const float* earlier = current_.errors.data() + from * kWindow;
        std::copy(earlier, earlier + done, next_.errors.data() + to * kWindow);
        next_.errors[to * kWindow + done] = error;
        next_.origin[to] = current_.origin[from];
    }

    std::vector<int32_t> trace() const {
        const int64_t count = problem_.rows * problem_.columns;
        std::vector<int32_t> k(count);
        int state = static_cast<int>(std::min_element(cost_.begin(), cost_.end()) - cost_.begin());
        for (int64_t at = count - 1; at >= 0; --at) {
            k[at] = levels_[at * states_ + state];
            if (!edges_.empty()) state = edges_[2 * state + took_second_[at * states_ + state]].from;
        }
        return k;
    }

    const Trellis trellis_;
    const FeedbackProblem& problem_;
    const RdCost rd_cost_;
    const int64_t states_;
    std::vector<Edge> edges_;
    std::vector<double> cost_, next_cost_;
    Survivors current_, next_;
    std::vector<LevelOption> options_;
    std::vector<int32_t> levels_;
    std::vector<uint8_t> took_second_;
    const std::vector<float> feedback_;
};

}  // namespace

std::vector<int32_t> choose_levels_with_feedback(int log_states, const FeedbackProblem& problem) {
    return ViterbiSearch(log_states, problem).run();
}

}  // namespace coinr
