#include "omp/support_atoms.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "simd/kernels.hpp"

namespace coinr {
namespace {

// Sizes of one piece of work.
constexpr int64_t kEntries = 1024, kAtoms = 64;

// Calls body(first, count) for pieces of [0, total).
template <class Body>
void in_pieces(int64_t total, int64_t piece, Team& team, const Body& body) {
    team.for_each_static((total + piece - 1) / piece,
              [&](int64_t p, int) { body(p * piece, std::min(piece, total - p * piece)); });
}

// Returns the sum of part(first, count) over all entries.
template <class Part>
double sum_of(int64_t stride, Team& team, const Part& part) {
    if (stride <= kEntries) return part(0, stride);
    std::vector<double> parts((stride + kEntries - 1) / kEntries);
    in_pieces(stride, kEntries, team,
              [&](int64_t first, int64_t count) { parts[first / kEntries] = part(first, count); });
    return std::accumulate(parts.begin(), parts.end(), 0.0);
}

}  // namespace

void SupportAtoms::start(const Dictionary& dictionary, int64_t s) {
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

void SupportAtoms::add(const int8_t* row) {
    if (signs_) {
        const int64_t first = size_ / kSignGroup * stride_;  // of the group, which has one byte per entry
        kernels().pack_signs(row, stride_, static_cast<int>(size_ % kSignGroup), words_.data() + first / 8,
                             bytes_.data() + first);
    } else {
        std::memcpy(rows_.data() + size_ * stride_, row, stride_);
    }
    ++size_;
}

void SupportAtoms::gram(const int8_t* row, double* out, Team& team) const {
    in_pieces(size_, kAtoms, team, [&](int64_t first, int64_t count) {
        if (signs_)
            kernels().gram_signs(words_.data() + first * stride_ / 64, row, count, stride_, n_, out + first);
        else
            kernels().gram(rows_.data() + first * stride_, row, count, stride_, out + first);
    });
}

double SupportAtoms::subtract(const int32_t* u, double step, float* r, Team& team) const {
    return sum_of(stride_, team, [&](int64_t first, int64_t count) {
        if (signs_)
            kernels().subtract_signs(bytes_.data() + first, stride_, u, size_, count, step, r + first);
        else
            kernels().subtract(rows_.data() + first, stride_, u, size_, count, step, r + first);
        if (first + count == stride_) std::fill(r + n_, r + stride_, 0.0f);
        return kernels().energy(r + first, count);
    });
}

void SupportAtoms::correlate(const float* w, double* out, Team& team) const {
    Aligned<int8_t> buffer;
    const int8_t* rows = entries(buffer, team);
    in_pieces(size_, kAtoms, team, [&](int64_t first, int64_t count) {
        for (int64_t m = first; m < first + count; ++m) out[m] = kernels().dot_i8_f32(rows + m * stride_, w, stride_);
    });
}

void SupportAtoms::residual(const double* x, const float* w, float* r, Team& team) const {
    Aligned<int8_t> buffer;
    const int8_t* rows = entries(buffer, team);
    in_pieces(stride_, kEntries, team, [&](int64_t first, int64_t count) {
        kernels().residual(rows + first, stride_, x, size_, count, w + first, r + first);
    });
}

const int8_t* SupportAtoms::entries(Aligned<int8_t>& buffer, Team& team) const {
    if (!signs_) return rows_.data();
    buffer.resize(size_ * stride_);
    in_pieces(size_, kAtoms, team, [&](int64_t first, int64_t count) {
        for (int64_t m = first; m < first + count; ++m) {
            const uint64_t* words = words_.data() + m / kSignGroup * stride_ / 8 + m % kSignGroup;
            kernels().unpack_signs(words, stride_, n_, buffer.data() + m * stride_);
        }
    });
    return buffer.data();
}

double energy(const float* r, int64_t stride, Team& team) {
    return sum_of(stride, team, [&](int64_t first, int64_t count) { return kernels().energy(r + first, count); });
}

}  // namespace coinr
