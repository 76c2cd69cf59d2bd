// Kernel table for any processor: the reference for the others.
#include "kernels.hpp"

#define COINR_ISA "portable"
#define COINR_LEVEL 0
#define COINR_TABLE kKernelsPortable
#include "kernels_body.hpp"
#include "tile_body.hpp"
#include "fwht_body.hpp"
#include "least_squares_body.hpp"
#include "table_body.hpp"
