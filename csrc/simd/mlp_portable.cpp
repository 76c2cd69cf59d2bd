// Kernels of networks in portable C++.
#include "simd/mlp_kernels.hpp"

#define COINR_LEVEL 0
#define COINR_TABLE kMlpPortable
#include "simd/mlp_vector_body.hpp"
#include "simd/mlp_product_body.hpp"
#include "simd/mlp_activation_body.hpp"
#include "simd/optimizer_body.hpp"
#include "simd/mlp_table_body.hpp"
