// Kernels of networks for x86-64 processors with AVX-512 F, BW, DQ and VL.
#include "simd/mlp_kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#endif

#define COINR_LEVEL 2
#define COINR_TABLE kMlpAvx512
#include "simd/mlp_vector_body.hpp"
#include "simd/mlp_product_body.hpp"
#include "simd/mlp_activation_body.hpp"
#include "simd/optimizer_body.hpp"
#include "simd/mlp_table_body.hpp"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
