// Kernel table for x86-64 processors with AVX2.
#include "simd/kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,popcnt")
#endif

#define COINR_ISA "avx2"
#define COINR_LEVEL 1
#define COINR_TABLE kKernelsAvx2
#define COINR_MLP_TABLE kMlpAvx2
#include "simd/kernels_body.hpp"
#include "simd/tile_body.hpp"
#include "simd/fwht_body.hpp"
#include "simd/least_squares_body.hpp"
#include "simd/trellis_body.hpp"
#include "simd/table_body.hpp"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
