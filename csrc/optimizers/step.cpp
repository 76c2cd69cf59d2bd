#include "optimizers/step.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "optimizers/orthogonal_factor.hpp"
#include "simd/kernels.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {
namespace {

// Matrices of so many columns are shared by all threads, row by row.
constexpr int64_t kManyColumns = 128;

// Floats of Adam that are moved together.
constexpr int64_t kPart = 1 << 13;

// Multiplications of a matrix, or as much time, that are worth a thread.
constexpr double kLeast = 1 << 20;

double work_of(const MuonTensor& one) { return 8.0 * one.count * one.rows * one.columns * one.columns; }
double work_of(const AdamTensor& one) { return 40.0 * one.count; }

void move(const MuonTensor& one, int64_t k, const OptimizerSettings& settings, Team* team) {
    const int64_t first = k * one.rows * one.columns;
    OrthogonalFactor factor(one.rows, one.columns, team);
    factor.load(one.gradients + first, one.means + first, static_cast<float>(1 - settings.momentum));
    factor.subtract_from(one.values + first, static_cast<float>(2 * settings.rate));
}

void move(const AdamTensor& one, int64_t first, const OptimizerSettings& settings) {
    const double of_mean = 1 - std::pow(settings.beta1, one.step), of_square = 1 - std::pow(settings.beta2, one.step);
    const auto single = [](double x) { return static_cast<float>(x); };
    kernels().mlp->adam({one.values + first, one.gradients + first, one.means + first, one.squares + first,
                         std::min(kPart, one.count - first), single(1 - settings.beta1), single(settings.beta2),
                         single(1 - settings.beta2), single(1 / of_square), single(settings.eps),
                         single(settings.rate / of_mean)});
}

}  // namespace

void optimizer_step(const std::vector<MuonTensor>& matrices, const std::vector<AdamTensor>& others,
                    const OptimizerSettings& settings, int threads) {
    double work = 0;
    for (const MuonTensor& one : matrices) work += work_of(one);
    for (const AdamTensor& one : others) work += work_of(one);
    Team team(threads < 1 ? threads : static_cast<int>(std::clamp<double>(work / kLeast, 1, threads)));
    std::vector<std::function<void()>> tasks;
    for (const MuonTensor& one : matrices)
        for (int64_t k = 0; k < one.count; ++k) {
            if (team.size() > 1 && one.columns >= kManyColumns)
                move(one, k, settings, &team);
            else
                tasks.push_back([&, k] { move(one, k, settings, nullptr); });
        }
    for (const AdamTensor& one : others)
        for (int64_t first = 0; first < one.count; first += kPart)
            tasks.push_back([&, first] { move(one, first, settings); });
    team.for_each(static_cast<int64_t>(tasks.size()), 1, [&](int64_t i, int) { tasks[i](); });
}

}  // namespace coinr
