#include "dictionary/dictionary.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "dictionary/philox.hpp"
#include "simd/kernels.hpp"

namespace coinr {
namespace {

// A dictionary stores the sign words of its blocks if there are at most this many; else it generates them each time.
constexpr int64_t kMaxStoredSignWords = 4096;

// Returns the n rows of 0..order-1 with the smallest (32-bit key, row), ascending.
std::vector<uint32_t> choose_rows(int64_t n, int64_t order, uint64_t seed, uint32_t stream) {
    std::vector<uint64_t> keyed(order);
    for (int64_t row = 0; row < order; row += 4) {
        uint32_t x[4] = {0, static_cast<uint32_t>(row / 4), stream, kHadamardRows};
        philox4x32(x, seed);
        for (int64_t k = 0; k < 4 && row + k < order; ++k)
            keyed[row + k] = static_cast<uint64_t>(x[k]) << 32 | static_cast<uint32_t>(row + k);
    }
    if (n < order) std::nth_element(keyed.begin(), keyed.begin() + n, keyed.end());
    std::vector<uint32_t> rows(n);
    for (int64_t i = 0; i < n; ++i) rows[i] = static_cast<uint32_t>(keyed[i]);
    std::sort(rows.begin(), rows.end());
    return rows;
}

std::vector<RowGroup> row_groups(const std::vector<uint32_t>& rows, int64_t order) {
    std::vector<RowGroup> groups((order + 15) / 16, RowGroup{0, 0});
    for (const uint32_t row : rows) groups[row / 16].taken |= 1u << row % 16;
    for (size_t g = 1; g < groups.size(); ++g)
        groups[g].before = groups[g - 1].before + static_cast<uint32_t>(__builtin_popcount(groups[g - 1].taken));
    return groups;
}

}  // namespace

Dictionary::Dictionary(int kind_code, int64_t n_, int64_t M_, uint64_t seed_, uint32_t stream_)
    : kind(static_cast<Kind>(kind_code)), n(n_), M(M_), seed(seed_), stream(stream_) {
    if (kind_code < 1 || kind_code > 3)
        throw std::invalid_argument("kind is " + std::to_string(kind_code) +
                                    "; allowed: 1 (gaussian), 2 (rademacher), 3 (hadamard)");
    if (n < 1 || n > kMaxDim) throw std::invalid_argument("n is " + std::to_string(n) + "; allowed: 1 to 2**24");
    if (M < 1 || M > kMaxDim) throw std::invalid_argument("M is " + std::to_string(M) + "; allowed: 1 to 2**24");
    if (kind == Kind::hadamard) {
        order = 1;
        while (order < n) order *= 2;
        rows = choose_rows(n, order, seed, stream);
        row_groups_ = row_groups(rows, order);
        const int64_t blocks = (M + order - 1) / order, block_words = sign_words();
        if (blocks * block_words > kMaxStoredSignWords) return;
        std::vector<uint32_t> buffer(sign_buffer_words()), stored(blocks * block_words + 2);
        for (int64_t block = 0; block < blocks; ++block)
            std::copy_n(block_signs(block, buffer.data()), block_words, stored.begin() + block * block_words);
        signs_ = std::move(stored);
    }
}

const uint32_t* Dictionary::block_signs(int64_t block, uint32_t* buffer) const {
    if (!signs_.empty()) return signs_.data() + block * sign_words();
    kernels().words(seed, static_cast<uint32_t>(block), stream, static_cast<uint32_t>(kind), (n + 127) / 128, buffer);
    return buffer;
}

FwhtTask Dictionary::transform(int64_t block, uint32_t* words, float* buffer) const {
    return {nullptr, block_signs(block, words), row_groups_.data(), n, order, buffer, nullptr, nullptr, nullptr};
}

void Dictionary::row(int64_t atom, int8_t* out) const {
    const Kernels& k = kernels();
    const uint32_t code = static_cast<uint32_t>(kind);
    if (kind == Kind::gaussian) {
        k.row_popcount(seed, stream, code, static_cast<uint32_t>(atom), n, out);
    } else if (kind == Kind::rademacher) {
        k.row_signs(seed, stream, code, static_cast<uint32_t>(atom), n, out);
    } else {
        if (signs_.empty())
            k.row_signs(seed, stream, code, static_cast<uint32_t>(atom / order), n, out);
        else
            k.spread_signs(block_signs(atom / order, nullptr), n, out);
        k.row_parity(rows.data(), static_cast<uint32_t>(atom % order), n, out);
    }
}

}  // namespace coinr
