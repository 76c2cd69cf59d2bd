#include "bindings/sampling.hpp"

#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "bindings/buffers.hpp"
#include "sampling/permutation.hpp"

namespace coinr {
namespace {

GridSamples grid_samples(std::vector<int64_t> size, const py::array& values) {
    const int64_t channels = values.ndim() == 2 ? values.shape(1) : 0;
    GridSamples made =
        values.dtype().kind() == 'f' ? GridSamples(std::move(size), channels, checked<float>(values, "values", 2))
                                     : GridSamples(std::move(size), channels, checked<uint8_t>(values, "values", 2));
    if (values.shape(0) != made.count())
        throw std::invalid_argument("there are " + std::to_string(values.shape(0)) + " values for " +
                                    std::to_string(made.count()) + " points");
    return made;
}

std::unique_ptr<Permutation> make_permutation(int64_t count, const std::vector<py::array>& rotations) {
    std::array<std::vector<int32_t>, 4> lines;
    if (rotations.size() != lines.size()) throw std::invalid_argument("there must be 4 arrays of rotations");
    for (size_t k = 0; k < lines.size(); ++k) {
        const int32_t* const data = checked<int32_t>(rotations[k], "rotations", 1);
        lines[k].assign(data, data + rotations[k].shape(0));
    }
    return std::make_unique<Permutation>(count, std::move(lines));
}

void numbers(const Permutation& order, int64_t begin, py::array out, int threads) {
    checked<int64_t>(out, "out", 1);
    int64_t* const to = static_cast<int64_t*>(out.mutable_data());
    const int64_t count = out.shape(0);
    py::gil_scoped_release release;
    order.numbers(begin, begin + count, to, threads);
}

}  // namespace

Grid::Grid(std::vector<int64_t> size, py::array values)
    : values_(std::move(values)), samples_(grid_samples(std::move(size), values_)) {}

void bind_sampling(py::module_& m) {
    py::class_<Grid>(m, "Grid", "Samples of a signal on a regular grid; see csrc/sampling/grid_samples.hpp.")
        .def(py::init<std::vector<int64_t>, py::array>(), py::arg("size"), py::arg("values"),
             "Take points along each axis, and their values uint8 or float32 [count, channels] in C order.");
    py::class_<Permutation>(m, "Permutation", "A random order of numbers; see csrc/sampling/permutation.hpp.")
        .def(py::init(&make_permutation), py::arg("count"), py::arg("rotations"),
             "Take int32 rotations of rows, columns, rows and columns, a number for each line.")
        .def_static(
            "grid",
            [](int64_t count) {
                const Permutation::Grid grid = Permutation::grid_of(count);
                return std::pair(grid.rows, grid.columns);
            },
            py::arg("count"), "Return the rows and columns of the grid of `count` numbers.")
        .def("numbers", &numbers, py::arg("begin"), py::arg("out"), py::arg("threads"),
             "Set out int64 [N] to the numbers at places begin to begin + N.");
}

}  // namespace coinr
