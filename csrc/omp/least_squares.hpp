// Least squares on a growing support: min_x |w - A_S x|^2, one more atom in S at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "dictionary/dictionary.hpp"
#include "omp/support_atoms.hpp"
#include "simd/aligned.hpp"

namespace coinr {

// Returns the exponent e for which the largest magnitude of w [n] / 2^e lies in [0.5, 1); 0 for a zero vector.
int scale_exponent(const float* w, int64_t n);

// The pursuit of one vector: its support, its least-squares solution and its residual. Work is divided in the same way
// for every size of the team, so that results do not depend on it.
//
// Gram entries of integer atoms are exact, so the orthogonal basis is kept as coefficients V of the atoms
// (q_k = A_S v_k, upper triangular, float64) instead of n floats per basis vector: the working set is s * n bytes,
// or 2 s * n bits where atoms are signs.
// Every new basis vector updates the float32 residual. It is recomputed in float64 from w whenever its energy has
// fallen by kRefresh, so its error stays near 1e-6 of its norm in pursuits of any length.
class Pursuit {
public:
    // Starts a pursuit of w [n] (finite) with up to s atoms. An exact power of two scales w to a maximum in [0.5, 1).
    void start(const Dictionary& dictionary, const float* w, int64_t s);

    // Adds `atom` to the support. Returns false and changes nothing if its |a.r|/|a| is at most `floor` (scaled), or if
    // it is numerically in the span of the support.
    bool add(const Dictionary& dictionary, int64_t atom, double floor, Team& team);

    // Recomputes solution and residual from w in float64, which makes solution() and energy() most accurate.
    void refresh(Team& team);

    int64_t size() const { return static_cast<int64_t>(support_.size()); }
    const std::vector<int32_t>& support() const { return support_; }
    const float* residual() const { return r_.data(); }   // scaled, [padded(n)]
    double energy() const { return energy_; }             // |r|^2, scaled
    double input_energy() const { return input_energy_; } // |w|^2, scaled
    int exponent() const { return exponent_; }            // w = scaled * 2^exponent
    std::vector<double> solution() const;                 // scaled coefficients of the support

private:
    double project(Team& team);  // coefficients_ = -V V^T gram_; returns |V^T gram_|^2

    int64_t n_ = 0, stride_ = 0;
    int exponent_ = 0;
    double energy_ = 0, input_energy_ = 0, refreshed_energy_ = 0;
    std::vector<int32_t> support_;
    Aligned<int8_t> row_;         // [stride]
    SupportAtoms atoms_;
    Aligned<double> basis_;       // the k + 1 coefficients of every q_k, see Kernels::project
    std::vector<double> z_;       // coordinates of w in the basis
    Aligned<double> gram_, inner_, coefficients_;
    Aligned<double> partial_;       // of coefficients_, one per piece of the basis
    Aligned<int32_t> update_;
    Aligned<float> w_, r_;
};

}  // namespace coinr
