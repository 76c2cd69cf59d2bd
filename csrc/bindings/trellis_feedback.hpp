// Python bindings of quantize/trellis_feedback.hpp.
#pragma once

#include <pybind11/pybind11.h>

namespace coinr {

void bind_trellis_feedback(pybind11::module_& m);

}  // namespace coinr
