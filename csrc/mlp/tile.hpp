// The passes of one tile of samples.
#pragma once

#include "mlp/layout.hpp"
#include "mlp/mlp.hpp"

namespace coinr {

class MlpTile {
public:
    // Uses memory of the thread, which the next tile of the thread uses again.
    MlpTile(const MlpProgram& program, const MlpLayout& layout, const MlpKernels& kernels, bool back);

    // Takes samples first to first + count of a batch, and their encoding; count at most kTile.
    void load(const MlpBatch& batch, int64_t first, int64_t count);
    void forward(const float* packed);
    // Writes [count, outputs].
    void store_outputs(float* out) const;
    // Adds the sums of a score against the values of a batch of a grid.
    void add_score(const MlpBatch& batch, int64_t first, const ScoreRule& rule, ScoreSums& to) const;
    // Sets the outputs' gradients to given ones, or to the values of a batch of a grid.
    void load_gradients(const Matrix& gradients, int64_t first);
    void load_values(const MlpBatch& batch, int64_t first);
    // Takes them for targets, and sets the gradients of scale / 2 times the squared error, which is returned.
    double load_error(float scale);
    // Adds the gradients of the layers to `sums`.
    void backward(const float* packed, float* sums);
    // Writes [count, features] of the only input.
    void store_input_gradients(float* out);

private:
    void load_points(const MlpBatch& batch, int64_t first);
    float* row(float* of, int64_t buffer, int64_t r) const {
        return of + (program_.buffer_begin()[buffer] + r) * kTile;
    }

    const MlpProgram& program_;
    const MlpLayout& layout_;
    const MlpKernels& kernels_;
    const bool back_;
    int64_t count_ = 0, columns_ = 0;
    float *y_, *kept_, *gradients_, *transposed_;
};

}  // namespace coinr
