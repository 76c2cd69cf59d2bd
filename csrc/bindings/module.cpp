// The Python module: checks arguments, releases the GIL and calls the headers below.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/buffers.hpp"
#include "bindings/exact.hpp"
#include "bindings/level_blocks.hpp"
#include "bindings/mlp.hpp"
#include "bindings/optimizers.hpp"
#include "bindings/sampling.hpp"
#include "bindings/sparse.hpp"
#include "bindings/trellis_feedback.hpp"
#include "dictionary/dictionary.hpp"
#include "dictionary/philox.hpp"
#include "dictionary/synthesis.hpp"
#include "entropy/levels.hpp"
#include "entropy/pack.hpp"
#include "omp/omp.hpp"
#include "quantize/trellis.hpp"
#include "simd/kernels.hpp"
#include "threads/thread_pool.hpp"

using namespace coinr;

namespace {

void check_finite(const float* data, int64_t count, const char* name) {
    for (int64_t i = 0; i < count; ++i)
        if (!std::isfinite(data[i]))
            throw std::invalid_argument(std::string(name) + " holds a value that is not finite, at flat index " +
                                        std::to_string(i));
}

void check_atoms(const int64_t* indices, int64_t count, int64_t M) {
    for (int64_t i = 0; i < count; ++i)
        if (indices[i] < 0 || indices[i] >= M)
            throw std::invalid_argument("index " + std::to_string(indices[i]) + " is not in 0 to M - 1 = " +
                                        std::to_string(M - 1));
}

Dictionary dictionary_of(int kind, int64_t n, int64_t M, const py::int_& seed, const py::int_& stream) {
    return Dictionary(kind, n, M, unsigned_in(seed, "seed", 64),
                      static_cast<uint32_t>(unsigned_in(stream, "stream", 32)));
}

py::array_t<uint32_t> bind_philox(const py::array& counters, const py::int_& seed) {
    const uint32_t* in = checked<uint32_t>(counters, "counters", 2);
    if (counters.shape(1) != 4) throw std::invalid_argument("counters must have shape [N, 4]");
    const uint64_t key = unsigned_in(seed, "seed", 64);
    const int64_t count = counters.shape(0);
    py::array_t<uint32_t> out({count, int64_t{4}});
    uint32_t* words = out.mutable_data();
    py::gil_scoped_release release;
    for (int64_t i = 0; i < count; ++i) {
        uint32_t x[4] = {in[4 * i], in[4 * i + 1], in[4 * i + 2], in[4 * i + 3]};
        philox4x32(x, key);
        std::copy_n(x, 4, words + 4 * i);
    }
    return out;
}

py::array_t<int8_t> bind_entries(int kind, int64_t n, int64_t M, const py::int_& seed, const py::int_& stream,
                                 const py::array& indices, int threads) {
    const Dictionary d = dictionary_of(kind, n, M, seed, stream);
    const int64_t* atoms = checked<int64_t>(indices, "indices", 1);
    const int64_t count = indices.shape(0);
    check_atoms(atoms, count, M);
    py::array_t<int8_t> out({count, n});
    int8_t* to = out.mutable_data();
    py::gil_scoped_release release;
    Team team(threads);
    std::vector<std::vector<int8_t>> rows(team.size(), std::vector<int8_t>(padded(n)));
    team.for_each(count, 16, [&](int64_t i, int rank) {
        d.row(atoms[i], rows[rank].data());
        std::copy_n(rows[rank].data(), n, to + i * n);
    });
    return out;
}

py::tuple bind_correlate(const py::array& R, int kind, int64_t M, const py::int_& seed, const py::int_& stream,
                         int threads, bool exact) {
    const float* residuals = checked<float>(R, "R", 2);
    const int64_t B = R.shape(0);
    const Dictionary d = dictionary_of(kind, R.shape(1), M, seed, stream);
    check_finite(residuals, B * d.n, "R");
    py::array_t<int32_t> best(B);
    py::array_t<float> value(B);
    int32_t* best_out = best.mutable_data();
    float* value_out = value.mutable_data();
    {
        py::gil_scoped_release release;
        correlate_argmax(d, residuals, B, threads, exact, best_out, value_out);
    }
    return py::make_tuple(best, value);
}

py::tuple bind_omp(const py::array& W, int kind, int64_t M, const py::int_& seed, const py::int_& stream, int64_t s,
                   int threads, bool exact) {
    const float* targets = checked<float>(W, "W", 2);
    const int64_t B = W.shape(0);
    const Dictionary d = dictionary_of(kind, W.shape(1), M, seed, stream);
    if (s < 0 || s > d.n || s > d.M)
        throw std::invalid_argument("s is " + std::to_string(s) + "; allowed: 0 to min(n, M) = " +
                                    std::to_string(std::min(d.n, d.M)));
    check_finite(targets, B * d.n, "W");
    py::array_t<int32_t> indices({B, s});
    py::array_t<float> values({B, s}), path({B, s + 1});
    int32_t* indices_out = indices.mutable_data();
    float *values_out = values.mutable_data(), *path_out = path.mutable_data();
    {
        py::gil_scoped_release release;
        omp(d, targets, B, s, threads, exact, indices_out, values_out, path_out);
    }
    return py::make_tuple(indices, values, path);
}

py::array_t<float> bind_synthesize(const py::array& indices, const py::array& q, double step, int kind, int64_t n,
                                   int64_t M, const py::int_& seed, const py::int_& stream, int threads) {
    const Dictionary d = dictionary_of(kind, n, M, seed, stream);
    const int32_t* atoms = checked<int32_t>(indices, "indices", 2);
    const int32_t* levels = checked<int32_t>(q, "q", 2);
    const int64_t B = indices.shape(0), s = indices.shape(1);
    if (q.shape(0) != B || q.shape(1) != s) throw std::invalid_argument("q and indices differ in shape");
    const float step32 = static_cast<float>(step);
    if (static_cast<double>(step32) != step)
        throw std::invalid_argument("step is " + std::to_string(step) + "; it must be a float32 value");
    py::array_t<float> out({B, n});
    float* to = out.mutable_data();
    py::gil_scoped_release release;
    synthesize(d, atoms, levels, B, s, step32, threads, to);
    return out;
}

py::bytes bind_pack_bits(const py::array& values, int width) {
    const uint32_t* data = checked<uint32_t>(values, "values", 1);
    std::string out;
    {
        py::gil_scoped_release release;
        out = pack_bits(data, values.shape(0), width);
    }
    return py::bytes(out);
}

py::array_t<uint32_t> bind_unpack_bits(const py::buffer& data, int64_t count, int width) {
    const Bytes bytes(data);
    std::vector<uint32_t> values;
    {
        py::gil_scoped_release release;
        values = unpack_bits(bytes.data(), bytes.size(), count, width);
    }
    return py::array_t<uint32_t>(static_cast<py::ssize_t>(values.size()), values.data());
}

void check_sets(int64_t B, int64_t s, int64_t M) {
    if (M < 1 || M > kMaxDim) throw std::invalid_argument("M is " + std::to_string(M) + "; allowed: 1 to 2**24");
    if (B < 0 || s < 0 || s > M)
        throw std::invalid_argument("shape [" + std::to_string(B) + ", " + std::to_string(s) +
                                    "] is not allowed; B >= 0 and 0 <= s <= M");
}

py::bytes bind_pack_sorted(const py::array& indices, int64_t M) {
    const int32_t* data = checked<int32_t>(indices, "indices", 2);
    const int64_t B = indices.shape(0), s = indices.shape(1);
    check_sets(B, s, M);
    std::string out;
    {
        py::gil_scoped_release release;
        out = pack_sorted(data, B, s, M);
    }
    return py::bytes(out);
}

py::array_t<int32_t> bind_unpack_sorted(const py::buffer& data, int64_t B, int64_t s, int64_t M) {
    check_sets(B, s, M);
    const Bytes bytes(data);
    std::vector<int32_t> indices;
    {
        py::gil_scoped_release release;
        indices = unpack_sorted(bytes.data(), bytes.size(), B, s, M);
    }
    py::array_t<int32_t> out({B, s});
    std::copy(indices.begin(), indices.end(), out.mutable_data());
    return out;
}

py::bytes bind_encode_levels(const py::array& k, const py::array& row, const py::array& column, int log_states,
                             int shape, int32_t scale, int switches) {
    const int32_t* data = checked<int32_t>(k, "k", 2);
    const uint8_t* rows = checked<uint8_t>(row, "row", 1);
    const uint8_t* columns = checked<uint8_t>(column, "column", 1);
    const LevelModel model = level_model(k.shape(0), k.shape(1), log_states, shape, scale, switches);
    const LevelData integers{std::vector<int32_t>(data, data + k.size()), std::vector<uint8_t>(rows, rows + row.size()),
                             std::vector<uint8_t>(columns, columns + column.size())};
    std::string out;
    {
        py::gil_scoped_release release;
        out = encode_levels(model, integers);
    }
    return py::bytes(out);
}

template <class T>
py::array_t<T> as_array(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::tuple bind_decode_levels(const py::buffer& data, int64_t rows, int64_t columns, int log_states, int shape,
                             int32_t scale, int switches) {
    const LevelModel model = level_model(rows, columns, log_states, shape, scale, switches);
    const Bytes bytes(data);
    LevelData values;
    {
        py::gil_scoped_release release;
        values = decode_levels(model, bytes.data(), bytes.size());
    }
    return py::make_tuple(as_array(values.k).reshape({rows, columns}), as_array(values.row), as_array(values.column));
}

py::array_t<int32_t> bind_level_values(const py::array& k, int log_states) {
    const int32_t* data = checked<int32_t>(k, "k", 2);
    py::array_t<int32_t> values({k.shape(0), k.shape(1)});
    level_values(log_states, data, k.shape(0) * k.shape(1), values.mutable_data());
    return values;
}

py::array_t<double> bind_level_costs(int log_states, int shape, int32_t scale, int64_t count) {
    if (count < 1 || count > kMaxLevel) throw std::invalid_argument("count is not in 1 to 2**20 - 1");
    const std::vector<double> bits = level_costs(level_model(0, 0, log_states, shape, scale, 0), count);
    py::array_t<double> out({int64_t{2}, count});
    std::copy(bits.begin(), bits.end(), out.mutable_data());
    return out;
}

py::array_t<int32_t> bind_choose_levels(int log_states, const py::array& x, const py::array& weight,
                                        const py::array& bits, const py::array& table,
                                        bool closed) {
    const double* targets = checked<double>(x, "x", 1);
    const double* weights = checked<double>(weight, "weight", 1);
    const double* costs = checked<double>(bits, "bits", 3);
    const uint8_t* which = checked<uint8_t>(table, "table", 1);
    const int64_t count = x.shape(0), entries = bits.shape(2);
    if (bits.shape(0) < 1 || bits.shape(1) != 2 || entries < 1)
        throw std::invalid_argument("bits must be [tables, 2, entries], none of them empty");
    if (weight.shape(0) != 1 && weight.shape(0) != count)
        throw std::invalid_argument("weight must have 1 element or one for each of x");
    if (table.shape(0) != 0 && table.shape(0) != count)
        throw std::invalid_argument("table must be empty or have one element for each of x");
    if (closed && count < log_states) throw std::invalid_argument("x is too short to lead to state 0");
    for (int64_t i = 0; i < table.shape(0); ++i)
        if (which[i] >= bits.shape(0)) throw std::invalid_argument("table names one that bits does not hold");
    for (int64_t i = 0; i < count; ++i)
        if (!std::isfinite(targets[i])) throw std::invalid_argument("x holds a value that is not finite");
    std::vector<int32_t> k;
    {
        py::gil_scoped_release release;
        k = choose_levels(log_states, targets, count, std::vector<double>(weights, weights + weight.shape(0)), costs,
                          bits.shape(0), entries, table.shape(0) ? which : nullptr, closed);
    }
    return py::array_t<int32_t>(static_cast<py::ssize_t>(k.size()), k.data());
}

}  // namespace

PYBIND11_MODULE(_C, m) {
    m.doc() = "Native engine of coinr: dictionaries, pursuit, quantization, entropy coding, networks. Wrong arguments raise "
              "ValueError.";
    m.def("philox4x32", &bind_philox, py::arg("counters"), py::arg("seed"),
          "Return the Philox4x32-10 words uint32 [N, 4] of counters uint32 [N, 4].");
    m.def("entries", &bind_entries, py::arg("kind"), py::arg("n"), py::arg("M"), py::arg("seed"), py::arg("stream"),
          py::arg("indices"), py::arg("threads") = 1, "Return the atoms int8 [k, n] of the int64 indices [k].");
    m.def("correlate_argmax", &bind_correlate, py::arg("R"), py::arg("kind"), py::arg("M"), py::arg("seed"),
          py::arg("stream"), py::arg("threads") = 1, py::arg("exact") = false,
          "Return the best atom int32 [B] and its a.r/|a| float32 [B] for each residual float32 [B, n].");
    m.def("omp", &bind_omp, py::arg("W"), py::arg("kind"), py::arg("M"), py::arg("seed"), py::arg("stream"),
          py::arg("s"), py::arg("threads") = 1, py::arg("exact") = false,
          "Return sparse codes of float32 [B, n], argmin |w - A x|^2 subject to |x|_0 <= s by orthogonal matching "
          "pursuit: indices int32 [B, s], values float32 [B, s], path float32 [B, s + 1].");
    m.def("synthesize", &bind_synthesize, py::arg("indices"), py::arg("q"), py::arg("step"), py::arg("kind"),
          py::arg("n"), py::arg("M"), py::arg("seed"), py::arg("stream"), py::arg("threads") = 1,
          "Return the weights float32 [B, n] = float32(sum_k q_k A[:, j_k]) * step, bit-exact.");
    m.def("pack_bits", &bind_pack_bits, py::arg("values"), py::arg("width"),
          "Pack uint32 values as `width`-bit fields, least significant bit first.");
    m.def("unpack_bits", &bind_unpack_bits, py::arg("data"), py::arg("count"), py::arg("width"),
          "Undo pack_bits: uint32 [count].");
    m.def("pack_sorted", &bind_pack_sorted, py::arg("indices"), py::arg("M"),
          "Pack ascending index rows int32 [B, s] as Rice-coded gaps.");
    m.def("unpack_sorted", &bind_unpack_sorted, py::arg("data"), py::arg("B"), py::arg("s"), py::arg("M"),
          "Undo pack_sorted: int32 [B, s].");
    m.def("encode_levels", &bind_encode_levels, py::arg("k"), py::arg("row"), py::arg("column"), py::arg("log_states"),
          py::arg("shape"), py::arg("scale"), py::arg("switches"),
          "Encode integers int32 [rows, columns] and step exponents uint8 by an adaptive entropy coder. Switches: "
          "1 by row, 2 by column, 4 mixed, 8 row steps, 16 column steps, 32 rANS.");
    m.def("decode_levels", &bind_decode_levels, py::arg("data"), py::arg("rows"), py::arg("columns"),
          py::arg("log_states"), py::arg("shape"), py::arg("scale"), py::arg("switches"),
          "Undo encode_levels: values int32 [rows, columns] in multiples of each element's step, and the step "
          "exponents of rows and columns.");
    m.def("level_values", &bind_level_values, py::arg("k"), py::arg("log_states"),
          "Return the values int32 [rows, columns] of the integers, in multiples of the step.");
    m.def("level_costs", &bind_level_costs, py::arg("log_states"), py::arg("shape"), py::arg("scale"), py::arg("count"),
          "Return the bits of the integers 0 .. count - 1 under the prior: float64 [2, count], by quantizer.");
    m.def("choose_levels", &bind_choose_levels, py::arg("log_states"), py::arg("x"), py::arg("weight"), py::arg("bits"),
          py::arg("table"), py::arg("closed") = false,
          "Return integers int32 [N] = argmin sum of weight (x - value)^2 + bits for float64 targets x [N] in steps; "
          "closed: the last leads to state 0 of the trellis.");
    bind_exact(m);
    bind_level_blocks(m);
    bind_sampling(m);
    bind_mlp(m);
    bind_optimizers(m);
    bind_sparse(m);
    bind_trellis_feedback(m);
    m.def("simd_level", [] { return std::string(kernels().name); },
          "Return the instruction set in use: portable, avx2 or avx512 (COINR_SIMD lowers it).");
}
