// Kernels of networks for x86-64 processors with AVX2 and FMA.
#include "simd/mlp_kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define COINR_LEVEL 1
#define COINR_TABLE kMlpAvx2
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
