#include "bindings/optimizers.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <complex>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/buffers.hpp"
#include "optimizers/step.hpp"

namespace coinr {
namespace {

// The floats of a tensor's arrays of one shape, which are written to: values, and what is kept of gradients.
template <size_t count>
std::array<float*, count> floats(std::array<py::array, count>& arrays) {
    std::array<float*, count> data;
    for (size_t i = 0; i < count; ++i) {
        checked<float>(arrays[i], "an array", static_cast<int>(arrays[0].ndim()));
        if (!std::equal(arrays[i].shape(), arrays[i].shape() + arrays[i].ndim(), arrays[0].shape()))
            throw std::invalid_argument("the arrays of a tensor have different shapes");
        data[i] = static_cast<float*>(arrays[i].mutable_data());
    }
    return data;
}

const float* gradient_of(const py::array& array, int64_t count) {
    const bool real = py::dtype::of<float>().equal(array.dtype());
    if (!real && !py::dtype::of<std::complex<float>>().equal(array.dtype()))
        throw std::invalid_argument("a gradient has dtype " + py::str(array.dtype()).cast<std::string>() +
                                    "; allowed: float32, complex64");
    if (!(array.flags() & py::array::c_style) || reinterpret_cast<uintptr_t>(array.data()) % alignof(float) != 0)
        throw std::invalid_argument("a gradient is not C-contiguous and aligned");
    const int64_t floats = array.size() * (real ? 1 : 2);
    if (floats != count)
        throw std::invalid_argument("a gradient has " + std::to_string(floats) + " floats, its tensor " +
                                    std::to_string(count));
    return static_cast<const float*>(array.data());
}

// Tensors that stay where they are, and one step after another for them.
class Steps {
public:
    Steps(std::vector<std::array<py::array, 2>> matrices, std::vector<std::array<py::array, 3>> others) {
        for (auto& arrays : matrices) {
            if (arrays[0].ndim() != 3)
                throw std::invalid_argument("matrices have " + std::to_string(arrays[0].ndim()) +
                                            " dimensions; allowed: 3");
            const auto [values, means] = floats(arrays);
            matrices_.push_back(
                {values, nullptr, means, arrays[0].shape(0), arrays[0].shape(1), arrays[0].shape(2)});
            kept_.insert(kept_.end(), arrays.begin(), arrays.end());
        }
        for (auto& arrays : others) {
            const auto [values, means, squares] = floats(arrays);
            others_.push_back({values, nullptr, means, squares, arrays[0].size(), 0});
            kept_.insert(kept_.end(), arrays.begin(), arrays.end());
        }
    }

    void take(const std::vector<py::array>& gradients, const std::vector<double>& steps, double rate, double momentum,
              double beta1, double beta2, double eps, int threads) const {
        std::vector<MuonTensor> matrices = matrices_;
        std::vector<AdamTensor> others = others_;
        if (gradients.size() != matrices.size() + others.size())
            throw std::invalid_argument("there must be " + std::to_string(matrices.size() + others.size()) +
                                        " gradients, got " + std::to_string(gradients.size()));
        if (steps.size() != others.size())
            throw std::invalid_argument("there must be " + std::to_string(others.size()) + " steps, got " +
                                        std::to_string(steps.size()));
        for (size_t i = 0; i < matrices.size(); ++i)
            matrices[i].gradients =
                gradient_of(gradients[i], matrices[i].count * matrices[i].rows * matrices[i].columns);
        for (size_t i = 0; i < others.size(); ++i) {
            if (!(steps[i] >= 1))
                throw std::invalid_argument("a step is " + std::to_string(steps[i]) + "; allowed: 1 or more");
            others[i].step = steps[i];
            others[i].gradients = gradient_of(gradients[matrices.size() + i], others[i].count);
        }
        py::gil_scoped_release release;
        optimizer_step(matrices, others, {rate, momentum, beta1, beta2, eps}, threads);
    }

private:
    std::vector<py::array> kept_;
    std::vector<MuonTensor> matrices_;
    std::vector<AdamTensor> others_;
};

}  // namespace

void bind_optimizers(py::module_& m) {
    py::class_<Steps>(m, "OptimizerSteps", "Steps of Muon and Adam for arrays that stay where they are.")
        .def(py::init<std::vector<std::array<py::array, 2>>, std::vector<std::array<py::array, 3>>>(),
             py::arg("matrices"), py::arg("others"),
             "Take float32 arrays: matrices (values, means) [K, m, n] for Muon, and others (values, means, squares) of "
             "any shape for Adam.")
        .def("take", &Steps::take, py::arg("gradients"), py::arg("steps"), py::arg("rate"), py::arg("momentum"),
             py::arg("beta1"), py::arg("beta2"), py::arg("eps"), py::arg("threads"),
             "Take one step by the gradients of the matrices and of the others, float32 or complex64 of as many "
             "floats. `steps` has its number, from 1, for each of the others.");
}

}  // namespace coinr
