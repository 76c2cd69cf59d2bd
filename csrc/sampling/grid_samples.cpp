#include "sampling/grid_samples.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace coinr {
namespace {

// Doubles hold all numbers up to here, and those between which a quotient lies.
constexpr int64_t kMost = int64_t{1} << 48;

// Points that are taken at once.
constexpr int64_t kBlock = 64;

// The functions on doubles have no conversion of int64, which processors without AVX-512 do one by one.

constexpr double kTwo52 = 4503599627370496.0;  // doubles from here to its double are the integers

double as_double(int64_t number) {
    const int64_t bits = number | 0x4330000000000000;  // the double 2^52 + number
    double shifted;
    std::memcpy(&shifted, &bits, sizeof bits);
    return shifted - kTwo52;
}

// Sets `place` to numbers modulo n, and the numbers to their quotients.
void divide(double* numbers, int64_t count, double n, double* place) {
    const double inverse = 1 / n, shift = 1.5 * kTwo52;
    for (int64_t s = 0; s < count; ++s) {
        // right to one: rounded to a whole number, as the sum has no room for more
        const double above = (numbers[s] * inverse - 0.5 + shift) - shift;
        const double rest = numbers[s] - above * n;
        const double over = (rest >= n ? 1.0 : 0.0) - (rest < 0 ? 1.0 : 0.0);
        numbers[s] = above + over;
        place[s] = rest - over * n;
    }
}

// Writes a row for each channel; `value` turns a stored value into a float.
template <class T, class F>
void gather(const T* values, int64_t channels, const int64_t* numbers, int64_t count, float* rows, int64_t stride,
            F value) {
    for (int64_t s = 0; s < count; ++s) {
        const T* const from = values + numbers[s] * channels;
        for (int64_t c = 0; c < channels; ++c) rows[c * stride + s] = value(from[c]);
    }
}

}  // namespace

GridSamples::GridSamples(std::vector<int64_t> size, int64_t channels, const uint8_t* bytes, const float* floats)
    : size_(std::move(size)), channels_(channels), bytes_(bytes), floats_(floats) {
    if (size_.empty() || channels < 1) throw std::invalid_argument("a grid has at least one axis and one channel");
    for (const int64_t n : size_) {
        if (n < 1 || n > kMost / count_)
            throw std::invalid_argument("a grid has an axis of " + std::to_string(n) +
                                        " points; allowed: at least 1, and at most 2**48 of all axes");
        count_ *= n;
    }
    for (int byte = 0; byte < 256; ++byte) of_byte_[byte] = static_cast<float>(byte) / 127.5f - 1;
}

GridSamples::GridSamples(std::vector<int64_t> size, int64_t channels, const uint8_t* values)
    : GridSamples(std::move(size), channels, values, nullptr) {}

GridSamples::GridSamples(std::vector<int64_t> size, int64_t channels, const float* values)
    : GridSamples(std::move(size), channels, nullptr, values) {}

void GridSamples::check(const int64_t* numbers, int64_t count) const {
    for (int64_t s = 0; s < count; ++s)
        if (numbers[s] < 0 || numbers[s] >= count_)
            throw std::invalid_argument("sample " + std::to_string(numbers[s]) + " is not in 0 .. " +
                                        std::to_string(count_ - 1));
}

void GridSamples::load_coordinates(const int64_t* numbers, int64_t count, float* rows, int64_t stride) const {
    for (int64_t first = 0; first < count; first += kBlock) {
        const int64_t some = std::min(kBlock, count - first);
        double rest[kBlock], place[kBlock];
        for (int64_t s = 0; s < some; ++s) rest[s] = as_double(numbers[first + s]);
        for (int64_t a = axes(); a-- > 0;) {
            const double n = static_cast<double>(size_[a]);
            if (a)
                divide(rest, some, n, place);
            else
                std::copy_n(rest, some, place);
            float* const row = rows + a * stride + first;
            for (int64_t s = 0; s < some; ++s) row[s] = static_cast<float>((2 * place[s] + 1) / n - 1);
        }
    }
}

void GridSamples::prefetch_values(const int64_t* numbers, int64_t count) const {
    for (int64_t s = 0; s < count; ++s) {
        const int64_t at = numbers[s] * channels_;
        __builtin_prefetch(bytes_ ? static_cast<const void*>(bytes_ + at) : floats_ + at);
    }
}

void GridSamples::load_values(const int64_t* numbers, int64_t count, float* rows, int64_t stride) const {
    if (bytes_)
        gather(bytes_, channels_, numbers, count, rows, stride, [&](uint8_t byte) { return of_byte_[byte]; });
    else
        gather(floats_, channels_, numbers, count, rows, stride, [](float value) { return value; });
}

}  // namespace coinr
