#include "bindings/exact.hpp"

#include <pybind11/numpy.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/buffers.hpp"
#include "entropy/exact.hpp"

namespace coinr {
namespace {

void check_shape(int64_t rows, int64_t columns) {
    if (rows < 0 || columns < 0 || (rows > 0 && columns > (int64_t{1} << 48) / rows))
        throw std::invalid_argument("shape [" + std::to_string(rows) + ", " + std::to_string(columns) +
                                    "] is not allowed; at most 2**48 words");
}

ExactForm form_of(int64_t rows, int64_t columns, int width, int lanes, int transform, int modeled) {
    check_shape(rows, columns);
    if (transform < 0 || transform > 3)
        throw std::invalid_argument("transform is " + std::to_string(transform) + "; allowed: 0 to 3");
    return {rows, columns, width, lanes, static_cast<Transform>(transform), modeled};
}

void check_size(int64_t size, int64_t expected) {
    if (size != expected)
        throw std::invalid_argument("raw holds " + std::to_string(size) + " bytes, not " + std::to_string(expected));
}

py::bytes bind_encode_exact(const py::buffer& raw, int64_t rows, int64_t columns, int width, int lanes, int transform,
                            int modeled) {
    const ExactForm form = form_of(rows, columns, width, lanes, transform, modeled);
    const Bytes bytes(raw);
    check_size(bytes.size(), rows * columns * width);
    std::string out;
    {
        py::gil_scoped_release release;
        out = encode_exact(form, bytes.data());
    }
    return py::bytes(out);
}

py::array_t<uint8_t> bind_decode_exact(const py::buffer& data, int64_t rows, int64_t columns, int width, int lanes,
                                       int transform, int modeled) {
    const ExactForm form = form_of(rows, columns, width, lanes, transform, modeled);
    const Bytes bytes(data);
    check_exact(form, bytes.size());
    py::array_t<uint8_t> raw(rows * columns * width);
    uint8_t* to = raw.mutable_data();
    py::gil_scoped_release release;
    decode_exact(form, bytes.data(), bytes.size(), to);
    return raw;
}

py::bytes bind_encode_continued(const py::buffer& known, const py::buffer& raw, int64_t columns) {
    const Bytes before(known), bytes(raw);
    std::string out;
    {
        py::gil_scoped_release release;
        std::vector<uint8_t> all(before.data(), before.data() + before.size());
        all.insert(all.end(), bytes.data(), bytes.data() + bytes.size());
        out = encode_continued(all.data(), before.size(), static_cast<int64_t>(all.size()), columns);
    }
    return py::bytes(out);
}

py::bytes bind_decode_continued(const py::buffer& known, const py::buffer& data, int64_t size, int64_t columns) {
    const Bytes before(known), bytes(data);
    if (size < 0 || size > (int64_t{1} << 17)) throw std::invalid_argument("size must be at most 2**17");
    std::vector<uint8_t> all(before.data(), before.data() + before.size());
    {
        py::gil_scoped_release release;
        all.resize(before.size() + size);
        decode_continued(bytes.data(), bytes.size(), before.size(), static_cast<int64_t>(all.size()), columns,
                         all.data());
    }
    return py::bytes(reinterpret_cast<const char*>(all.data()) + before.size(), size);
}

py::array_t<double> bind_exact_costs(const py::buffer& raw, int64_t rows, int64_t columns, int width, int lanes,
                                     int transform) {
    const ExactForm form = form_of(rows, columns, width, lanes, transform, 8 * width);
    const Bytes bytes(raw);
    check_size(bytes.size(), rows * columns * width);
    const std::vector<double> bits = exact_costs(form, bytes.data());
    return py::array_t<double>(static_cast<py::ssize_t>(bits.size()), bits.data());
}

py::bytes bind_encode_bools(const py::buffer& raw, int64_t rows, int64_t columns) {
    check_shape(rows, columns);
    const Bytes bytes(raw);
    check_size(bytes.size(), rows * columns);
    for (int64_t i = 0; i < bytes.size(); ++i)
        if (bytes.data()[i] > 1) throw std::invalid_argument("a bool that is neither 0 nor 1");
    std::string out;
    {
        py::gil_scoped_release release;
        out = encode_bools(rows, columns, bytes.data());
    }
    return py::bytes(out);
}

py::array_t<uint8_t> bind_decode_bools(const py::buffer& data, int64_t rows, int64_t columns) {
    check_shape(rows, columns);
    const Bytes bytes(data);
    check_bools(rows, columns, bytes.size());
    py::array_t<uint8_t> raw(rows * columns);
    uint8_t* to = raw.mutable_data();
    py::gil_scoped_release release;
    decode_bools(rows, columns, bytes.data(), bytes.size(), to);
    return raw;
}

}  // namespace

void bind_exact(py::module_& m) {
    m.def("encode_exact", &bind_encode_exact, py::arg("raw"), py::arg("rows"), py::arg("columns"), py::arg("width"),
          py::arg("lanes"), py::arg("transform"), py::arg("modeled"),
          "Encode little-endian words [rows, columns], their leading bits by an arithmetic coder.");
    m.def("decode_exact", &bind_decode_exact, py::arg("data"), py::arg("rows"), py::arg("columns"), py::arg("width"),
          py::arg("lanes"), py::arg("transform"), py::arg("modeled"),
          "Undo encode_exact: the bytes of the words, uint8 [rows * columns * width].");
    m.def("encode_continued", &bind_encode_continued, py::arg("known"), py::arg("raw"), py::arg("columns"),
          "Encode bytes that continue known ones, in rows of `columns`, by a model that learns from those first.");
    m.def("decode_continued", &bind_decode_continued, py::arg("known"), py::arg("data"), py::arg("size"),
          py::arg("columns"), "Undo encode_continued: `size` bytes.");
    m.def("exact_costs", &bind_exact_costs, py::arg("raw"), py::arg("rows"), py::arg("columns"), py::arg("width"),
          py::arg("lanes"), py::arg("transform"),
          "Return the cost in bits of each bit of the words if all are modeled: float64 [8 * width], leading "
          "bit first.");
    m.def("max_modeled_bits", &max_modeled_bits, py::arg("size"),
          "Return the largest number of modeled bits that a payload of so many bytes may decode to.");
    m.def("encode_bools", &bind_encode_bools, py::arg("raw"), py::arg("rows"), py::arg("columns"),
          "Encode bytes 0 or 1 as arithmetic-coded bits.");
    m.def("decode_bools", &bind_decode_bools, py::arg("data"), py::arg("rows"), py::arg("columns"),
          "Undo encode_bools: uint8 [rows * columns].");
}

}  // namespace coinr
