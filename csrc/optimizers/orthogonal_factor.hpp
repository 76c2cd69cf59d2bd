// The matrix of orthonormal columns that is nearest to a matrix, about: the direction of a step of Muon.
#pragma once

#include <cstdint>
#include <functional>

#include "simd/aligned.hpp"
#include "simd/kernels.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {

// A matrix M = U S V^T [rows, columns] in working memory, best with rows >= columns.
//
// Four steps of the Newton-Schulz iteration of Jordan et al. 2024, M (c + b A + a A^2) for A = M^T M, bring all
// singular values near one but the smallest. A and its polynomial are symmetric: one half is computed, then copied.
// Without a team the caller's thread does everything; the result does not depend on it.
class OrthogonalFactor {
public:
    OrthogonalFactor(int64_t rows, int64_t columns, Team* team);

    // Starts from mean + weight * (gradient - mean) after mean += weight * (gradient - mean), all [rows, columns].
    void load(const float* gradients, float* means, float weight);

    // Subtracts rate * U V^T from `values`.
    void subtract_from(float* values, float rate);

private:
    void each(int64_t count, const std::function<void(int64_t)>& body) const;
    void square(const float* in, int64_t depth, float* out, bool to_polynomial) const;
    void multiply_rows(int64_t first, int64_t count);

    const int64_t rows_, columns_, wide_, stride_;  // wide: columns in whole vectors
    Team* const team_;
    const MlpKernels& kernels_;
    Aligned<float> matrix_, next_, square_, polynomial_;
};

}  // namespace coinr
