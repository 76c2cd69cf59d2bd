#include "sampling/permutation.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "threads/thread_pool.hpp"

namespace coinr {
namespace {

// Places that a thread computes at once.
constexpr int64_t kPlaces = 1 << 14;

// Rows and columns of so many numbers are counted in int32.
constexpr int64_t kMost = int64_t{1} << 60;

int64_t checked_count(int64_t count) {
    if (count < 1 || count > kMost)
        throw std::invalid_argument("count is " + std::to_string(count) + "; allowed: 1 to 2**60");
    return count;
}

}  // namespace

Permutation::Grid Permutation::grid_of(int64_t count) {
    int bits = 0;
    for (int64_t rest = checked_count(count) - 1; rest; rest >>= 1) ++bits;
    const int64_t columns = int64_t{1} << bits / 2;
    return {(count + columns - 1) / columns, columns};
}

Permutation::Permutation(int64_t count, std::array<std::vector<int32_t>, 4> rotations)
    : count_(checked_count(count)), grid_(grid_of(count)), rotations_(std::move(rotations)) {
    while (int64_t{1} << bits_ < grid_.columns) ++bits_;
    for (size_t k = 0; k < rotations_.size(); ++k) {
        const auto [lines, length] = k % 2 ? std::pair(grid_.columns, grid_.rows) : std::pair(grid_.rows, grid_.columns);
        const std::vector<int32_t>& some = rotations_[k];
        if (static_cast<int64_t>(some.size()) != lines ||
            std::any_of(some.begin(), some.end(), [&](int32_t one) { return one < 0 || one >= length; }))
            throw std::invalid_argument("rotations " + std::to_string(k) + " must be " + std::to_string(lines) +
                                        " numbers below " + std::to_string(length));
    }
}

int64_t Permutation::move(int64_t place) const {
    int64_t row = place >> bits_, column = place & (grid_.columns - 1);
    for (size_t k = 0; k < rotations_.size(); k += 2) {
        column = (column + rotations_[k][row]) & (grid_.columns - 1);
        row += rotations_[k + 1][column];
        row -= row >= grid_.rows ? grid_.rows : 0;
    }
    return row << bits_ | column;
}

void Permutation::numbers(int64_t begin, int64_t end, int64_t* out, int threads) const {
    if (begin < 0 || end < begin || end > count_)
        throw std::invalid_argument("places " + std::to_string(begin) + " to " + std::to_string(end) +
                                    " are not in 0 .. " + std::to_string(count_));
    const int64_t parts = (end - begin + kPlaces - 1) / kPlaces;
    Team team(threads < 1 ? threads : static_cast<int>(std::clamp<int64_t>(parts, 1, threads)));
    team.for_each(parts, 1, [&](int64_t part, int) {
        const int64_t first = begin + part * kPlaces;
        for (int64_t place = first; place < std::min(end, first + kPlaces); ++place) {
            int64_t number = move(place);
            while (number >= count_) number = move(number);
            out[place - begin] = number;
        }
    });
}

}  // namespace coinr
