// Python bindings of sampling/.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <vector>

#include "sampling/grid_samples.hpp"

namespace coinr {

// A grid of an array, which is kept alive.
class Grid {
public:
    Grid(std::vector<int64_t> size, pybind11::array values);
    const GridSamples& samples() const { return samples_; }

private:
    const pybind11::array values_;
    const GridSamples samples_;
};

void bind_sampling(pybind11::module_& m);

}  // namespace coinr
