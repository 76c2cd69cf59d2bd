// Batched orthogonal matching pursuit (Pati et al. 1993; Rubinstein et al. 2008) in a dictionary that is never stored:
// greedily min_x |w - A x|^2 subject to |x|_0 <= s for every vector w.
#pragma once

#include <cstdint>

#include "dictionary/dictionary.hpp"

namespace coinr {

// Finds, for each residual R float32 [B, n], the atom with the largest |a.r|/|a| (lowest index on ties) -> best [B],
// and a.r/|a| -> value [B]. Zero atoms are skipped; a zero residual gives the first atom that is not zero, and a
// dictionary of zero atoms gives -1 and 0. `exact` scores every atom in float64.
void correlate_argmax(const Dictionary& dictionary, const float* R, int64_t B, int threads, bool exact, int32_t* best,
                      float* value);

// Computes sparse codes of W float32 [B, n]: indices [B, s] in order of selection, least-squares values [B, s] of the
// raw atoms, and squared residual norms path [B, s + 1]. A pursuit that ends early (best correlation <= 1e-6 |w|, or an
// atom in the span of the support) leaves index -1 and value 0 and repeats its path. 0 <= s <= min(n, M).
void omp(const Dictionary& dictionary, const float* W, int64_t B, int64_t s, int threads, bool exact,
         int32_t* indices, float* values, float* path);

}  // namespace coinr
