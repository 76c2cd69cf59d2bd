// Scores of single atoms against a residual rounded to int16: cheaper than exact scores, with a known error bound.
#pragma once

#include <cstdint>

#include "dictionary/dictionary.hpp"
#include "simd/aligned.hpp"

namespace coinr {

class Int16Residual {
public:
    void set(const float* r, const Dictionary& dictionary);  // r [padded(n)], not zero

    // Returns |a.r|/|a| within slack(), for the entries [padded(n)] of an atom that is not zero.
    double score(const int8_t* row) const;
    double slack() const { return slack_; }

private:
    int64_t stride_ = 0;
    double step_ = 0, slack_ = 0;
    double norm2_ = 0;  // |a|^2 of every atom; 0 if atoms differ
    Aligned<int16_t> rounded_;
};

}  // namespace coinr
