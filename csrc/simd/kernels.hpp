// The inner loops that exist once per instruction set, behind one table chosen at run time.
//
// kernels_body.hpp is compiled once per instruction set. Its floating-point loops have a fixed lane structure and
// no fused multiply-add, so every table gives the same bits; the portable one is the reference. Only those of networks
// differ, see mlp_kernels.hpp.
#pragma once

#include <cstdint>

#include "simd/mlp_kernels.hpp"

namespace coinr {

// Rows of int8 entries and of floats are padded with zeros to a multiple of this many elements.
constexpr int64_t kPad = 64;
inline int64_t padded(int64_t n) { return (n + kPad - 1) / kPad * kPad; }

// Tiles (16 atoms each) that one screening call scores together.
constexpr int kScreenTiles = 2;
constexpr int64_t kScreenAtoms = 16 * kScreenTiles;

// Returns how many rows are scored together if `remaining` are left; the packing of rows follows it.
inline int screen_rows(int max_rows, int64_t remaining) {
    if (max_rows <= 2 || remaining <= 2) return 2;
    if (remaining >= 9) return max_rows;
    return remaining <= 4 ? 4 : remaining <= 6 ? 6 : 8;
}

// Integer scores of kScreenTiles tiles against int8 rows, in panels of entries.
struct ScreenTask {
    const uint8_t* tiles;       // kScreenTiles tiles, tile_stride bytes apart, each [steps][16][4]
    int64_t tile_stride, steps;
    int64_t skip;               // steps of earlier panels
    bool first, last;           // panels
    const int8_t* rows;         // blocks of NB = screen_rows(..) rows, each [row_bytes / 4][NB][4]
    int64_t row_bytes, row_count;
    const int32_t* offset;      // [row_count], subtracted from the product of codes and bytes
    int digits;                 // rows per query: 1, or 2 for base * first + second
    float base;
    int64_t queries;
    const float* inverse_norm;  // [kScreenAtoms]
    const float* threshold;     // [queries]
    int32_t* partial;           // [row_count][kScreenAtoms] between panels
    // Called with the scores [kScreenAtoms] of a query if some, those in the bit mask `which`, reach its threshold in
    // magnitude; may raise the threshold.
    void (*hit)(void* context, int64_t query, uint32_t which, const float* scores);
    void* context;
};

// Which of 16 consecutive rows of H are used, and how many used rows come before them.
struct RowGroup {
    uint32_t before, taken;  // taken: one bit per row
};

// The Walsh-Hadamard transform of one residual, signed.
struct FwhtTask {
    const float* residual;    // [n rounded up to 16], zeros from n on
    const uint32_t* signs;    // [n / 32 + 2]: bit i % 32 of word i / 32 flips entry i
    const RowGroup* groups;   // [ceil(order / 16)]
    int64_t n, order;
    float* x;                 // [order rounded up to 16], scratch
    const float* threshold;   // not negative
    // Called for a group of 16 columns if some values [16] reach the threshold in magnitude: bit l of `lanes` for value
    // l. May raise the threshold. Columns beyond the order are void.
    void (*hit)(void* context, int64_t group, uint32_t lanes, const float* values);
    void* context;
};

// 32 transforms of residuals rounded by Kernels::round_to_int16_lanes, with the same signs.
struct FwhtInt16Task {
    const int16_t* residuals;  // [n][32]
    const int16_t* sign_masks; // [n]: -1 where the sign is negative, else 0
    const uint32_t* rows;      // [n]: the row of H of entry i
    int64_t n, order;
    int16_t* x;                // [order][32], scratch
    const int16_t* threshold;  // [32]
    void (*hit)(void* context, int64_t column, uint32_t lanes, const int16_t* values);  // as above
    void* context;
};

// Over all entries, in units of the step: squared rounding errors, squares, and the sum of each digit.
struct QuantizeSums {
    double error, size;
    int64_t sum[2];
};

// What a table of bits says of the integers of a target, by the four pairs of quantizer and parity.
struct OptionTable {
    double row[4];                   // where its bits begin in TrellisTask::bits
    double zero_bits[4];             // the bits of zero
    double two_down[4], to_zero[4];  // the most bits saved by an integer that moves down by two, or to zero
};

// A Viterbi search over targets, one survivor a state: see quantize/trellis.cpp.
struct TrellisTask {
    int64_t count;
    const double *x, *weight;   // [count]; weight[i * weight_stride]
    int64_t weight_stride;
    double largest;             // larger targets count as this one
    const uint8_t* table;       // [count], or null for the first table
    const OptionTable* tables;
    const double* bits;         // [.., entries]
    int64_t entries;
    // Chooses the integer of each of a target's four options, the only way where it may lie beyond the entries: sets
    // the costs [4], and bits [at, at + 4) of `lower` and `zero` for those two below the nearest, or zero instead.
    void (*choose_options)(const void* context, int64_t i, double* cost, int at, uint32_t* lower, uint32_t* zero);
    const void* context;
    int states;                 // 4 to 256
    uint32_t feedback, input;   // as in Trellis
    double* cost;               // [states, at least 16], on a cache line, infinite beyond the states: before and after
    uint8_t* odd;               // [count][states / 8, at least 1]: bit s % 8 of byte s / 8 for state s
    uint8_t* options;           // [count]: bits 0 to 3 for options two below the nearest integer, 4 to 7 for zero
};

struct Kernels {
    const char* name;

    // Entries of one gaussian atom: out[0..n) = popcount of byte i of the stream, less 4; out[n..padded(n)) = 0.
    void (*row_popcount)(uint64_t seed, uint32_t stream, uint32_t kind, uint32_t atom, int64_t n, int8_t* out);
    // ±1 from single bits, least significant first; out[n..padded(n)) = 0.
    void (*row_signs)(uint64_t seed, uint32_t stream, uint32_t kind, uint32_t atom, int64_t n, int8_t* out);
    // The same from given words.
    void (*spread_signs)(const uint32_t* words, int64_t n, int8_t* out);
    // inout[i] *= (-1)^popcount(rows[i] & column).
    void (*row_parity)(const uint32_t* rows, uint32_t column, int64_t n, int8_t* inout);

    // Sums over padded lengths (multiples of kPad).
    int32_t (*dot_i8)(const int8_t* a, const int8_t* b, int64_t n);
    double (*dot_i8_f32)(const int8_t* a, const float* r, int64_t n);
    int64_t (*dot_i8_i16)(const int8_t* a, const int16_t* q, int64_t n);
    double (*energy)(const float* r, int64_t n);
    // acc += q * row.
    void (*add_i32)(const int8_t* row, int32_t q, int64_t n, int32_t* acc);
    void (*add_i64)(const int8_t* row, int64_t q, int64_t n, int64_t* acc);
    // sum_i a[i] * b[i] and y += c * a, any length.
    double (*dot_f64)(const double* a, const double* b, int64_t n);
    void (*axpy_f64)(double c, const double* a, int64_t n, double* y);
    // after[s][l] = before[s][l] + sum_t errors[s][t] * rows[t * stride + l], t from 0 to count, for four s.
    void (*add_feedback)(const float* const before[4], const float* const errors[4], int64_t count, const float* rows,
                         int64_t stride, int64_t n, float* const after[4]);

    // Generate tiles of 16 consecutive atoms: Philox calls [first, first + calls), zero codes from entry n on.
    // norm2 [16] += squared norms less 16 per entry.
    void (*tile_popcount)(uint64_t seed, uint32_t stream, uint32_t kind, uint32_t atom, int64_t first, int64_t calls,
                          int64_t n, uint8_t* out, int32_t* norm2);
    void (*tile_signs)(uint64_t seed, uint32_t stream, uint32_t kind, uint32_t atom, int64_t first, int64_t calls,
                       int64_t n, uint8_t* out);
    float (*max_abs)(const float* r, int64_t n);  // n a multiple of 16
    // Rounds r * inverse (below 2^22 in magnitude), entries [0, n rounded up to 16), to integers of one digit, or of
    // two: base * first + second. Groups of four entries of digit d go to to[d], stride[d] bytes apart.
    void (*quantize)(const float* r, int64_t n, float inverse, int digits, float base, int8_t* const to[2],
                     const int64_t stride[2], QuantizeSums* sums);
    int screen_rows;
    void (*screen)(const ScreenTask& task);

    // out[m] = atoms[m] . row for atoms int8 [k, n].
    void (*gram)(const int8_t* atoms, const int8_t* row, int64_t k, int64_t n, double* out);
    // r -= step * sum_k u[k] * atoms[k] over n entries, the sum exact for each 64 atoms; |u| <= 2^20, atoms int8
    // [k, stride] at most 8.
    void (*subtract)(const int8_t* atoms, int64_t stride, const int32_t* u, int64_t k, int64_t n, double step,
                     float* r);
    // r = float(w - sum_k u[k] * atoms[k]) over n entries, summed in float64.
    void (*residual)(const int8_t* atoms, int64_t stride, const double* u, int64_t k, int64_t n, const float* w,
                     float* r);
    // Atoms of +-1 as sign bits, in groups of eight: words [group][n / 64][8] and bytes [group][n], bit m of both
    // being atom m of the group. pack_signs sets atom m of one group, atoms in order.
    void (*pack_signs)(const int8_t* row, int64_t n, int m, uint64_t* words, uint8_t* bytes);
    // Unpacks the entries of the atom whose first word is given; out[entries..n) = 0.
    void (*unpack_signs)(const uint64_t* words, int64_t n, int64_t entries, int8_t* out);
    // As gram and subtract. Of n entries, those from `entries` on are padding. out and u have whole groups; u is zero
    // beyond k.
    void (*gram_signs)(const uint64_t* words, const int8_t* row, int64_t k, int64_t n, int64_t entries, double* out);
    void (*subtract_signs)(const uint8_t* bytes, int64_t stride, const int32_t* u, int64_t k, int64_t n, double step,
                           float* r);
    // For rows [begin, stop) of a triangular basis, begin a multiple of eight: inner[begin..stop) = rows gram and
    // out[0..stop) = -inner rows, both padded to whole groups of eight. Returns |inner|^2 of these rows. `basis` starts
    // at row `begin`; group g stores its eight rows as [8, 8 (g + 1)], with zeros above the diagonal.
    double (*project)(const double* basis, const double* gram, int64_t begin, int64_t stop, double* inner, double* out);
    // row = coefficients * inverse, and update = row rounded to multiples of largest / levels; whole groups of eight.
    // Returns `largest`, the largest magnitude of the row.
    double (*basis_row)(const double* coefficients, int64_t count, double inverse, double levels, double* row,
                        int32_t* update);

    // q = r * inverse rounded, below 2^15 in magnitude; n a multiple of kPad. Returns the squared rounding errors and
    // sets `size` to the squares.
    double (*round_i16)(const float* r, int64_t n, float inverse, int16_t* q, double* size);
    // Philox words of the counters (c0, 0.., c2, c3): out [calls rounded up to 8, 4].
    void (*words)(uint64_t seed, uint32_t c0, uint32_t c2, uint32_t c3, int64_t calls, uint32_t* out);
    // Rounds residuals [n], n a multiple of kPad up to 2^14, to out [n][32]. The step is so large that magnitudes add
    // up to at most 32 760 - n / 2 before rounding, and to n / 2 more after it, so every signed sum fits int16.
    // Rounding errors and sizes are in squared steps.
    void (*round_to_int16_lanes)(const float* const residuals[32], int64_t n, int16_t* out, double error[32],
                                 double size[32]);
    // out[i] = -1 where bit i % 32 of word i / 32 is set, else 0; n a multiple of 32.
    void (*sign_masks)(const uint32_t* words, int64_t n, int16_t* out);
    void (*fwht)(const FwhtTask& task);
    void (*fwht_int16)(const FwhtInt16Task& task);
    void (*find_survivors)(const TrellisTask& task);
    const MlpKernels* mlp;  // these alone differ in the last bits
};

extern const Kernels kKernelsPortable;
#if defined(__x86_64__)
extern const Kernels kKernelsAvx2;
extern const Kernels kKernelsAvx512;
#endif

// Returns the best table that this processor can run; COINR_SIMD=portable|avx2|avx512 (read once) selects a lower one.
// Throws std::runtime_error for another value of the variable.
const Kernels& kernels();

}  // namespace coinr
