#include "mlp/program.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace coinr {
namespace {

constexpr int64_t kMostBuffers = 1 << 12, kMostRows = int64_t{1} << 26;

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("the network " + what); }

// Which rows of each buffer hold something.
class Rows {
public:
    void write(int64_t buffer, int64_t begin, int64_t count) {
        if (buffer < 0 || buffer >= kMostBuffers) refuse("has a buffer " + std::to_string(buffer));
        if (begin < 0 || count < 1 || begin > kMostRows || count > kMostRows)
            refuse("writes " + std::to_string(count) + " rows from row " + std::to_string(begin));
        if (static_cast<size_t>(buffer) >= written_.size()) written_.resize(buffer + 1);
        std::vector<bool>& rows = written_[buffer];
        if (rows.size() < static_cast<size_t>(begin + count)) rows.resize(begin + count);
        for (int64_t r = begin; r < begin + count; ++r) {
            if (rows[r]) refuse("writes row " + std::to_string(r) + " of buffer " + std::to_string(buffer) + " twice");
            rows[r] = true;
        }
    }
    void read(int64_t buffer, int64_t begin, int64_t count) const {
        if (buffer < 0 || static_cast<size_t>(buffer) >= written_.size() || begin < 0 || count < 1 ||
            begin > kMostRows || count > kMostRows || static_cast<size_t>(begin + count) > written_[buffer].size())
            refuse("reads rows that are not there");
        for (int64_t r = begin; r < begin + count; ++r)
            if (!written_[buffer][r]) refuse("reads rows before they are written");
    }
    std::vector<int64_t> counts() const {
        std::vector<int64_t> found;
        for (const std::vector<bool>& rows : written_) found.push_back(static_cast<int64_t>(rows.size()));
        return found;
    }

private:
    std::vector<std::vector<bool>> written_;
};

}  // namespace

MlpProgram::MlpProgram(std::vector<MlpInput> inputs, std::vector<MlpLayer> layers)
    : inputs_(std::move(inputs)), layers_(std::move(layers)) {
    if (inputs_.empty() || layers_.empty()) refuse("needs inputs and layers");
    Rows rows;
    for (const MlpInput& input : inputs_) {
        if (input.features < 1 || input.features > kMostRows || input.frequencies.size() > (1u << 16))
            refuse("has " + std::to_string(input.features) + " coordinates");
        rows.write(input.buffer, input.row, input.rows());
    }
    for (const MlpLayer& layer : layers_) {
        if (layer.fan_in < 1 || layer.fan_out < 1 || layer.fan_in > kMostRows || layer.fan_out > kMostRows)
            refuse("has a layer of " + std::to_string(layer.fan_in) + " inputs and " + std::to_string(layer.fan_out) +
                   " outputs");
        const bool paired = layer.activation == Activation::gabor_complex;
        if (paired != (layer.storage == Storage::complex) ||
            (layer.activation == Activation::gabor && layer.storage != Storage::real))
            refuse("has complex weights without a complex activation, or the reverse");
        if (layer.out_buffer == layer.in_buffer && layer.out_row < layer.in_row + layer.columns())
            refuse("has a layer that writes where it reads");
        rows.read(layer.in_buffer, layer.in_row, layer.columns());
        rows.write(layer.out_buffer, layer.out_row, layer.outputs());
        most_columns_ = std::max(most_columns_, layer.columns());
    }
    buffer_rows_ = rows.counts();
    for (const int64_t count : buffer_rows_) {
        if (count == 0) refuse("has an empty buffer");
        buffer_begin_.push_back(rows_);
        rows_ += count;
    }
    rows.read(output_buffer(), 0, outputs());
    ways_back(false);
}

std::vector<MlpProgram::WayBack> MlpProgram::ways_back(bool to_inputs) const {
    std::vector<std::vector<bool>> wanted, done;
    for (const int64_t count : buffer_rows_) {
        wanted.emplace_back(count, true);
        done.emplace_back(count, false);
    }
    if (!to_inputs)
        for (const MlpInput& input : inputs_)
            std::fill_n(wanted[input.buffer].begin() + input.row, input.rows(), false);
    std::vector<WayBack> ways(layers_.size());
    for (size_t k = layers_.size(); k-- > 0;) {
        const MlpLayer& layer = layers_[k];
        WayBack way{layer.in_row, layer.in_row + layer.columns(), false};
        const std::vector<bool>& rows = wanted[layer.in_buffer];
        while (way.begin < way.end && !rows[way.begin]) ++way.begin;
        while (way.end > way.begin && !rows[way.end - 1]) --way.end;
        for (int64_t r = way.begin; r < way.end; ++r) {
            const bool before = done[layer.in_buffer][r];
            if (r > way.begin && before != way.add) refuse("has layers that share some of their inputs");
            way.add = before;
            done[layer.in_buffer][r] = true;
        }
        ways[k] = way;
    }
    done.back().assign(outputs(), true);
    for (const MlpLayer& layer : layers_)
        for (int64_t r = layer.out_row; r < layer.out_row + layer.outputs(); ++r)
            if (!done[layer.out_buffer][r]) refuse("has a layer that nothing reads");
    return ways;
}

}  // namespace coinr
