#include "shaped.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "prices.hpp"

namespace coinr {
namespace {

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
          moved_(states_ * problem.columns),
          next_(states_ * problem.columns),
          options_(2 * states_),
          chosen_(problem.rows * problem.columns * states_),
          feedback_(problem.feedback, problem.feedback + problem.columns * problem.columns) {
        if (log_states > 0) edges_ = edges_into(trellis_);
        came_.resize(edges_.empty() ? 0 : chosen_.size());
        cost_[0] = 0;
    }

    std::vector<int32_t> run() {
        for (int64_t i = 0; i < problem_.rows; ++i) {
            std::fill(moved_.begin(), moved_.end(), 0.0f);
            for (int64_t j = 0; j < problem_.columns; ++j) step(i * problem_.columns + j, j);
        }
        return trace();
    }

private:
    void step(int64_t at, int64_t j) {
        const double width = problem_.steps[at];
        const int parities = edges_.empty() ? 1 : 2;
        for (int s = 0; s < states_; ++s) {
            const double x = (problem_.matrix[at] - moved_[s * problem_.columns + j]) / width;
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
            pass_on(edge.from, to, j, static_cast<float>(error));
        }
        for (int to = 0; to < states_; ++to) cost_[to] = fresh_[to] - least;
        moved_.swap(next_);
    }

    const Candidate& option(const Edge& edge) const { return options_[2 * edge.from + edge.parity]; }

    void pass_on(int from, int to, int64_t j, float error) {
        const int64_t n = problem_.columns;
        const float* before = moved_.data() + from * n;
        const float* row = feedback_.data() + j * n;
        float* after = next_.data() + to * n;
        for (int64_t l = j + 1; l < n; ++l) after[l] = before[l] + error * row[l];
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
    std::vector<float> moved_, next_;
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
