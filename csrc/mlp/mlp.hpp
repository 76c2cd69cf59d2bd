// Networks on batches of samples: values, gradients, and both of the squared error in one pass.
//
// Samples are taken in tiles whose activations stay in cache. Tiles form groups that depend on the batch and the
// network alone; gradients are added up tile by tile within a group, then group by group. So the number of threads
// does not change a bit.
#pragma once

#include <cstdint>
#include <vector>

#include "mlp/program.hpp"
#include "sampling/grid_samples.hpp"
#include "sampling/score.hpp"

namespace coinr {

// A matrix of floats; strides in floats.
struct Matrix {
    const float* data = nullptr;
    int64_t row_stride = 0, column_stride = 0;
    float at(int64_t row, int64_t column) const { return data[row * row_stride + column * column_stride]; }
};

// A batch of one network. Inputs are given, or those of the points `numbers` [count] of a grid.
struct MlpBatch {
    int64_t count;                     // samples
    std::vector<const float*> tensors; // weights, then biases, of each layer in turn
    std::vector<Matrix> inputs;        // [count / repeats, features] for each input of the program
    std::vector<int64_t> repeats;      // adjacent samples that share a row
    const GridSamples* grid = nullptr;
    const int64_t* numbers = nullptr;
};

// Sets `out` [count, outputs] for each batch.
void mlp_forward(const MlpProgram& program, const std::vector<MlpBatch>& batches, const std::vector<float*>& out,
                 int threads);

// Where gradients go: as the tensors of a batch; inputs [count, features] of the only input where that is not null.
struct MlpGradients {
    std::vector<float*> tensors;
    float* inputs = nullptr;
};

// Sets the gradients of sum(out * out_gradient), out_gradient [count, outputs].
void mlp_backward(const MlpProgram& program, const std::vector<MlpBatch>& batches,
                  const std::vector<Matrix>& out_gradients, const std::vector<MlpGradients>& gradients, int threads);

// Sets the gradients of factor times the mean squared difference of `out` and `targets` [count, outputs]; returns the
// mean squared differences. Targets of a batch of a grid are the grid's values. Throws std::invalid_argument if one of
// its numbers is of no point.
std::vector<double> mlp_squared_error(const MlpProgram& program, const std::vector<MlpBatch>& batches,
                                      const std::vector<Matrix>& targets, double factor,
                                      const std::vector<MlpGradients>& gradients, int threads);

// Returns the sums that the score on a batch of a grid is computed from. Throws as mlp_squared_error does.
ScoreSums mlp_score(const MlpProgram& program, const MlpBatch& batch, const ScoreRule& rule, int threads);

}  // namespace coinr
