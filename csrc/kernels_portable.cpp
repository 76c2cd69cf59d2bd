// Kernel table for any processor: the reference for the others.
#include "kernels.hpp"

#define COINR_ISA "portable"
#define COINR_TABLE kKernelsPortable
#include "kernels_body.hpp"
