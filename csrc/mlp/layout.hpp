// Where weights lie that are packed for products, and gradients while they are added up.
#pragma once

#include <cstdint>
#include <vector>

#include "mlp/program.hpp"

namespace coinr {

class MlpLayout {
public:
    struct Layer {
        int64_t rows, columns;    // of the real matrix
        int64_t forward, bias;    // in packed floats: for values, and the biases
        int64_t back;             // for gradients of the layer's inputs, transposed
        MlpProgram::WayBack way;
        int64_t before;           // the layer whose outputs get their whole gradient on this way back, or -1
        bool after;               // a later layer has this one as `before`
        bool narrow;              // few rows or columns: gradients are added up lane by lane
        int64_t gradient;         // in floats of gradients: [rows][stride], or [rows][columns][lanes] if narrow
        int64_t stride;
        int64_t sums;             // [rows][lanes], of the biases
    };

    MlpLayout(const MlpProgram& program, const MlpKernels& kernels, bool to_inputs);

    const std::vector<Layer>& layers() const { return layers_; }
    int64_t packed_size() const { return packed_size_; }
    int64_t gradient_size() const { return gradient_size_; }
    bool to_inputs() const { return to_inputs_; }

    // Packs the weights and biases of one layer; `back` for gradients as well.
    void pack(int64_t layer, const float* weight, const float* bias, bool back, float* packed) const;

    // Sets the gradients of a layer's tensors from its sums, which `count` groups have, one after another; changes the
    // first group.
    void unpack(int64_t layer, float* groups, int64_t count, float* weight, float* bias) const;

private:
    const MlpProgram& program_;
    const int64_t lanes_;
    const bool to_inputs_;
    std::vector<Layer> layers_;
    int64_t packed_size_ = 0, gradient_size_ = 0;
};

}  // namespace coinr
