// Screened selection for `gaussian` and `rademacher`: dictionary tiles are generated once per pass, scored in int8
// against quantised residuals, and only atoms whose exact score can still win are scored in float64.
//
// The screen is rigorous. With r = scale * (q + e), q integer, every exact score a.r/(scale |a|) lies within |e| of
// the integer score a.q/|a| (Cauchy-Schwarz), so the winner's integer score is at least the largest less 2 |e|.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "simd/aligned.hpp"
#include "omp/candidates.hpp"
#include "dictionary/dictionary.hpp"
#include "omp/lazy_candidates.hpp"
#include "omp/residual_int8.hpp"
#include "omp/select.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {

// Tiles of a dictionary: kept for the length of a call when they fit in kTileCache bytes, made anew otherwise.
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
    // Panel [step, step + count) of one pair. Panels of a pair are asked for in order with the same buffer.
    View view(int64_t pair, int64_t step, int64_t count, Buffer& buffer) const;

private:
    void make(int64_t pair, int64_t step, int64_t count, uint8_t* codes, int64_t stride, float* inverse_norm) const;

    const Dictionary& dictionary_;
    int64_t pairs_, steps_;
    Aligned<uint8_t> codes_;
    Aligned<float> inverse_norm_;
};

class Screen {
public:
    // Room for every member of the team that select is called with.
    Screen(const TileSource& source, const Team& team);
    ~Screen();

    // The best atom for each query, equal to select_exact up to ties within rounding. Without `score`, an atom that
    // needed no exact comparison has score NaN.
    std::vector<Choice> select(const std::vector<Query>& queries, bool score, Team& team);

    // Makes a pass that keeps the largest scores of every query, for `refill` to take: each query once, by any thread.
    void look(const std::vector<Query>& queries, Team& team);
    void refill(int64_t query, const Pursuit& pursuit, LazyScores& lazy);

private:
    struct Scan;
    QuantisedRows quantise(const std::vector<Query>& queries, int digits, Team& team) const;
    std::vector<Choice> select_above(const std::vector<Query>& queries, bool score, float height, Team& team);
    void pass(const QuantisedRows& q, bool keep_top, Team& team);

    const TileSource& source_;
    float height_;  // passes start from this many standard deviations, and are repeated where nothing reaches it
    std::vector<std::unique_ptr<Scan>> scans_;
    std::vector<float> steps_, slack_;  // of the queries looked at
};

}  // namespace coinr
