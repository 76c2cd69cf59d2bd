// The inner loops of networks and of their optimizers, once per instruction set.
//
// Unlike those of kernels.hpp they use fused multiply-add where there is one, so results differ in the last bits from
// one instruction set to another. On one machine equal arguments give equal bits.
//
// A tile holds up to kTile samples: a matrix [features][kTile], of which the first `columns` columns are used, a multiple of
// `lanes`.
#pragma once

#include <cstdint>

namespace coinr {

constexpr int64_t kTile = 64;

// Rows that one block of a product has at most.
constexpr int64_t kBlockRows = 6;

// Returns how many blocks `rows` are divided into, and where block i begins; their sizes differ by at most one.
inline int64_t block_count(int64_t rows) { return (rows + kBlockRows - 1) / kBlockRows; }
inline int64_t block_begin(int64_t rows, int64_t i) {
    const int64_t count = block_count(rows), each = rows / count, more = rows % count;
    return i * each + (i < more ? i : more);
}

enum class Activation { none, sine, finer, gauss, relu, sigmoid, gabor, gabor_complex };

// c = (start + a b) * factor. `c` may be `factor`.
struct Product {
    const float* a;      // packed: blocks of rows, each [depth][rows of the block]; else row r is at r * a_stride
    bool packed;
    int64_t a_stride;
    const float* b;      // column j of row k at b[j / w * b_block + k * b_stride + j % w], w = Kernels::block_columns
    int64_t b_stride, b_block;
    float* c;            // [rows][c_stride]
    int64_t c_stride;
    const float* start;  // as c; null: the biases
    const float* bias;   // [rows]; null: zeros
    int64_t rows, depth, columns;
    const float* factor = nullptr;  // as c; null: ones
    float* sums = nullptr;          // [rows][lanes], where there are factors: sums of c are added, lane by lane
    int64_t a_step = 1;             // from one column of an unpacked `a` to the next
};

// One activation of rows of a tile.
struct ActivationTask {
    Activation activation;
    float omega, scale;
    int64_t rows;     // of pre-activations; the Gabor kinds have other numbers of outputs
    int64_t columns;
    float* y;         // activate: pre-activations in, activations out
    float* kept;      // what the way back needs; null where there is none
    float* gradient;  // differentiate: of activations in, of pre-activations out
    float* sums;      // [rows][lanes]: sums of the pre-activations' gradients are added, lane by lane
};

// One step of Adam for `count` floats.
struct AdamTask {
    float* values;
    const float* gradients;
    float *means, *squares;  // running means of gradients and of their squares
    int64_t count;
    float mean_weight, square_decay, square_weight;  // of the new gradient, of the old square, of the new one
    float square_scale, eps, rate;                   // values -= rate * mean / (sqrt(square * square_scale) + eps)
};

struct MlpKernels {
    int64_t lanes, block_columns;
    void (*multiply)(const Product& task);
    // out: the transposed rows in blocks of block_columns, each [columns][block_columns]. Reads rows up to a multiple of
    // `lanes`.
    void (*transpose)(const float* in, int64_t rows, int64_t columns, float* out);
    void (*activate)(const ActivationTask& task);
    void (*differentiate)(const ActivationTask& task);
    // sums[r][c] += a[r] * b[c], lane by lane: [rows][count][lanes].
    void (*outer)(const float* a, int64_t rows, const float* b, int64_t count, int64_t columns, float* sums);
    // Rows 0 to `features` hold x. Sets those after them to sin(f x) and cos(f x) for each frequency f.
    void (*encode)(float* rows, int64_t features, const float* frequencies, int64_t count, int64_t columns);
    // The way back: adds to the gradients of x those through their sines and cosines.
    void (*encode_gradient)(const float* rows, float* gradient, int64_t features, const float* frequencies,
                            int64_t count, int64_t columns);
    void (*sine)(const float* x, int64_t count, float* sine, float* cosine);  // count a multiple of lanes

    // For optimizers. Counts are any; where they are not whole vectors, `mix` sets the rest of the last one to zero.
    void (*adam)(const AdamTask& task);
    // mean += weight * (gradient - mean), then out = mean + weight * (gradient - mean). Returns the sum of squares of
    // `out`.
    double (*mix)(const float* gradient, float* mean, float weight, int64_t count, float* out);
    void (*scale)(float* y, float factor, int64_t count);
    void (*combine)(float* y, float beta, const float* x, float alpha, int64_t count);  // y = beta y + alpha x
    // out[c][r] = in[r][c]; rows and columns are multiples of `lanes`.
    void (*mirror)(const float* in, int64_t rows, int64_t columns, float* out, int64_t stride);
};

extern const MlpKernels kMlpPortable;
#if defined(__x86_64__)
extern const MlpKernels kMlpAvx2;
extern const MlpKernels kMlpAvx512;
#endif

}  // namespace coinr
