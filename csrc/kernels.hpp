// The inner loops that exist once per instruction set, behind one table chosen at run time.
//
// kernels_body.hpp is compiled once per instruction set. Its floating-point loops have a fixed lane structure and
// no fused multiply-add, so every table gives the same bits; the portable one is the reference.
#pragma once

#include <cstdint>

namespace coinr {

// Rows of int8 entries and of floats are padded with zeros to a multiple of this many elements.
constexpr int64_t kPad = 64;
inline int64_t padded(int64_t n) { return (n + kPad - 1) / kPad * kPad; }

struct Kernels {
    const char* name;

    // Entries of one gaussian atom: out[0..n) = popcount of byte i of the stream, less 4; out[n..padded(n)) = 0.
    void (*row_popcount)(uint64_t seed, uint32_t stream, uint32_t kind, uint32_t atom, int64_t n, int8_t* out);
    // ±1 from single bits, least significant first; out[n..padded(n)) = 0.
    void (*row_signs)(uint64_t seed, uint32_t stream, uint32_t kind, uint32_t atom, int64_t n, int8_t* out);
    // inout[i] *= (-1)^popcount(rows[i] & column).
    void (*row_parity)(const uint32_t* rows, uint32_t column, int64_t n, int8_t* inout);

    // Sums over padded lengths (multiples of kPad).
    int32_t (*dot_i8)(const int8_t* a, const int8_t* b, int64_t n);
    double (*dot_i8_f32)(const int8_t* a, const float* r, int64_t n);
    double (*energy)(const float* r, int64_t n);
    // r -= sum_k u[k] * atoms[k], float32; atoms int8 [k, n].
    void (*subtract)(const int8_t* atoms, const float* u, int64_t k, int64_t n, float* r);
    // r = float(w - sum_k u[k] * atoms[k]), summed in float64.
    void (*residual)(const int8_t* atoms, const double* u, int64_t k, int64_t n, const float* w, float* r);
    // acc += q * row.
    void (*add_i32)(const int8_t* row, int32_t q, int64_t n, int32_t* acc);
    void (*add_i64)(const int8_t* row, int64_t q, int64_t n, int64_t* acc);
    // sum_i a[i] * b[i] and y += c * a, any length.
    double (*dot_f64)(const double* a, const double* b, int64_t n);
    void (*axpy_f64)(double c, const double* a, int64_t n, double* y);
};

extern const Kernels kKernelsPortable;
#if defined(__x86_64__)
extern const Kernels kKernelsAvx2;
extern const Kernels kKernelsAvx512;
#endif

// The best table this processor can run, lowered by COINR_SIMD=portable|avx2|avx512 (read once).
// Throws std::runtime_error for another value of the variable.
const Kernels& kernels();

}  // namespace coinr
