#include "bindings/trellis_feedback.hpp"

#include <cmath>

#include "bindings/buffers.hpp"
#include "quantize/trellis_feedback.hpp"

namespace coinr {
namespace {

void same_shape(const py::array& array, const py::array& like, const char* name) {
    if (array.shape(0) != like.shape(0) || array.shape(1) != like.shape(1))
        throw std::invalid_argument(std::string(name) + " must have the shape of matrix");
}

py::array_t<int32_t> bind_choose_levels_with_feedback(int log_states, const py::array& matrix,
                                                      const py::array& steps, const py::array& weight,
                                                      const py::array& feedback, const py::array& bits,
                                                      const py::array& table) {
    FeedbackProblem problem{};
    problem.matrix = checked<double>(matrix, "matrix", 2);
    problem.steps = checked<double>(steps, "steps", 2);
    problem.weight = checked<double>(weight, "weight", 2);
    problem.feedback = checked<double>(feedback, "feedback", 2);
    problem.bits = checked<double>(bits, "bits", 3);
    problem.table = checked<uint8_t>(table, "table", 2);
    problem.rows = matrix.shape(0);
    problem.columns = matrix.shape(1);
    problem.tables = bits.shape(0);
    problem.entries = bits.shape(2);
    same_shape(steps, matrix, "steps");
    same_shape(weight, matrix, "weight");
    same_shape(table, matrix, "table");
    if (feedback.shape(0) != problem.columns || feedback.shape(1) != problem.columns)
        throw std::invalid_argument("feedback must be [columns, columns]");
    if (bits.shape(0) < 1 || bits.shape(1) != 2 || problem.entries < 1)
        throw std::invalid_argument("bits must be [tables, 2, entries], none of them empty");
    const int64_t count = problem.rows * problem.columns;
    for (int64_t i = 0; i < count; ++i) {
        if (problem.table[i] >= bits.shape(0)) throw std::invalid_argument("table names one that bits does not hold");
        if (!std::isfinite(problem.matrix[i])) throw std::invalid_argument("matrix holds a value that is not finite");
        if (!(problem.steps[i] > 0) || !std::isfinite(problem.steps[i]))
            throw std::invalid_argument("steps holds one that is not positive and finite");
    }
    std::vector<int32_t> k;
    {
        py::gil_scoped_release release;
        k = choose_levels_with_feedback(log_states, problem);
    }
    return py::array_t<int32_t>({problem.rows, problem.columns}, k.data());
}

}  // namespace

void bind_trellis_feedback(py::module_& m) {
    m.def("choose_levels_with_feedback", &bind_choose_levels_with_feedback, py::arg("log_states"), py::arg("matrix"),
          py::arg("steps"), py::arg("weight"), py::arg("feedback"), py::arg("bits"), py::arg("table"),
          "Return integers int32 [rows, columns] that about minimize weight * ((errors feedback) / steps)^2 + bits.");
}

}  // namespace coinr
