// Python's door to the choice of integers under a quadratic form.
#pragma once

#include <pybind11/pybind11.h>

namespace coinr {

void bind_shaped(pybind11::module_& m);

}  // namespace coinr
