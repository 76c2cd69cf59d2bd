#include "bindings/mlp.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <complex>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/buffers.hpp"
#include "bindings/sampling.hpp"
#include "mlp/mlp.hpp"
#include "simd/kernels.hpp"

namespace coinr {
namespace {

using Arrays = std::vector<py::array>;

template <class T>
T named(const std::map<std::string, T>& names, const std::string& name, const char* what) {
    const auto found = names.find(name);
    if (found == names.end()) throw std::invalid_argument(std::string(what) + " is '" + name + "'");
    return found->second;
}

const std::map<std::string, Activation> kActivations = {
    {"none", Activation::none},       {"sine", Activation::sine},
    {"finer", Activation::finer},     {"gauss", Activation::gauss},
    {"relu", Activation::relu},       {"sigmoid", Activation::sigmoid},
    {"gabor", Activation::gabor},     {"gabor_complex", Activation::gabor_complex}};
const std::map<std::string, Storage> kStorages = {
    {"real", Storage::real}, {"complex", Storage::complex}, {"real_part", Storage::real_part}};

const std::map<std::string, ScoreKind> kScores = {{"levels", ScoreKind::levels},
                                                  {"noise", ScoreKind::noise},
                                                  {"occupancy", ScoreKind::occupancy},
                                                  {"distance", ScoreKind::distance}};

using InputTuple = std::tuple<int64_t, std::vector<float>, int64_t, int64_t>;
using LayerTuple =
    std::tuple<std::string, std::string, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, float, float>;

std::unique_ptr<MlpProgram> make_program(const std::vector<InputTuple>& inputs, const std::vector<LayerTuple>& layers) {
    std::vector<MlpInput> ins;
    for (const auto& [features, frequencies, buffer, row] : inputs) ins.push_back({features, frequencies, buffer, row});
    std::vector<MlpLayer> made;
    for (const auto& [activation, storage, fan_in, fan_out, in_buffer, in_row, out_buffer, out_row, omega, scale] : layers)
        made.push_back({named(kActivations, activation, "an activation"), named(kStorages, storage, "a storage"), fan_in,
                        fan_out, in_buffer, in_row, out_buffer, out_row, omega, scale});
    return std::make_unique<MlpProgram>(std::move(ins), std::move(made));
}

// A float32 matrix with any strides that are whole numbers of floats.
Matrix matrix(const py::array& array, int64_t rows, int64_t columns, const char* name) {
    if (!py::dtype::of<float>().equal(array.dtype()))
        throw std::invalid_argument(std::string(name) + " is not float32");
    if (array.size() && !array.data()) throw std::invalid_argument(std::string(name) + " has no memory");
    if (array.ndim() != 2 || array.shape(0) != rows || array.shape(1) != columns)
        throw std::invalid_argument(std::string(name) + " must have shape [" + std::to_string(rows) + ", " +
                                    std::to_string(columns) + "]");
    const int64_t size = sizeof(float);
    if (array.strides(0) % size || array.strides(1) % size || reinterpret_cast<uintptr_t>(array.data()) % size)
        throw std::invalid_argument(std::string(name) + " is not aligned");
    return {static_cast<const float*>(array.data()), array.strides(0) / size, array.strides(1) / size};
}

// Tensors of `networks` networks, one after another: weights and biases of each layer.
class Tensors {
public:
    Tensors(const MlpProgram& program, const Arrays& arrays, int64_t networks) {
        const std::vector<MlpLayer>& layers = program.layers();
        if (arrays.size() != 2 * layers.size())
            throw std::invalid_argument("there must be " + std::to_string(2 * layers.size()) + " tensors, got " +
                                        std::to_string(arrays.size()));
        for (size_t i = 0; i < arrays.size(); ++i) {
            const MlpLayer& layer = layers[i / 2];
            const bool complex = layer.storage != Storage::real;
            const py::array& array = arrays[i];
            const py::dtype expected = complex ? py::dtype::of<std::complex<float>>() : py::dtype::of<float>();
            const int64_t count = i % 2 ? layer.fan_out : layer.fan_in * layer.fan_out;
            if (!expected.equal(array.dtype()) || array.size() != networks * count ||
                !(array.flags() & py::array::c_style) || reinterpret_cast<uintptr_t>(array.data()) % sizeof(float))
                throw std::invalid_argument("tensor " + std::to_string(i) + " must be C-contiguous, " +
                                            std::string(complex ? "complex64" : "float32") + ", of " +
                                            std::to_string(networks * count) + " elements");
            data_.push_back(static_cast<const float*>(array.data()));
            count_.push_back(count * (complex ? 2 : 1));
        }
    }
    std::vector<const float*> of(int64_t network) const {
        std::vector<const float*> found;
        for (size_t i = 0; i < data_.size(); ++i) found.push_back(data_[i] + network * count_[i]);
        return found;
    }

private:
    std::vector<const float*> data_;
    std::vector<int64_t> count_;
};

MlpBatch batch_of(const MlpProgram& program, std::vector<const float*> tensors, const Arrays& inputs, int64_t count) {
    if (inputs.size() != program.inputs().size())
        throw std::invalid_argument("there must be " + std::to_string(program.inputs().size()) + " inputs, got " +
                                    std::to_string(inputs.size()));
    MlpBatch batch{count, std::move(tensors), {}, {}};
    for (size_t i = 0; i < inputs.size(); ++i) {
        const int64_t rows = inputs[i].ndim() ? inputs[i].shape(0) : 0;
        if ((rows == 0) != (count == 0) || (rows && count % rows))
            throw std::invalid_argument("input " + std::to_string(i) + " has " + std::to_string(rows) + " rows for " +
                                        std::to_string(count) + " samples");
        batch.inputs.push_back(matrix(inputs[i], rows, program.inputs()[i].features, "an input"));
        batch.repeats.push_back(rows ? count / rows : 1);
    }
    return batch;
}

py::array_t<float> forward(const MlpProgram& program, const Arrays& tensors, const Arrays& inputs, int64_t count,
                           int threads) {
    const std::vector<MlpBatch> batches = {batch_of(program, Tensors(program, tensors, 1).of(0), inputs, count)};
    py::array_t<float> out({count, program.outputs()});
    float* const to = out.mutable_data();
    py::gil_scoped_release release;
    mlp_forward(program, batches, {to}, threads);
    return out;
}

float* writable(py::array& array) { return static_cast<float*>(array.mutable_data()); }

py::tuple backward(const MlpProgram& program, const Arrays& tensors, const Arrays& inputs, int64_t count,
                   const py::array& out_gradient, bool to_inputs, int threads) {
    const std::vector<MlpBatch> batches = {batch_of(program, Tensors(program, tensors, 1).of(0), inputs, count)};
    const Matrix given = matrix(out_gradient, count, program.outputs(), "out_gradient");
    if (to_inputs && (inputs.size() != 1 || batches[0].repeats[0] != 1))
        throw std::invalid_argument("gradients of inputs need a single input");
    py::list made;
    MlpGradients gradients;
    for (size_t i = 0; i < tensors.size(); ++i) {
        const std::vector<py::ssize_t> shape(tensors[i].shape(), tensors[i].shape() + tensors[i].ndim());
        py::array array(tensors[i].dtype(), shape);
        gradients.tensors.push_back(writable(array));
        made.append(array);
    }
    py::object of_inputs = py::none();
    if (to_inputs) {
        py::array_t<float> array({count, program.inputs()[0].features});
        gradients.inputs = array.mutable_data();
        of_inputs = array;
    }
    {
        py::gil_scoped_release release;
        mlp_backward(program, batches, {given}, {gradients}, threads);
    }
    return py::make_tuple(made, of_inputs);
}

std::vector<double> squared_error(const MlpProgram& program, const Arrays& tensors, const std::vector<Arrays>& inputs,
                                  const Arrays& targets, double factor, Arrays gradients, int threads) {
    const int64_t networks = targets.size();
    if (inputs.size() != targets.size()) throw std::invalid_argument("inputs and targets differ in number");
    const Tensors from(program, tensors, networks), to(program, gradients, networks);
    for (py::array& array : gradients) array.mutable_data();  // throws unless it is writable
    std::vector<MlpBatch> batches;
    std::vector<Matrix> given;
    std::vector<MlpGradients> set;
    for (int64_t k = 0; k < networks; ++k) {
        const int64_t count = targets[k].ndim() ? targets[k].shape(0) : 0;
        given.push_back(matrix(targets[k], count, program.outputs(), "targets"));
        batches.push_back(batch_of(program, from.of(k), inputs[k], count));
        set.emplace_back();
        for (const float* data : to.of(k)) set.back().tensors.push_back(const_cast<float*>(data));
    }
    py::gil_scoped_release release;
    return mlp_squared_error(program, batches, given, factor, set, threads);
}

// The points `numbers` of a grid that suits the program.
MlpBatch batch_of_grid(const MlpProgram& program, std::vector<const float*> tensors, const Grid& grid,
                       const py::array& numbers) {
    const GridSamples& samples = grid.samples();
    if (program.inputs().size() != 1 || program.inputs()[0].features != samples.axes() ||
        program.outputs() != samples.channels())
        throw std::invalid_argument("a grid of " + std::to_string(samples.axes()) + " axes and " +
                                    std::to_string(samples.channels()) + " channels does not suit the network");
    const int64_t* const data = checked<int64_t>(numbers, "numbers", 1);
    return {numbers.shape(0), std::move(tensors), {}, {}, &samples, data};
}

std::vector<double> grid_squared_error(const MlpProgram& program, const Arrays& tensors,
                                       const std::vector<const Grid*>& grids, const Arrays& numbers, double factor,
                                       Arrays gradients, int threads) {
    const int64_t networks = grids.size();
    if (numbers.size() != grids.size()) throw std::invalid_argument("grids and numbers differ in number");
    const Tensors from(program, tensors, networks), to(program, gradients, networks);
    for (py::array& array : gradients) array.mutable_data();  // throws unless it is writable
    std::vector<MlpBatch> batches;
    std::vector<MlpGradients> set;
    for (int64_t k = 0; k < networks; ++k) {
        batches.push_back(batch_of_grid(program, from.of(k), *grids[k], numbers[k]));
        set.emplace_back();
        for (const float* tensor : to.of(k)) set.back().tensors.push_back(const_cast<float*>(tensor));
    }
    py::gil_scoped_release release;
    return mlp_squared_error(program, batches, {}, factor, set, threads);
}

std::vector<double> grid_score(const MlpProgram& program, const Arrays& tensors, const Grid& grid,
                               const py::array& numbers, const std::string& rule, double full, int threads) {
    const MlpBatch batch = batch_of_grid(program, Tensors(program, tensors, 1).of(0), grid, numbers);
    const ScoreRule by = {named(kScores, rule, "a rule"), full};
    ScoreSums found;
    {
        py::gil_scoped_release release;
        found = mlp_score(program, batch, by, threads);
    }
    return {found.sums, found.sums + sum_count(by.kind)};
}

py::tuple sines(const py::array& x) {
    const float* data = checked<float>(x, "x", 1);
    const int64_t count = x.shape(0), whole = (count + 15) / 16 * 16;
    std::vector<float> in(whole), sine(whole), cosine(whole);
    std::copy_n(data, count, in.data());
    kernels().mlp->sine(in.data(), whole, sine.data(), cosine.data());
    return py::make_tuple(py::array_t<float>(count, sine.data()), py::array_t<float>(count, cosine.data()));
}

}  // namespace

void bind_mlp(py::module_& m) {
    py::class_<MlpProgram>(m, "MlpProgram", "What a network computes; see csrc/mlp/program.hpp.")
        .def(py::init(&make_program), py::arg("inputs"), py::arg("layers"),
             "Take inputs (features, frequencies, buffer, row) and layers (activation, storage, fan_in, fan_out, "
             "in_buffer, in_row, out_buffer, out_row, omega, scale).")
        .def_property_readonly("outputs", &MlpProgram::outputs)
        .def("forward", &forward, py::arg("tensors"), py::arg("inputs"), py::arg("count"), py::arg("threads"),
             "Return values float32 [count, outputs] of the weights and biases of each layer and inputs "
             "float32 [count / repeats, features].")
        .def("backward", &backward, py::arg("tensors"), py::arg("inputs"), py::arg("count"), py::arg("out_gradient"),
             py::arg("to_inputs"), py::arg("threads"),
             "Return gradients of sum(out * out_gradient): of the tensors, and of the input or None.")
        .def("squared_error", &squared_error, py::arg("tensors"), py::arg("inputs"), py::arg("targets"),
             py::arg("factor"), py::arg("gradients"), py::arg("threads"),
             "Set gradients of factor times the mean squared error, and return the errors of K networks whose tensors "
             "are stacked [K, ...].")
        .def("grid_squared_error", &grid_squared_error, py::arg("tensors"), py::arg("grids"), py::arg("numbers"),
             py::arg("factor"), py::arg("gradients"), py::arg("threads"),
             "Do as squared_error on the points int64 [count] of a grid for each network.")
        .def("grid_score", &grid_score, py::arg("tensors"), py::arg("grid"), py::arg("numbers"), py::arg("rule"),
             py::arg("full"), py::arg("threads"),
             "Return the sums of csrc/sampling/score.hpp over points int64 [count] of a grid.");
    m.def("sines", &sines, py::arg("x"), "Return sines and cosines float32 [N] as networks compute them.");
}

}  // namespace coinr
