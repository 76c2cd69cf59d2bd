// The atoms of a support, stored for the sums of least squares.
#pragma once

#include <cstdint>
#include <vector>

#include "dictionary/dictionary.hpp"
#include "simd/aligned.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {

constexpr int64_t kSignGroup = 8;
inline int64_t padded_to_group(int64_t s) { return (s + kSignGroup - 1) / kSignGroup * kSignGroup; }

// Stores one bit per entry for dictionaries of signs, one byte per entry for others. Sums are exact, and equal for
// both. All members of a team compute them, in pieces that do not depend on the size of the team.
class SupportAtoms {
public:
    // Starts an empty support of up to s atoms. Arrays for gram and subtract have padded_to_group(s) elements, all of
    // which gram may write.
    void start(const Dictionary& dictionary, int64_t s);
    void add(const int8_t* row);  // [padded(n)]

    // out[m] = atom m . row.
    void gram(const int8_t* row, double* out, Team& team) const;
    // r -= step * sum_m u[m] atom m, u being zero beyond the last atom. Returns |r|^2.
    double subtract(const int32_t* u, double step, float* r, Team& team) const;
    // out[m] = atom m . w and r = w - sum_m x[m] atom m, in float64.
    void correlate(const float* w, double* out, Team& team) const;
    void residual(const double* x, const float* w, float* r, Team& team) const;

private:
    const int8_t* entries(Aligned<int8_t>& buffer, Team& team) const;  // [size, stride]; unpacks into `buffer`

    bool signs_ = false;
    int64_t n_ = 0, stride_ = 0, size_ = 0;
    Aligned<int8_t> rows_;         // [s, stride], if atoms are not signs
    Aligned<uint64_t> words_;      // signs, see Kernels::pack_signs
    Aligned<uint8_t> bytes_;
};

// Returns |r|^2 for r [stride].
double energy(const float* r, int64_t stride, Team& team);

}  // namespace coinr
