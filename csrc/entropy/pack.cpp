#include "entropy/pack.hpp"

#include <stdexcept>

namespace coinr {
namespace {

constexpr int kMaxRice = 24;

void check_width(int width) {
    if (width < 1 || width > 32)
        throw std::invalid_argument("width is " + std::to_string(width) + "; allowed: 1 to 32");
}

class BitWriter {
public:
    explicit BitWriter(std::string& out) : out_(out) {}

    void put(uint64_t value, int bits) {  // bits <= 32
        pending_ |= value << filled_;
        filled_ += bits;
        while (filled_ >= 8) {
            out_.push_back(static_cast<char>(pending_ & 0xFF));
            pending_ >>= 8;
            filled_ -= 8;
        }
    }

    void put_ones(uint64_t count) {
        for (; count >= 32; count -= 32) put(0xFFFFFFFFu, 32);
        put((uint64_t{1} << count) - 1, static_cast<int>(count));
    }

    void finish() {
        if (filled_ > 0) out_.push_back(static_cast<char>(pending_ & 0xFF));
    }

private:
    std::string& out_;
    uint64_t pending_ = 0;
    int filled_ = 0;
};

class BitReader {
public:
    BitReader(const uint8_t* data, int64_t size) : data_(data), size_(size) {}

    uint32_t take(int bits) {  // bits <= 32
        if (bits == 0) return 0;
        while (filled_ < bits) {
            if (next_ == size_) throw std::invalid_argument("packed data ends early");
            pending_ |= static_cast<uint64_t>(data_[next_++]) << filled_;
            filled_ += 8;
        }
        const uint32_t value = static_cast<uint32_t>(pending_ & ((uint64_t{1} << bits) - 1));
        pending_ >>= bits;
        filled_ -= bits;
        return value;
    }

    void finish() const {
        if (pending_ != 0) throw std::invalid_argument("packed data has padding that is not zero");
        if (next_ != size_) throw std::invalid_argument("packed data is longer than its values");
    }

private:
    const uint8_t* data_;
    int64_t size_, next_ = 0;
    uint64_t pending_ = 0;
    int filled_ = 0;
};

}  // namespace

std::string pack_bits(const uint32_t* values, int64_t count, int width) {
    check_width(width);
    std::string out;
    out.reserve(static_cast<size_t>((count * width + 7) / 8));
    BitWriter writer(out);
    for (int64_t i = 0; i < count; ++i) {
        if (width < 32 && values[i] >> width)
            throw std::invalid_argument("value " + std::to_string(values[i]) + " does not fit in " +
                                        std::to_string(width) + " bits");
        writer.put(values[i], width);
    }
    writer.finish();
    return out;
}

std::vector<uint32_t> unpack_bits(const uint8_t* data, int64_t size, int64_t count, int width) {
    check_width(width);
    // Compared by division: count * width may overflow for a hostile count.
    if (count < 0 || count > size * 8 / width || (count * width + 7) / 8 != size)
        throw std::invalid_argument(std::to_string(size) + " bytes do not hold exactly " + std::to_string(count) +
                                    " values of " + std::to_string(width) + " bits");
    std::vector<uint32_t> values(count);
    BitReader reader(data, size);
    for (uint32_t& value : values) value = reader.take(width);
    reader.finish();
    return values;
}

std::string pack_sorted(const int32_t* indices, int64_t rows, int64_t columns, int64_t M) {
    std::vector<uint32_t> gaps(rows * columns);
    for (int64_t b = 0; b < rows; ++b) {
        int64_t before = -1;
        for (int64_t k = 0; k < columns; ++k) {
            const int64_t index = indices[b * columns + k];
            if (index <= before || index >= M)
                throw std::invalid_argument("row " + std::to_string(b) + " holds index " + std::to_string(index) +
                                            " after " + std::to_string(before) +
                                            "; indices must ascend strictly from 0 to M - 1");
            gaps[b * columns + k] = static_cast<uint32_t>(index - before - 1);
            before = index;
        }
    }
    int best = 0;
    uint64_t best_bits = UINT64_MAX;
    for (int r = 0; r <= kMaxRice; ++r) {
        uint64_t bits = 0;
        for (const uint32_t gap : gaps) bits += (gap >> r) + 1 + r;
        if (bits < best_bits) best = r, best_bits = bits;
    }
    std::string out;
    out.reserve(static_cast<size_t>(1 + (best_bits + 7) / 8));
    out.push_back(static_cast<char>(best));
    BitWriter writer(out);
    for (const uint32_t gap : gaps) {
        writer.put_ones(gap >> best);
        writer.put(static_cast<uint64_t>(gap & ((1u << best) - 1)) << 1, best + 1);
    }
    writer.finish();
    return out;
}

std::vector<int32_t> unpack_sorted(const uint8_t* data, int64_t size, int64_t rows, int64_t columns, int64_t M) {
    if (size < 1) throw std::invalid_argument("packed index sets are empty; the Rice parameter is missing");
    const int r = data[0];
    if (r > kMaxRice)
        throw std::invalid_argument("Rice parameter is " + std::to_string(r) + "; allowed: 0 to " +
                                    std::to_string(kMaxRice));
    // Each index takes at least r + 1 bits, which bounds the allocation by the size of the data.
    if (rows > 0 && columns > (size - 1) * 8 / (r + 1) / rows)
        throw std::invalid_argument(std::to_string(size) + " bytes cannot hold " + std::to_string(rows) + " x " +
                                    std::to_string(columns) + " indices");
    std::vector<int32_t> indices(rows * columns);
    BitReader reader(data + 1, size - 1);
    for (int64_t b = 0; b < rows; ++b) {
        int64_t before = -1;
        for (int64_t k = 0; k < columns; ++k) {
            uint64_t quotient = 0;
            while (reader.take(1)) {
                if ((++quotient << r) >= static_cast<uint64_t>(M))
                    throw std::invalid_argument("packed index set holds an index that is not below M");
            }
            const int64_t index = before + 1 + static_cast<int64_t>(quotient << r | reader.take(r));
            if (index >= M) throw std::invalid_argument("packed index set holds an index that is not below M");
            indices[b * columns + k] = static_cast<int32_t>(index);
            before = index;
        }
    }
    reader.finish();
    return indices;
}

}  // namespace coinr
