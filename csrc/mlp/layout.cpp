#include "mlp/layout.hpp"

#include <algorithm>

namespace coinr {
namespace {

// With at most so many rows or columns, sums by lane cost less than a transposed tile.
constexpr int64_t kNarrow = 4;

// Floats whose sums stay in the first cache.
constexpr int64_t kPart = 1024;

constexpr int64_t kLine = 16;  // floats
int64_t whole_lines(int64_t count) { return (count + kLine - 1) / kLine * kLine; }

// The real matrix [rows, columns] that a layer's weights stand for, scaled.
std::vector<float> expand(const MlpLayer& layer, const float* weight) {
    const int64_t in = layer.fan_in, out = layer.fan_out, columns = layer.columns();
    std::vector<float> matrix(layer.rows() * columns);
    const float factor = layer.factor();
    if (layer.storage == Storage::real) {
        for (int64_t i = 0; i < in * out; ++i) matrix[i] = weight[i] * factor;
        return matrix;
    }
    for (int64_t r = 0; r < out; ++r)
        for (int64_t c = 0; c < in; ++c) {
            const float real = weight[2 * (r * in + c)], imaginary = weight[2 * (r * in + c) + 1];
            matrix[r * columns + c] = real;
            matrix[r * columns + in + c] = -imaginary;
            if (layer.storage == Storage::real_part) continue;
            matrix[(out + r) * columns + c] = imaginary;
            matrix[(out + r) * columns + in + c] = real;
        }
    return matrix;
}

// Sets out[block][d][i] = at[(begin of the block + i) * row_stride + d * depth_stride].
void pack_blocks(const float* at, int64_t rows, int64_t depth, int64_t row_stride, int64_t depth_stride, float* out) {
    for (int64_t i = 0, r = 0; i < block_count(rows); ++i) {
        const int64_t stop = block_begin(rows, i + 1), size = stop - r;
        for (int64_t first = r; r < stop; ++r)
            for (int64_t d = 0; d < depth; ++d) out[d * size + r - first] = at[r * row_stride + d * depth_stride];
        out += size * depth;
    }
}

// The layer that alone writes the rows of a way back from layer k, after which no other way leads to them: it can be
// differentiated right there. -1 if there is none, or its derivative is no factor.
int64_t layer_before(const MlpProgram& program, const std::vector<MlpProgram::WayBack>& ways, int64_t k) {
    const std::vector<MlpLayer>& layers = program.layers();
    const int64_t buffer = layers[k].in_buffer;
    for (int64_t other = 0; other < k; ++other)
        if (layers[other].in_buffer == buffer && ways[other].begin < ways[k].end && ways[k].begin < ways[other].end)
            return -1;
    for (int64_t from = 0; from < k; ++from) {
        const MlpLayer& one = layers[from];
        const bool factor = one.activation != Activation::none && one.activation != Activation::gabor &&
                            one.activation != Activation::gabor_complex;
        if (one.out_buffer == buffer && one.out_row == ways[k].begin && one.out_row + one.outputs() == ways[k].end)
            return factor ? from : -1;
    }
    return -1;
}

}  // namespace

MlpLayout::MlpLayout(const MlpProgram& program, const MlpKernels& kernels, bool to_inputs)
    : program_(program), lanes_(kernels.lanes), to_inputs_(to_inputs) {
    const std::vector<MlpProgram::WayBack> ways = program.ways_back(to_inputs);
    for (size_t k = 0; k < ways.size(); ++k) {
        Layer one{};
        one.rows = program.layers()[k].rows();
        one.columns = program.layers()[k].columns();
        one.way = ways[k];
        one.before = layer_before(program, ways, static_cast<int64_t>(k));
        one.narrow = std::min(one.rows, one.columns) <= kNarrow;
        one.stride = (one.columns + lanes_ - 1) / lanes_ * lanes_;
        one.forward = packed_size_;
        one.bias = one.forward + whole_lines(one.rows * one.columns);
        one.back = one.bias + whole_lines(one.rows);
        packed_size_ = one.back + whole_lines((one.way.end - one.way.begin) * one.rows);
        one.gradient = gradient_size_;
        one.sums = one.gradient + whole_lines(one.rows * (one.narrow ? one.columns * lanes_ : one.stride));
        gradient_size_ = one.sums + whole_lines(one.rows * lanes_);
        layers_.push_back(one);
        if (one.before >= 0) layers_[one.before].after = true;
    }
}

void MlpLayout::pack(int64_t k, const float* weight, const float* bias, bool back, float* packed) const {
    const MlpLayer& layer = program_.layers()[k];
    const Layer& at = layers_[k];
    const std::vector<float> matrix = expand(layer, weight);
    pack_blocks(matrix.data(), at.rows, at.columns, at.columns, 1, packed + at.forward);
    for (int64_t r = 0; r < at.rows; ++r) {
        const bool imaginary = r >= layer.fan_out;
        const int64_t from = layer.storage == Storage::real ? r : 2 * (r - (imaginary ? layer.fan_out : 0)) + imaginary;
        packed[at.bias + r] = bias[from] * layer.factor();
    }
    if (!back) return;
    const float* const first = matrix.data() + (at.way.begin - layer.in_row);
    pack_blocks(first, at.way.end - at.way.begin, at.rows, 1, at.columns, packed + at.back);
}

void MlpLayout::unpack(int64_t k, float* groups, int64_t count, float* weight, float* bias) const {
    const MlpLayer& layer = program_.layers()[k];
    const Layer& at = layers_[k];
    const int64_t end = at.sums + at.rows * lanes_;
    for (int64_t first = at.gradient; first < end; first += kPart) {
        const int64_t stop = std::min(first + kPart, end);
        for (int64_t g = 1; g < count; ++g) {
            const float* const more = groups + g * gradient_size_;
            for (int64_t i = first; i < stop; ++i) groups[i] += more[i];
        }
    }
    const auto lane_sum = [count = lanes_](const float* lanes) {
        float parts[4] = {};
        for (int64_t l = 0; l < count; l += 4)
            for (int64_t i = 0; i < 4; ++i) parts[i] += lanes[l + i];
        return (parts[0] + parts[1]) + (parts[2] + parts[3]);
    };
    const float* const matrix = groups + at.gradient;
    const auto entry = [&](int64_t r, int64_t c) {
        return at.narrow ? lane_sum(matrix + (r * at.columns + c) * lanes_) : matrix[r * at.stride + c];
    };
    const float factor = layer.factor();
    const int64_t in = layer.fan_in, out = layer.fan_out;
    for (int64_t r = 0; r < out; ++r) {
        const float sum = lane_sum(groups + at.sums + r * lanes_) * factor;
        if (layer.storage == Storage::real) {
            for (int64_t c = 0; c < in; ++c) weight[r * in + c] = entry(r, c) * factor;
            bias[r] = sum;
            continue;
        }
        const bool whole = layer.storage == Storage::complex;
        for (int64_t c = 0; c < in; ++c) {
            weight[2 * (r * in + c)] = entry(r, c) + (whole ? entry(out + r, in + c) : 0.0f);
            weight[2 * (r * in + c) + 1] = (whole ? entry(out + r, c) : 0.0f) - entry(r, in + c);
        }
        bias[2 * r] = sum;
        bias[2 * r + 1] = whole ? lane_sum(groups + at.sums + (out + r) * lanes_) : 0.0f;
    }
}

}  // namespace coinr
