// One step of an optimizer for many tensors: Muon for matrices, Adam for all others.
//
// Threads share matrices, rows of large ones, and parts of the others; their number does not change a bit.
#pragma once

#include <cstdint>
#include <vector>

namespace coinr {

// `count` matrices [rows, columns], best with rows >= columns.
struct MuonTensor {
    float* values;
    const float* gradients;
    float* means;  // running means of the gradients
    int64_t count, rows, columns;
};

struct AdamTensor {
    float* values;
    const float* gradients;
    float *means, *squares;  // running means of the gradients and of their squares
    int64_t count;
    double step;  // the number of this step, from 1
};

struct OptimizerSettings {
    double rate;          // matrices move by twice of it in spectral norm
    double momentum;      // decay of the means of matrices
    double beta1, beta2;  // decay of the others' means
    double eps;
};

void optimizer_step(const std::vector<MuonTensor>& matrices, const std::vector<AdamTensor>& others,
                    const OptimizerSettings& settings, int threads);

}  // namespace coinr
