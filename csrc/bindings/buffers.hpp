// Checks of arguments from Python: arrays of one dtype, bytes, unsigned integers.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace coinr {

namespace py = pybind11;

// Returns the data of a C-contiguous array; throws unless it has exactly this dtype and number of dimensions.
template <class T>
const T* checked(const py::array& array, const char* name, int dims) {
    if (!py::dtype::of<T>().is(array.dtype()) && !py::dtype::of<T>().equal(array.dtype()))
        throw std::invalid_argument(std::string(name) + " has dtype " + py::str(array.dtype()).cast<std::string>() +
                                    "; allowed: " + py::str(py::dtype::of<T>()).cast<std::string>());
    if (array.ndim() != dims)
        throw std::invalid_argument(std::string(name) + " has " + std::to_string(array.ndim()) +
                                    " dimensions; allowed: " + std::to_string(dims));
    if (!(array.flags() & py::array::c_style))
        throw std::invalid_argument(std::string(name) + " is not C-contiguous");
    if (reinterpret_cast<uintptr_t>(array.data()) % alignof(T) != 0)
        throw std::invalid_argument(std::string(name) + " is not aligned");
    return static_cast<const T*>(array.data());
}

// A C-contiguous, one-byte-per-item buffer, kept alive while it is read.
class Bytes {
public:
    explicit Bytes(const py::buffer& buffer) : info_(buffer.request()) {
        if (info_.itemsize != 1 || info_.ndim != 1 || (info_.shape[0] > 1 && info_.strides[0] != 1))
            throw std::invalid_argument("data must be one-dimensional contiguous bytes");
    }
    const uint8_t* data() const { return static_cast<const uint8_t*>(info_.ptr); }
    int64_t size() const { return info_.size; }

private:
    py::buffer_info info_;
};

// Converts a Python integer of any size; one out of range is a ValueError that shows its value.
inline uint64_t unsigned_in(const py::int_& value, const char* name, int bits) {
    const py::int_ limit = py::int_(1).attr("__lshift__")(bits);
    if (value < py::int_(0) || !(value < limit))
        throw std::invalid_argument(std::string(name) + " is " + py::str(value).cast<std::string>() +
                                    "; allowed: 0 to 2**" + std::to_string(bits) + " - 1");
    return value.cast<uint64_t>();
}

}  // namespace coinr
