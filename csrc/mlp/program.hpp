// What a network computes: affine maps with activations, from rows of buffers to rows of buffers.
//
// A buffer is a matrix of features (rows) by samples. Coordinates and their encoding fill rows of buffers first; then
// each layer reads adjacent rows of one buffer and writes adjacent rows of another. So a skip connection is a buffer
// that two layers read, and two heads are two layers that write to one. Complex numbers are pairs of rows: all real
// parts, then all imaginary parts.
#pragma once

#include <cstdint>
#include <vector>

#include "simd/mlp_kernels.hpp"

namespace coinr {

// How weights [fan_out, fan_in] and biases [fan_out] are stored.
enum class Storage {
    real,       // float32
    complex,    // complex64
    real_part,  // complex64, of which only the real part of the result is used
};

struct MlpInput {
    int64_t features;                // coordinates of a sample
    std::vector<float> frequencies;  // of the encoding
    int64_t buffer, row;             // where it begins
    int64_t rows() const { return features * (1 + 2 * static_cast<int64_t>(frequencies.size())); }
};

struct MlpLayer {
    Activation activation;
    Storage storage;
    int64_t fan_in, fan_out;
    int64_t in_buffer, in_row, out_buffer, out_row;
    float omega, scale;

    // The real matrix that the weights stand for.
    int64_t rows() const { return storage == Storage::complex ? 2 * fan_out : fan_out; }
    int64_t columns() const { return storage == Storage::real ? fan_in : 2 * fan_in; }
    // Rows after the activation.
    int64_t outputs() const { return activation == Activation::gabor ? 2 * rows() : rows(); }
    // What multiplies weights and biases before anything else.
    float factor() const {
        return activation == Activation::sine ? omega : activation == Activation::gauss ? scale : 1.0f;
    }
    // Numbers (floats) of the stored weights and biases.
    int64_t weight_count() const { return fan_in * fan_out * (storage == Storage::real ? 1 : 2); }
    int64_t bias_count() const { return fan_out * (storage == Storage::real ? 1 : 2); }
};

class MlpProgram {
public:
    // Layers in the order in which they run; the last buffer holds the outputs. Throws std::invalid_argument if a layer
    // reads rows that nothing has written or that another layer reads in part, if two write the same ones, if nothing
    // reads what one writes, or if a size is out of range.
    MlpProgram(std::vector<MlpInput> inputs, std::vector<MlpLayer> layers);

    // Where a layer's gradient goes on the way back: rows of its input buffer, and whether another layer was there
    // before.
    struct WayBack {
        int64_t begin, end;
        bool add;
    };

    const std::vector<MlpInput>& inputs() const { return inputs_; }
    const std::vector<MlpLayer>& layers() const { return layers_; }
    int64_t outputs() const { return buffer_rows_.back(); }
    int64_t output_buffer() const { return static_cast<int64_t>(buffer_rows_.size()) - 1; }
    // Rows before each buffer where all lie one after another, and in all.
    const std::vector<int64_t>& buffer_begin() const { return buffer_begin_; }
    int64_t rows() const { return rows_; }
    // Rows that are computed of inputs' gradients only where these are asked for.
    std::vector<WayBack> ways_back(bool to_inputs) const;
    int64_t most_columns() const { return most_columns_; }

private:
    std::vector<MlpInput> inputs_;
    std::vector<MlpLayer> layers_;
    std::vector<int64_t> buffer_rows_, buffer_begin_;
    int64_t rows_ = 0, most_columns_ = 0;
};

}  // namespace coinr
