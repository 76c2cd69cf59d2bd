// Python bindings of mlp/mlp.hpp.
#pragma once

#include <pybind11/pybind11.h>

namespace coinr {

void bind_mlp(pybind11::module_& m);

}  // namespace coinr
