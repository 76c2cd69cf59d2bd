// Scores of single atoms against a residual rounded to int16: cheaper than exact ones, and within a bound of them.
#pragma once

#include <cstdint>

#include "simd/aligned.hpp"
#include "dictionary/dictionary.hpp"

namespace coinr {

class RoughResidual {
public:
    void set(const float* r, const Dictionary& dictionary);  // r [padded(n)], not zero

    // |a.r|/|a| for the entries [padded(n)] of an atom that is not zero, off by at most slack().
    double score(const int8_t* row) const;
    double slack() const { return slack_; }

private:
    int64_t stride_ = 0;
    double step_ = 0, slack_ = 0;
    double norm2_ = 0;  // of all atoms; 0 where they differ
    Aligned<int16_t> rounded_;
};

}  // namespace coinr
