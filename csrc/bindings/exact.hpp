// Python bindings of entropy/exact.hpp.
#pragma once

#include <pybind11/pybind11.h>

namespace coinr {

void bind_exact(pybind11::module_& m);

}  // namespace coinr
