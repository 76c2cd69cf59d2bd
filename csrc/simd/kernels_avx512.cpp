// Kernel table for x86-64 processors with AVX-512 F, BW, DQ, VL, VBMI, VNNI, BITALG and VPOPCNTDQ (Ice Lake, Zen 4 and
// later).
#include "simd/kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi2,fma,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512bitalg,avx512vpopcntdq,prefer-vector-width=512"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi2,fma,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512bitalg,avx512vpopcntdq,prefer-vector-width=512")
#endif

#define COINR_ISA "avx512"
#define COINR_LEVEL 2
#define COINR_TABLE kKernelsAvx512
#define COINR_MLP_TABLE kMlpAvx512
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
