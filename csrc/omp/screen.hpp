// Screened selection for `gaussian` and `rademacher`: dictionary tiles are generated once per pass, scored in int8
// against quantized residuals, and only atoms whose exact score can still win are scored in float64.
//
// The screen is rigorous. With r = scale * (q + e), q integer, every exact score a.r/(scale |a|) lies within |e| of
// the integer score a.q/|a| (Cauchy-Schwarz), so the winner's integer score is at least the largest less 2 |e|.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dictionary/dictionary.hpp"
#include "omp/candidates.hpp"
#include "omp/lazy_candidates.hpp"
#include "omp/residual_int8.hpp"
#include "omp/select.hpp"
#include "simd/aligned.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {

// Tiles of a dictionary: stored for the length of a call if they fit in kTileCache bytes, else generated in every pass.
class TileSource {
public:
    static constexpr int64_t kTileCache = int64_t{2} << 20;
    static constexpr int64_t kPanelSteps = 2048;  // groups of four entries generated at a time

    TileSource(const Dictionary& dictionary, Team& team);

    struct Buffer {
        Aligned<uint8_t> codes;
        Aligned<float> inverse_norm;
    };
    Buffer buffer() const;

    int64_t pairs() const { return pairs_; }  // pairs of tiles: kScreenAtoms atoms each
    int64_t steps() const { return steps_; }
    bool cached() const { return !codes_.empty(); }
    const Dictionary& dictionary() const { return dictionary_; }

    struct View {
        const uint8_t* codes;
        int64_t stride;
        const float* inverse_norm;  // 0 for zero atoms and beyond M; valid with the last panel
    };
    // Returns panel [step, step + count) of one pair. Panels of a pair must be requested in order with the same buffer.
    View view(int64_t pair, int64_t step, int64_t count, Buffer& buffer) const;

private:
    void generate(int64_t pair, int64_t step, int64_t count, uint8_t* codes, int64_t stride, float* inverse_norm) const;

    const Dictionary& dictionary_;
    int64_t pairs_, steps_;
    Aligned<uint8_t> codes_;
    Aligned<float> inverse_norm_;
};

class Screen {
public:
    // Allocates for every member of the team that calls select.
    Screen(const TileSource& source, const Team& team);
    ~Screen();

    // Returns the best atom for each query, equal to select_exact up to ties within rounding. Without `score`, an atom
    // that needed no exact comparison has score NaN.
    std::vector<Choice> select(const std::vector<Query>& queries, bool score, Team& team);

    // Makes a pass that keeps the largest scores of every query. Then any thread may call `refill`, once per query.
    void collect_top(const std::vector<Query>& queries, Team& team);
    void refill(int64_t query, const Pursuit& pursuit, LazyCandidates& lazy);

private:
    struct Scan;
    QuantizedRows quantize(const std::vector<Query>& queries, int digits, Team& team) const;
    std::vector<Choice> select_above(const std::vector<Query>& queries, bool score, float sigmas, Team& team);
    void pass(const QuantizedRows& q, bool collect, Team& team);

    const TileSource& source_;
    float sigmas_;  // the first threshold in standard deviations; a query without a score above it is screened again
    std::vector<std::unique_ptr<Scan>> scans_;
    std::vector<float> steps_, slack_;  // of the queries of collect_top
};

}  // namespace coinr
