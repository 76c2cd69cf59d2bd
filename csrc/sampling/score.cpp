#include "sampling/score.hpp"

#include <cmath>

namespace coinr {
namespace {

// Unlike std::clamp and std::max, these keep what is not a number.
double clip(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

// The whole number nearest to x of 0 .. 2^51, to even ones from halves.
double nearest(double x) {
    constexpr double kShift = 6755399441055744.0;  // 1.5 * 2^52: the sum has no room for a fraction
    return (x + kShift) - kShift;
}

double shown(double unit, double full) { return nearest(clip(unit * full, 0, full)) / full; }

double unit_of(float value) { return (static_cast<double>(value) + 1) / 2; }

void add_levels(double full, const float* values, const float* targets, int64_t stride, int64_t channels, int64_t count,
                double* sums) {
    const bool has_alpha = channels == 2 || channels == 4;
    const int64_t last = (channels - 1) * stride, colors = has_alpha ? channels - 1 : channels;
    for (int64_t s = 0; s < count; ++s) {
        double alpha = 1, divisor = 1;
        if (has_alpha) {
            const double unit = clip(unit_of(values[last + s]), 0, 1);
            divisor = unit < 1e-6 ? 1e-6 : unit;
            alpha = shown(unit, full);
            const double error = alpha - unit_of(targets[last + s]);
            sums[0] += error * error;
        }
        for (int64_t c = 0; c < colors; ++c) {
            const int64_t at = c * stride + s;
            const double error = shown(unit_of(values[at]) / divisor, full) * alpha - unit_of(targets[at]);
            sums[0] += error * error;
        }
    }
    sums[1] += static_cast<double>(count * channels);
}

void add_noise(const float* values, const float* targets, int64_t stride, int64_t channels, int64_t count,
               double* sums) {
    for (int64_t c = 0; c < channels; ++c)
        for (int64_t s = c * stride; s < c * stride + count; ++s) {
            const double target = targets[s], error = static_cast<double>(values[s]) - target;
            sums[0] += error * error;
            sums[1] += target * target;
        }
}

template <class F>
void add_counts(const float* values, const float* targets, int64_t stride, int64_t channels, int64_t count,
                double* sums, F inside) {
    int64_t both = 0, either = 0, broken = 0;
    for (int64_t c = 0; c < channels; ++c)
        for (int64_t s = c * stride; s < c * stride + count; ++s) {
            both += inside(values[s]) & inside(targets[s]);
            either += inside(values[s]) | inside(targets[s]);
            broken += !std::isfinite(values[s]);
        }
    sums[0] += static_cast<double>(both);
    sums[1] += static_cast<double>(either);
    sums[2] += static_cast<double>(broken);
}

}  // namespace

int64_t sum_count(ScoreKind kind) { return kind == ScoreKind::levels || kind == ScoreKind::noise ? 2 : 3; }

void add_sums(const ScoreRule& rule, const float* values, const float* targets, int64_t stride, int64_t channels,
              int64_t count, ScoreSums& to) {
    switch (rule.kind) {
        case ScoreKind::levels:
            return add_levels(rule.full, values, targets, stride, channels, count, to.sums);
        case ScoreKind::noise:
            return add_noise(values, targets, stride, channels, count, to.sums);
        case ScoreKind::occupancy:
            return add_counts(values, targets, stride, channels, count, to.sums, [](float x) { return x > 0.5f; });
        case ScoreKind::distance:
            return add_counts(values, targets, stride, channels, count, to.sums, [](float x) { return x < 0; });
    }
}

}  // namespace coinr
