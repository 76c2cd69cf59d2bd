#include "omp/select.hpp"

#include <algorithm>
#include <cmath>

#include "simd/aligned.hpp"
#include "simd/kernels.hpp"

namespace coinr {

bool score_row(const int8_t* row, const float* residual, int64_t stride, double* score) {
    const Kernels& kernel = kernels();
    const int32_t norm2 = kernel.dot_i8(row, row, stride);
    if (norm2 == 0) return false;
    *score = kernel.dot_i8_f32(row, residual, stride) / std::sqrt(static_cast<double>(norm2));
    return true;
}

std::vector<Choice> select_exact(const Dictionary& dictionary, const std::vector<Query>& queries, Team& team) {
    constexpr int64_t kBlock = 64;
    const int64_t stride = padded(dictionary.n);
    const size_t count = queries.size();
    std::vector<std::vector<Choice>> found(team.size(), std::vector<Choice>(count));
    std::vector<Aligned<int8_t>> rows(team.size(), Aligned<int8_t>(stride));
    team.for_each((dictionary.M + kBlock - 1) / kBlock, 1, [&](int64_t block, int rank) {
        int8_t* row = rows[rank].data();
        for (int64_t j = block * kBlock; j < std::min((block + 1) * kBlock, dictionary.M); ++j) {
            dictionary.row(j, row);
            for (size_t v = 0; v < count; ++v) {
                Choice now{j, 0};
                if (!score_row(row, queries[v].residual, stride, &now.score) || !now.beats(found[rank][v])) continue;
                const std::vector<int32_t>& out = *queries[v].excluded;
                if (std::find(out.begin(), out.end(), static_cast<int32_t>(j)) == out.end()) found[rank][v] = now;
            }
        }
    });
    for (int rank = 1; rank < team.size(); ++rank)
        for (size_t v = 0; v < count; ++v)
            if (found[rank][v].beats(found[0][v])) found[0][v] = found[rank][v];
    return found[0];
}

}  // namespace coinr
