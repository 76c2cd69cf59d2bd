#include "bindings/sparse.hpp"

#include <cmath>
#include <vector>

#include "bindings/buffers.hpp"
#include "entropy/sets.hpp"
#include "quantize/sparse_rdo.hpp"

namespace coinr {
namespace {

constexpr float kMaxTarget = 1 << 20;
constexpr int kMaxBeam = 256;

template <class T>
std::vector<T> vector_of(const py::array& array, const char* name) {
    const T* data = checked<T>(array, name, 1);
    return std::vector<T>(data, data + array.shape(0));
}

py::bytes encode(const py::array& counts, const py::array& indices, const py::array& q, int64_t M, int64_t s) {
    const int32_t* k = checked<int32_t>(counts, "counts", 1);
    const int32_t* atoms = checked<int32_t>(indices, "indices", 1);
    const int32_t* integers = checked<int32_t>(q, "q", 1);
    const SparseShape shape{counts.shape(0), M, s};
    int64_t total = 0;
    for (int64_t b = 0; b < shape.B; ++b) {
        if (k[b] < 0) throw std::invalid_argument("count " + std::to_string(k[b]) + " is negative");
        total += k[b];
    }
    if (indices.shape(0) != total || q.shape(0) != total)
        throw std::invalid_argument("indices and q must hold as many atoms as the counts add up to");
    std::string out;
    {
        py::gil_scoped_release release;
        out = encode_sparse(shape, k, atoms, integers);
    }
    return py::bytes(out);
}

py::tuple decode(const py::buffer& data, int64_t B, int64_t M, int64_t s) {
    const Bytes bytes(data);
    if (B < 0 || s < 0 || s > kMaxAtoms || B > (int64_t{1} << 48))
        throw std::invalid_argument("shape [" + std::to_string(B) + ", " + std::to_string(s) +
                                    "] is not allowed; 0 <= B <= 2**48 and 0 <= s <= 4095");
    py::array_t<int32_t> indices({B, s}), q({B, s});
    int32_t *to_indices = indices.mutable_data(), *to_q = q.mutable_data();
    {
        py::gil_scoped_release release;
        decode_sparse({B, M, s}, bytes.data(), bytes.size(), to_indices, to_q);
    }
    return py::make_tuple(indices, q);
}

py::tuple pursue_codes(const py::array& X, int64_t M, const py::int_& seed, double lambda,
                       const py::array& set_bits, const py::array& value_bits, int beam, int threads) {
    const float* targets = checked<float>(X, "X", 2);
    const int64_t B = X.shape(0);
    const Dictionary d(static_cast<int>(Kind::hadamard), X.shape(1), M, unsigned_in(seed, "seed", 64), 0);
    const RateModel rate{lambda, vector_of<double>(set_bits, "set_bits"), vector_of<double>(value_bits, "value_bits")};
    const int64_t s = static_cast<int64_t>(rate.set_bits.size()) - 1;
    if (s < 0 || s > kMaxAtoms || s > M)
        throw std::invalid_argument("set_bits must have 1 to min(M, 4095) + 1 entries");
    if (rate.value_bits.empty()) throw std::invalid_argument("value_bits must not be empty");
    if (!(lambda >= 0) || !std::isfinite(lambda)) throw std::invalid_argument("lambda must be a number >= 0");
    if (beam < 1 || beam > kMaxBeam) throw std::invalid_argument("beam is not in 1 to 256");
    for (int64_t i = 0; i < B * d.n; ++i)
        if (!(std::fabs(targets[i]) < kMaxTarget))
            throw std::invalid_argument("X holds a value that is not below 2**20 in magnitude");
    SparseCodes codes;
    {
        py::gil_scoped_release release;
        codes = pursue(d, targets, B, rate, beam, threads);
    }
    py::array_t<int32_t> counts(B), indices({B, s}), q({B, s});
    std::copy(codes.counts.begin(), codes.counts.end(), counts.mutable_data());
    std::copy(codes.indices.begin(), codes.indices.end(), indices.mutable_data());
    std::copy(codes.q.begin(), codes.q.end(), q.mutable_data());
    return py::make_tuple(counts, indices, q);
}

}  // namespace

void bind_sparse(py::module_& m) {
    m.def("encode_sparse", &encode, py::arg("counts"), py::arg("indices"), py::arg("q"), py::arg("M"), py::arg("s"),
          "Encode sets and integers: counts int32 [B], each at most s; indices and q int32, vector by vector.");
    m.def("decode_sparse", &decode, py::arg("data"), py::arg("B"), py::arg("M"), py::arg("s"),
          "Undo encode_sparse: indices and q int32 [B, s], zeros after the atoms of each vector.");
    m.def("pursue", &pursue_codes, py::arg("X"), py::arg("M"), py::arg("seed"), py::arg("lambda_"),
          py::arg("set_bits"), py::arg("value_bits"), py::arg("beam") = 1, py::arg("threads") = 1,
          "Return codes of float32 [B, n], in steps, that about minimize squared error + lambda * bits (hadamard): "
          "counts int32 [B], indices and q int32 [B, s].");
}

}  // namespace coinr
