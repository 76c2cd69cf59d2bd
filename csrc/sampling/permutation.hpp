// A random order of the numbers below a count, computed place by place in memory of O(sqrt(count)).
//
// The numbers fill a grid row by row. Each row is rotated by a given number of columns, then each column by a given
// number of rows, then both once more. Numbers that fall on the grid's end, beyond the count, are moved again.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace coinr {

class Permutation {
public:
    // The grid of `count` numbers: the number of columns is a power of two.
    struct Grid {
        int64_t rows, columns;
    };
    static Grid grid_of(int64_t count);

    // Rotations of rows, columns, rows and columns. Throws std::invalid_argument unless `count` is positive and there is
    // a rotation for each line that is below the line's length.
    Permutation(int64_t count, std::array<std::vector<int32_t>, 4> rotations);

    int64_t count() const { return count_; }

    // Writes the numbers at places begin to end of the order. Throws std::invalid_argument unless 0 <= begin <= end <=
    // count.
    void numbers(int64_t begin, int64_t end, int64_t* out, int threads) const;

private:
    int64_t move(int64_t place) const;

    const int64_t count_;
    const Grid grid_;
    int bits_ = 0;  // of a column's number
    std::array<std::vector<int32_t>, 4> rotations_;
};

}  // namespace coinr
