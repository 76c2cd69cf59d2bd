#include "mlp/tile.hpp"

#include <algorithm>
#include <vector>

#include "simd/aligned.hpp"

namespace coinr {
namespace {

// Memory of this thread, never less than before.
float* scratch(int64_t count) {
    thread_local Aligned<float> memory;
    if (memory.size() < static_cast<size_t>(count)) {
        memory = Aligned<float>();
        memory.resize(count);
    }
    return memory.data();
}

}  // namespace

MlpTile::MlpTile(const MlpProgram& program, const MlpLayout& layout, const MlpKernels& kernels, bool back)
    : program_(program), layout_(layout), kernels_(kernels), back_(back) {
    // a transposition reads up to `lanes` rows more
    const int64_t size = (program.rows() + kernels.lanes) * kTile;
    const int64_t blocks = (program.most_columns() + kernels.block_columns - 1) / kernels.block_columns;
    float* const memory = scratch(back ? 3 * size + blocks * kernels.block_columns * kTile : size);
    y_ = memory;
    kept_ = back ? memory + size : nullptr;
    gradients_ = back ? memory + 2 * size : nullptr;
    transposed_ = back ? memory + 3 * size : nullptr;
}

void MlpTile::load(const MlpBatch& batch, int64_t first, int64_t count) {
    count_ = count;
    columns_ = (count + kernels_.lanes - 1) / kernels_.lanes * kernels_.lanes;
    if (batch.grid) return load_points(batch, first);
    for (size_t i = 0; i < program_.inputs().size(); ++i) {
        const MlpInput& input = program_.inputs()[i];
        const Matrix& from = batch.inputs[i];
        float* const rows = row(y_, input.buffer, input.row);
        const int64_t repeats = batch.repeats[i];
        for (int64_t f = 0; f < input.features; ++f) {
            const float* const in = from.data + f * from.column_stride;
            float* const to = rows + f * kTile;
            for (int64_t s = 0, sample = first / repeats, left = repeats - first % repeats; s < count; ++s) {
                to[s] = in[sample * from.row_stride];
                if (--left > 0) continue;
                ++sample;
                left = repeats;
            }
            // the last sample is repeated: it is as finite as the network makes it
            std::fill(to + count, to + columns_, to[count - 1]);
        }
        kernels_.encode(rows, input.features, input.frequencies.data(), input.frequencies.size(), columns_);
    }
}

void MlpTile::load_points(const MlpBatch& batch, int64_t first) {
    const MlpInput& input = program_.inputs()[0];
    float* const rows = row(y_, input.buffer, input.row);
    int64_t numbers[kTile];
    std::copy_n(batch.numbers + first, count_, numbers);
    std::fill(numbers + count_, numbers + columns_, numbers[count_ - 1]);
    batch.grid->check(numbers, count_);
    batch.grid->prefetch_values(numbers, count_);
    batch.grid->load_coordinates(numbers, columns_, rows, kTile);
    kernels_.encode(rows, input.features, input.frequencies.data(), input.frequencies.size(), columns_);
}

void MlpTile::forward(const float* packed) {
    for (size_t k = 0; k < program_.layers().size(); ++k) {
        const MlpLayer& layer = program_.layers()[k];
        const MlpLayout::Layer& at = layout_.layers()[k];
        float* const y = row(y_, layer.out_buffer, layer.out_row);
        kernels_.multiply({packed + at.forward, true, 0, row(y_, layer.in_buffer, layer.in_row), kTile,
                           kernels_.block_columns, y, kTile, nullptr, packed + at.bias, at.rows, at.columns, columns_});
        float* const kept = back_ ? row(kept_, layer.out_buffer, layer.out_row) : nullptr;
        kernels_.activate({layer.activation, layer.omega, layer.scale, at.rows, columns_, y, kept, nullptr, nullptr});
    }
}

void MlpTile::store_outputs(float* out) const {
    const float* const y = row(y_, program_.output_buffer(), 0);
    const int64_t outputs = program_.outputs();
    for (int64_t c = 0; c < outputs; ++c)
        for (int64_t s = 0; s < count_; ++s) out[s * outputs + c] = y[c * kTile + s];
}

void MlpTile::add_score(const MlpBatch& batch, int64_t first, const ScoreRule& rule, ScoreSums& to) const {
    std::vector<float> targets(program_.outputs() * kTile);
    batch.grid->load_values(batch.numbers + first, count_, targets.data(), kTile);
    add_sums(rule, row(y_, program_.output_buffer(), 0), targets.data(), kTile, program_.outputs(), count_, to);
}

void MlpTile::load_gradients(const Matrix& gradients, int64_t first) {
    float* const g = row(gradients_, program_.output_buffer(), 0);
    for (int64_t c = 0; c < program_.outputs(); ++c) {
        for (int64_t s = 0; s < count_; ++s) g[c * kTile + s] = gradients.at(first + s, c);
        std::fill(g + c * kTile + count_, g + c * kTile + columns_, 0.0f);
    }
}

void MlpTile::load_values(const MlpBatch& batch, int64_t first) {
    float* const g = row(gradients_, program_.output_buffer(), 0);
    batch.grid->load_values(batch.numbers + first, count_, g, kTile);
    for (int64_t c = 0; c < program_.outputs(); ++c) std::fill(g + c * kTile + count_, g + c * kTile + columns_, 0.0f);
}

double MlpTile::load_error(float scale) {
    float* const g = row(gradients_, program_.output_buffer(), 0);
    const float* const y = row(y_, program_.output_buffer(), 0);
    float squares[kTile] = {};
    for (int64_t c = 0; c < program_.outputs(); ++c)
        for (int64_t s = 0; s < count_; ++s) {
            const float difference = y[c * kTile + s] - g[c * kTile + s];
            squares[s] += difference * difference;
            g[c * kTile + s] = difference * scale;
        }
    double parts[4] = {};
    for (int64_t s = 0; s < kTile; ++s) parts[s % 4] += squares[s];
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

void MlpTile::backward(const float* packed, float* sums) {
    for (size_t k = program_.layers().size(); k-- > 0;) {
        const MlpLayer& layer = program_.layers()[k];
        const MlpLayout::Layer& at = layout_.layers()[k];
        // gradients that a later layer has differentiated replaced the derivatives: they fill less of the cache
        float* const g = row(at.after ? kept_ : gradients_, layer.out_buffer, layer.out_row);
        if (!at.after)
            kernels_.differentiate({layer.activation, layer.omega, layer.scale, at.rows, columns_,
                                    row(y_, layer.out_buffer, layer.out_row),
                                    row(kept_, layer.out_buffer, layer.out_row), g, sums + at.sums});
        const float* const x = row(y_, layer.in_buffer, layer.in_row);
        if (at.narrow) {
            kernels_.outer(g, at.rows, x, at.columns, columns_, sums + at.gradient);
        } else {
            kernels_.transpose(x, at.columns, columns_, transposed_);
            float* const c = sums + at.gradient;
            kernels_.multiply({g, false, kTile, transposed_, kernels_.block_columns, columns_ * kernels_.block_columns, c,
                               at.stride, c, nullptr, at.rows, columns_, at.stride});
        }
        if (at.way.begin == at.way.end) continue;
        float* const before = row(gradients_, layer.in_buffer, at.way.begin);
        Product product{packed + at.back, true, 0, g, kTile, kernels_.block_columns, before, kTile,
                        at.way.add ? before : nullptr, nullptr, at.way.end - at.way.begin, at.rows, columns_};
        if (at.before >= 0) {
            product.c = row(kept_, layer.in_buffer, at.way.begin);
            product.factor = product.c;
            product.sums = sums + layout_.layers()[at.before].sums;
        }
        kernels_.multiply(product);
    }
}

void MlpTile::store_input_gradients(float* out) {
    const MlpInput& input = program_.inputs()[0];
    float* const g = row(gradients_, input.buffer, input.row);
    kernels_.encode_gradient(row(y_, input.buffer, input.row), g, input.features, input.frequencies.data(),
                             input.frequencies.size(), columns_);
    for (int64_t s = 0; s < count_; ++s)
        for (int64_t f = 0; f < input.features; ++f) out[s * input.features + f] = g[f * kTile + s];
}

}  // namespace coinr
