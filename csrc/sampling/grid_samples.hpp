// Samples of a signal on a regular grid: coordinates are computed from a sample's number, values are stored.
//
// The points fill [-1, 1] along each axis: point i of n lies at (2i + 1) / n - 1. Numbers count points in C order.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace coinr {

class GridSamples {
public:
    // Points along each axis, and the values [count, channels] that belong to them: bytes, which stand for
    // value / 127.5 - 1, or floats. The values are not copied. Throws std::invalid_argument if a size is out of range.
    GridSamples(std::vector<int64_t> size, int64_t channels, const uint8_t* values);
    GridSamples(std::vector<int64_t> size, int64_t channels, const float* values);

    int64_t axes() const { return static_cast<int64_t>(size_.size()); }
    int64_t channels() const { return channels_; }
    int64_t count() const { return count_; }

    // Throws std::invalid_argument unless all numbers are of points.
    void check(const int64_t* numbers, int64_t count) const;

    // Writes the coordinates of `count` points, a row of floats for each axis; rows begin `stride` floats apart.
    void load_coordinates(const int64_t* numbers, int64_t count, float* rows, int64_t stride) const;

    // Asks for the memory of their values, which lie far apart.
    void prefetch_values(const int64_t* numbers, int64_t count) const;

    // Writes their values in the same way, a row for each channel.
    void load_values(const int64_t* numbers, int64_t count, float* rows, int64_t stride) const;

private:
    GridSamples(std::vector<int64_t> size, int64_t channels, const uint8_t* bytes, const float* floats);

    const std::vector<int64_t> size_;
    const int64_t channels_;
    const uint8_t* const bytes_;
    const float* const floats_;
    int64_t count_ = 1;
    std::array<float, 256> of_byte_;
};

}  // namespace coinr
