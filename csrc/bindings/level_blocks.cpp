#include "bindings/level_blocks.hpp"

#include <pybind11/numpy.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/buffers.hpp"
#include "entropy/levels_rans.hpp"

namespace coinr {

LevelModel level_model(int64_t rows, int64_t columns, int log_states, int shape, int32_t scale, int switches) {
    if (rows < 0 || columns < 0 || (rows > 0 && columns > (int64_t{1} << 48) / rows))
        throw std::invalid_argument("shape [" + std::to_string(rows) + ", " + std::to_string(columns) +
                                    "] is not allowed; at most 2**48 elements");
    if (switches < 0 || switches > 127)
        throw std::invalid_argument("switches is " + std::to_string(switches) + "; allowed: 0 to 127");
    return {rows,
            columns,
            log_states,
            shape,
            scale,
            (switches & 1) != 0,
            (switches & 2) != 0,
            (switches & 4) != 0,
            (switches & 8) != 0,
            (switches & 16) != 0,
            (switches & 32) != 0,
            (switches & 64) != 0};
}

namespace {

CodedLevels bind_encode_levels_in_blocks(const py::array& k, const py::array& row, int log_states, int shape,
                                       int32_t scale, int switches) {
    const bool narrow = k.itemsize() == sizeof(int16_t);
    const LevelSource source{narrow ? checked<int16_t>(k, "k", 2) : nullptr,
                             narrow ? nullptr : checked<int32_t>(k, "k", 2)};
    const uint8_t* rows = checked<uint8_t>(row, "row", 1);
    const LevelModel model = level_model(k.shape(0), k.shape(1), log_states, shape, scale, switches);
    const LevelData exponents{{}, std::vector<uint8_t>(rows, rows + row.size()), {}};
    py::gil_scoped_release release;
    return encode_levels_in_blocks(model, source, exponents);
}

// Keeps the coded bytes alive, and checks how much is read.
class Reader {
public:
    Reader(const py::buffer& data, int64_t rows, int64_t columns, int log_states, int shape, int32_t scale,
           int switches)
        : bytes_(data), left_(rows * columns),
          reader_(level_model(rows, columns, log_states, shape, scale, switches), bytes_.data(), bytes_.size()) {}

    py::array_t<uint8_t> row() const { return as_array(reader_.exponents().row); }
    py::array_t<uint8_t> column() const { return as_array(reader_.exponents().column); }

    py::array_t<int32_t> read(int64_t count) {
        if (count < 0 || count > left_)
            throw std::invalid_argument("count is " + std::to_string(count) + "; allowed: 0 to " +
                                        std::to_string(left_));
        py::array_t<int32_t> values(count);
        int32_t* to = values.mutable_data();
        py::gil_scoped_release release;
        reader_.read(count, to);
        left_ -= count;
        return values;
    }

    void finish() const {
        if (left_) throw std::invalid_argument(std::to_string(left_) + " levels are not read");
        reader_.finish();
    }

private:
    static py::array_t<uint8_t> as_array(const std::vector<uint8_t>& values) {
        return py::array_t<uint8_t>(static_cast<py::ssize_t>(values.size()), values.data());
    }

    const Bytes bytes_;
    int64_t left_;
    LevelReader reader_;
};

}  // namespace

void bind_level_blocks(py::module_& m) {
    py::class_<CodedLevels>(m, "CodedLevels", "Coded levels before they are put together.")
        .def("finish", [](CodedLevels& coded) { return py::bytes(coded.finish()); }, "Return the bytes; call it once.");
    m.def("encode_levels_in_blocks", &bind_encode_levels_in_blocks, py::arg("k"), py::arg("row"),
          py::arg("log_states"), py::arg("shape"), py::arg("scale"), py::arg("switches"),
          "Encode integers int16 or int32 [rows, columns] and step exponents of rows uint8 by rANS, as encode_levels "
          "but in memory for the coded bytes and one block.");
    py::class_<Reader>(m, "LevelReader", "Reads what rANS coded, some values at a time.")
        .def(py::init<const py::buffer&, int64_t, int64_t, int, int, int32_t, int>(), py::arg("data"), py::arg("rows"),
             py::arg("columns"), py::arg("log_states"), py::arg("shape"), py::arg("scale"), py::arg("switches"))
        .def_property_readonly("row", &Reader::row, "The step exponents of rows, uint8.")
        .def_property_readonly("column", &Reader::column, "The step exponents of columns, uint8.")
        .def("read", &Reader::read, py::arg("count"), "Return the next values, int32 [count], in multiples of the step.")
        .def("finish", &Reader::finish, "Check that nothing is left.");
}

}  // namespace coinr
