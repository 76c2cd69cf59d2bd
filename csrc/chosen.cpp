#include "chosen.hpp"

#include <algorithm>
#include <cstring>

#include "kernels.hpp"

namespace coinr {

void ChosenAtoms::start(const Dictionary& dictionary, int64_t s) {
    signs_ = dictionary.kind != Kind::gaussian;
    n_ = dictionary.n;
    stride_ = padded(n_);
    size_ = 0;
    if (signs_) {
        words_.resize(padded_to_group(s) * stride_ / 64);
        bytes_.resize(padded_to_group(s) / kSignGroup * stride_);
    } else {
        rows_.resize(s * stride_);
    }
}

void ChosenAtoms::add(const int8_t* row) {
    if (signs_) {
        const int64_t first = size_ / kSignGroup * stride_;  // of the group: as many bytes as entries
        kernels().mark_signs(row, stride_, static_cast<int>(size_ % kSignGroup), words_.data() + first / 8,
                             bytes_.data() + first);
    } else {
        std::memcpy(rows_.data() + size_ * stride_, row, stride_);
    }
    ++size_;
}

void ChosenAtoms::gram(const int8_t* row, double* out) const {
    if (signs_)
        kernels().gram_signs(words_.data(), row, size_, stride_, n_, out);
    else
        kernels().gram(rows_.data(), row, size_, stride_, out);
}

void ChosenAtoms::subtract(const int32_t* u, double step, float* r) const {
    if (signs_) {
        kernels().subtract_signs(bytes_.data(), u, size_, stride_, step, r);
        std::fill(r + n_, r + stride_, 0.0f);
    } else {
        kernels().subtract(rows_.data(), u, size_, stride_, step, r);
    }
}

void ChosenAtoms::correlate(const float* w, double* out) const {
    std::vector<int8_t> room;
    const int8_t* rows = entries(room);
    for (int64_t m = 0; m < size_; ++m) out[m] = kernels().dot_i8_f32(rows + m * stride_, w, stride_);
}

void ChosenAtoms::residual(const double* x, const float* w, float* r) const {
    std::vector<int8_t> room;
    kernels().residual(entries(room), x, size_, stride_, w, r);
}

const int8_t* ChosenAtoms::entries(std::vector<int8_t>& room) const {
    if (!signs_) return rows_.data();
    room.resize(size_ * stride_);
    for (int64_t m = 0; m < size_; ++m) {
        const uint64_t* words = words_.data() + m / kSignGroup * stride_ / 8 + m % kSignGroup;
        kernels().unmark_signs(words, stride_, n_, room.data() + m * stride_);
    }
    return room.data();
}

}  // namespace coinr
