// Python bindings of entropy/sets.hpp and quantize/sparse_rdo.hpp.
#pragma once

#include <pybind11/pybind11.h>

namespace coinr {

void bind_sparse(pybind11::module_& m);

}  // namespace coinr
