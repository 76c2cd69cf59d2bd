// Kernel table for any processor: the reference for the others.
#include "simd/kernels.hpp"

#define COINR_ISA "portable"
#define COINR_LEVEL 0
#define COINR_TABLE kKernelsPortable
#define COINR_MLP_TABLE kMlpPortable
#include "simd/kernels_body.hpp"
#include "simd/tile_body.hpp"
#include "simd/fwht_body.hpp"
#include "simd/least_squares_body.hpp"
#include "simd/trellis_body.hpp"
#include "simd/table_body.hpp"
