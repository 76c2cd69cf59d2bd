#include "mlp/mlp.hpp"

#include <algorithm>
#include <functional>
#include <memory>

#include "mlp/layout.hpp"
#include "mlp/tile.hpp"
#include "simd/aligned.hpp"
#include "simd/kernels.hpp"
#include "threads/thread_pool.hpp"

namespace coinr {
namespace {

// Samples of a group at least, by the number of weights: adding up groups costs as much as some samples.
constexpr int64_t kGroup = 512, kGroupOfMany = 1024, kMany = 1 << 16;
constexpr int64_t kMostGroups = 16;

// Floats on a cache line that are not set.
class Memory {
public:
    explicit Memory(int64_t count) : count_(count), data_(LineAllocator<float>().allocate(count)) {}
    ~Memory() { LineAllocator<float>().deallocate(data_, count_); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    float* data() const { return data_; }

private:
    const int64_t count_;
    float* const data_;
};

struct Group {
    int64_t batch, number, first, count;
};

// Returns the groups of all batches; begin[b] is the first of batch b.
std::vector<Group> groups_of(const std::vector<MlpBatch>& batches, int64_t least, int64_t most,
                             std::vector<int64_t>& begin) {
    std::vector<Group> groups;
    for (size_t b = 0; b < batches.size(); ++b) {
        begin.push_back(static_cast<int64_t>(groups.size()));
        const int64_t tiles = (batches[b].count + kTile - 1) / kTile;
        const int64_t count = std::min(most, (tiles * kTile + least - 1) / least);
        for (int64_t g = 0; g < count; ++g) {
            const int64_t first = tiles * g / count * kTile;
            const int64_t stop = std::min(tiles * (g + 1) / count * kTile, batches[b].count);
            groups.push_back({static_cast<int64_t>(b), g, first, stop - first});
        }
    }
    begin.push_back(static_cast<int64_t>(groups.size()));
    return groups;
}

// One call: the packed weights of all batches, and what is done for each group of tiles.
class Pass {
public:
    Pass(const MlpProgram& program, const std::vector<MlpBatch>& batches, bool back, bool to_inputs, int threads)
        : program_(program), batches_(batches), back_(back), kernels_(*kernels().mlp),
          layout_(program, kernels_, to_inputs),
          groups_(groups_of(batches, layout_.packed_size() > 2 * kMany ? kGroupOfMany : kGroup,
                            back ? kMostGroups : int64_t{1} << 40, begin_)),
          team_(threads < 1 ? threads : static_cast<int>(std::clamp<int64_t>(groups_.size(), 1, threads))),
          packed_(layout_.packed_size() * static_cast<int64_t>(batches.size())),
          sums_(back ? layout_.gradient_size() * static_cast<int64_t>(groups_.size()) : 0) {
        const int64_t layers = program.layers().size();
        team_.for_each(layers * batches.size(), 1, [&](int64_t i, int) {
            const int64_t b = i / layers, k = i % layers;
            layout_.pack(k, batches_[b].tensors[2 * k], batches_[b].tensors[2 * k + 1], back_, packed(b));
        });
    }

    // Calls body(tile, batch, first, group) for each tile, loaded and computed; then its way back, which `done` ends.
    void run(const std::function<void(MlpTile&, int64_t, int64_t, int64_t)>& body,
             const std::function<void(MlpTile&, int64_t, int64_t)>& done) {
        team_.for_each(groups_.size(), 1, [&](int64_t g, int) {
            const Group& group = groups_[g];
            MlpTile tile(program_, layout_, kernels_, back_);
            float* const sums = sums_.data() + layout_.gradient_size() * g;
            if (back_) std::fill_n(sums, layout_.gradient_size(), 0.0f);
            for (int64_t first = group.first; first < group.first + group.count; first += kTile) {
                tile.load(batches_[group.batch], first, std::min(kTile, group.first + group.count - first));
                tile.forward(packed(group.batch));
                body(tile, group.batch, first, g);
                if (!back_) continue;
                tile.backward(packed(group.batch), sums);
                if (done) done(tile, group.batch, first);
            }
        });
    }

    // Sets the gradients of the tensors from the sums of the groups.
    void finish(const std::vector<MlpGradients>& gradients) {
        const int64_t layers = program_.layers().size();
        team_.for_each(layers * batches_.size(), 1, [&](int64_t i, int) {
            const int64_t b = i / layers, k = i % layers;
            float *const weight = gradients[b].tensors[2 * k], *const bias = gradients[b].tensors[2 * k + 1];
            const int64_t count = begin_[b + 1] - begin_[b];
            if (count) {
                layout_.unpack(k, sums_.data() + layout_.gradient_size() * begin_[b], count, weight, bias);
            } else {
                std::fill_n(weight, program_.layers()[k].weight_count(), 0.0f);
                std::fill_n(bias, program_.layers()[k].bias_count(), 0.0f);
            }
        });
    }

    const std::vector<Group>& groups() const { return groups_; }

private:
    float* packed(int64_t batch) const { return packed_.data() + layout_.packed_size() * batch; }

    const MlpProgram& program_;
    const std::vector<MlpBatch>& batches_;
    const bool back_;
    const MlpKernels& kernels_;
    const MlpLayout layout_;
    std::vector<int64_t> begin_;
    const std::vector<Group> groups_;
    Team team_;
    Memory packed_, sums_;
};

}  // namespace

void mlp_forward(const MlpProgram& program, const std::vector<MlpBatch>& batches, const std::vector<float*>& out,
                 int threads) {
    Pass pass(program, batches, false, false, threads);
    pass.run(
        [&](MlpTile& tile, int64_t batch, int64_t first, int64_t) {
            tile.store_outputs(out[batch] + first * program.outputs());
        },
        nullptr);
}

void mlp_backward(const MlpProgram& program, const std::vector<MlpBatch>& batches,
                  const std::vector<Matrix>& out_gradients, const std::vector<MlpGradients>& gradients, int threads) {
    const bool to_inputs =
        std::any_of(gradients.begin(), gradients.end(), [](const MlpGradients& one) { return one.inputs; });
    Pass pass(program, batches, true, to_inputs, threads);
    pass.run(
        [&](MlpTile& tile, int64_t batch, int64_t first, int64_t) {
            tile.load_gradients(out_gradients[batch], first);
        },
        [&](MlpTile& tile, int64_t batch, int64_t first) {
            float* const inputs = gradients[batch].inputs;
            if (inputs) tile.store_input_gradients(inputs + first * program.inputs()[0].features);
        });
    pass.finish(gradients);
}

std::vector<double> mlp_squared_error(const MlpProgram& program, const std::vector<MlpBatch>& batches,
                                      const std::vector<Matrix>& targets, double factor,
                                      const std::vector<MlpGradients>& gradients, int threads) {
    Pass pass(program, batches, true, false, threads);
    std::vector<double> of_group(pass.groups().size());
    pass.run(
        [&](MlpTile& tile, int64_t batch, int64_t first, int64_t group) {
            const double values = static_cast<double>(batches[batch].count) * program.outputs();
            if (batches[batch].grid)
                tile.load_values(batches[batch], first);
            else
                tile.load_gradients(targets[batch], first);
            of_group[group] += tile.load_error(static_cast<float>(2 * factor / values));
        },
        nullptr);
    pass.finish(gradients);
    std::vector<double> errors(batches.size());
    for (size_t g = 0; g < of_group.size(); ++g) errors[pass.groups()[g].batch] += of_group[g];
    for (size_t b = 0; b < batches.size(); ++b)
        errors[b] /= static_cast<double>(batches[b].count) * program.outputs();
    return errors;
}

ScoreSums mlp_score(const MlpProgram& program, const MlpBatch& batch, const ScoreRule& rule, int threads) {
    const std::vector<MlpBatch> batches = {batch};
    Pass pass(program, batches, false, false, threads);
    std::vector<ScoreSums> of_group(pass.groups().size());
    pass.run([&](MlpTile& tile, int64_t, int64_t first, int64_t group) { tile.add_score(batch, first, rule, of_group[group]); },
             nullptr);
    ScoreSums total;
    for (const ScoreSums& one : of_group)
        for (int i = 0; i < 3; ++i) total.sums[i] += one.sums[i];
    return total;
}

}  // namespace coinr
