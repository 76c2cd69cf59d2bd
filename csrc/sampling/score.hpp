// Sums over samples that the score of a network is computed from.
#pragma once

#include <cstdint>

namespace coinr {

// What is summed up of values and targets, in doubles. Squared errors of what is not a number are no numbers either.
enum class ScoreKind {
    // Squared errors of whole numbers 0 .. full, as the values show them, over full; then the number of values. Values
    // and targets v stand for (v + 1) / 2. The last of 2 or 4 channels is alpha, which colors are multiplied by.
    levels,
    // Squared errors, then squared targets.
    noise,
    // Samples above 0.5 in both, in either, and values that are not finite.
    occupancy,
    // The same of samples below 0.
    distance,
};

struct ScoreRule {
    ScoreKind kind;
    double full;  // of levels
};

// Sums of a kind.
int64_t sum_count(ScoreKind kind);

struct ScoreSums {
    double sums[3] = {};
};

// Adds the sums of `count` samples; rows of channels begin `stride` floats apart.
void add_sums(const ScoreRule& rule, const float* values, const float* targets, int64_t stride, int64_t channels,
              int64_t count, ScoreSums& to);

}  // namespace coinr
