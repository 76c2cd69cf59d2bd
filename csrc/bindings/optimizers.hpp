// Python bindings of optimizers/step.hpp.
#pragma once

#include <pybind11/pybind11.h>

namespace coinr {

void bind_optimizers(pybind11::module_& m);

}  // namespace coinr
