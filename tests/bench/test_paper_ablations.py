from collections import OrderedDict

import numpy as np
import pytest
import torch

import coinr
from bench.harness.signals import Samples
from bench.paper.ablations import bits, cut, entropy, ksvd, learned, masked, pruning, solver
from bench.paper.ablations.figures import Panel
from bench.paper.ablations.hidden import Hidden, combined, hidden_names, residual_db
from bench.paper.ablations.streams import STREAMS, Code, ideal_bytes
from coinr.codec.profiles.paper import solve
from coinr.codec.tensors import Cut


def network(width=16, hidden_layers=2, seed=0):
    """A SIREN of a plane, untrained."""
    return coinr.Siren(2, 3, width, hidden_layers, generator=torch.Generator().manual_seed(seed))


def tensors(width=16, hidden_layers=2, seed=0):
    return OrderedDict((k, v.detach().clone()) for k, v in network(width, hidden_layers, seed).state_dict().items())


def rows_of(sd, width=16):
    names = hidden_names(sd, width)
    return Hidden(sd, names, Cut(False, width), np.concatenate([sd[name].double().numpy() for name in names]))


def plane(count=512):
    inputs = torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    targets = torch.stack([inputs[:, 0].sin(), inputs[:, 1].cos(), inputs.prod(1)], 1)
    return Samples(inputs, targets, inputs, targets)


def random_code(B=12, s=5, M=200, bits=12, seed=0):
    rng = np.random.default_rng(seed)
    atoms = np.stack([rng.permutation(M)[:s] for _ in range(B)]).astype(np.int32)
    top = 2 ** (bits - 1) - 1
    return Code(atoms, np.clip(rng.normal(0, top / 4, (B, s)).round(), -top, top).astype(np.int32), M, bits)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_exactly_the_share_asked_for_is_pruned_of_each_hidden_matrix(share):
    sd = tensors()
    pruned = pruning.apply_masks(sd, pruning.kept_weights(sd, share))
    first, *hidden, last = pruning.matrices(sd)
    for name in hidden:
        assert int((pruned[name] == 0).sum()) == round(share * 256)
        gone = sd[name][pruned[name] == 0].abs()
        if gone.numel():
            assert gone.max() <= sd[name][pruned[name] != 0].abs().min()
    assert pruning.zeros(pruned, [first, last]) == 0


def test_pruned_weights_stay_zero_in_training_and_the_others_move():
    sd = tensors()
    masks = pruning.kept_weights(sd, 0.5)
    start = pruning.apply_masks(sd, masks)
    found = pruning.fit(network(), start, plane(), steps=5, batch=64, rate=1e-3, seed=0, masks=masks)
    for name, mask in masks.items():
        assert (found[name][~mask] == 0).all()
        assert (found[name][mask] != start[name][mask]).any()


def test_neurons_are_pruned_by_strength_and_a_dead_one_changes_nothing():
    sd = tensors()
    names = pruning.matrices(sd)
    sd[names[1]][:, 3] = 0  # nothing comes out of neuron 3 of the first layer
    small = pruning.without_neurons(sd, 0.25)
    assert [tuple(small[name].shape) for name in names] == [(12, 2), (12, 12), (12, 12), (3, 12)]
    one = pruning.without_neurons(sd, 1 / 16)
    assert not any(torch.equal(row, sd[names[0]][3]) for row in one[names[0]])
    assert pruning.dead_neurons(sd) == pytest.approx(1 / 48)


def test_a_narrower_network_is_trained_in_its_own_size():
    small = pruning.without_neurons(tensors(), 0.5)
    found = pruning.fit(network(), small, plane(), steps=3, batch=64, rate=1e-3, seed=0)
    assert {name: t.shape for name, t in found.items()} == {name: t.shape for name, t in small.items()}


def test_a_strong_penalty_makes_zeros_and_none_makes_none():
    options = dict(steps=40, batch=64, rate=1e-3, seed=0)
    plain = pruning.fit(network(), tensors(), plane(), **options)
    sparse = pruning.fit(network(), tensors(), plane(), l1=2.0, **options)
    assert pruning.zeros(plain) == 0
    assert 0.3 < pruning.zeros(sparse) <= 1


def test_zeros_in_common_are_counted_against_chance():
    one, other = tensors(), tensors()
    name = pruning.matrices(one)[1]
    one[name][:8], other[name][4:12] = 0, 0
    both, chance = pruning.overlap(one, other)
    assert both == pytest.approx(4 * 16 / 512)
    assert chance == pytest.approx(0.25 * 256 / 512)


def test_a_masked_stream_decodes_to_what_16_bits_give():
    sd = tensors()
    sd = pruning.apply_masks(sd, pruning.kept_weights(sd, 0.75))
    data = masked.encode(sd)
    decoded = masked.decode(data, sd)
    for name, tensor in sd.items():
        assert (decoded[name][tensor == 0] == 0).all()
        assert float((decoded[name] - tensor).abs().max()) <= float(tensor.abs().max()) / 32767
    assert len(data) < len(masked.encode(tensors()))


def test_lasso_supports_have_s_atoms_and_debiasing_lowers_the_residual():
    W = np.random.default_rng(0).standard_normal((4, 16))
    dictionary = coinr.Dictionary("gaussian", 16, 128, 0)
    codes = solver.lasso(W, dictionary, [3, 7])
    for (name, s), (indices, values) in codes.items():
        assert indices.shape == values.shape == (4, s)
        assert all(len(set(row)) == s and row.min() >= 0 for row in indices)
        fitted = solve(W, np.ascontiguousarray(indices), dictionary)
        for w, row, shrunk, best in zip(W, indices, values, fitted, strict=True):
            atoms = dictionary.atoms(row)
            assert np.square(w - atoms @ best).sum() <= np.square(w - atoms @ shrunk).sum() + 1e-12, name


def test_the_end_of_the_path_is_basis_pursuit():
    W = np.random.default_rng(1).standard_normal((2, 8))
    dictionary = coinr.Dictionary("gaussian", 8, 64, 0)
    indices, values = solver.lasso(W, dictionary, [8])["basis pursuit", 8]
    assert residual_db(W, combined(indices, values, dictionary)) < -60


def test_ksvd_never_raises_its_own_residual():
    W = np.random.default_rng(0).standard_normal((60, 12))
    D, history = ksvd.learn(W, 24, 3, 6)
    assert D.shape == (24, 12)
    np.testing.assert_allclose(np.linalg.norm(D, axis=1), 1)
    assert all(after <= before * (1 + 1e-12) for before, after in zip(history, history[1:], strict=False))
    assert history[-1] < 0.8 * history[0]


def test_a_dictionary_of_as_many_atoms_as_rows_holds_the_rows():
    W = np.random.default_rng(0).standard_normal((10, 12))
    D, history = ksvd.learn(W, 16, 2, 1)
    assert history[-1] < 1e-20 * np.square(W).sum()


def test_its_pursuit_is_that_of_the_package():
    dictionary = coinr.Dictionary("gaussian", 16, 64, 0)
    atoms = dictionary.materialize().astype(np.float64)
    W = np.random.default_rng(2).standard_normal((10, 16)).astype(np.float32)
    norms = np.linalg.norm(atoms, axis=0)
    indices, values = ksvd.pursue(W.astype(np.float64), (atoms / norms).T, 6)
    code = coinr.omp(W, dictionary, 6)
    assert np.array_equal(indices, code.indices)
    np.testing.assert_allclose(values / norms[indices], code.values, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("coding", STREAMS)
@pytest.mark.parametrize("width", [9, 16])
def test_every_stream_of_a_sparse_code_is_read_back(coding, width):
    encode, decode = STREAMS[coding]
    code = random_code(bits=width)
    code.q[3, 2] = 0
    data = encode(code)
    assert code.same(*decode(data, code))
    assert len(data) >= ideal_bytes(code)[0]


def test_the_bound_of_sets_is_exact():
    sets, values = ideal_bytes(Code(np.array([[0, 1]], np.int32), np.array([[5, 5]], np.int32), 10, 8))
    assert sets == pytest.approx(np.log2(45) / 8)
    assert values == 0


def test_adaptively_coded_integers_are_near_their_entropy():
    levels = np.random.default_rng(0).normal(0, 20, (64, 64)).round().astype(np.int32)
    ideal = 4096 * np.log2(20 * np.sqrt(2 * np.pi * np.e)) / 8
    assert 0.97 * ideal < len(entropy.adaptive(levels)) < 1.06 * ideal


def test_files_of_hidden_matrices_decode_and_fewer_bits_are_smaller():
    hidden = rows_of(tensors())
    dictionary = coinr.Dictionary("gaussian", 16, 256, 0)
    indices = np.ascontiguousarray(hidden.pursue(dictionary, 7).indices)
    sizes, errors = [], []
    for width in (16, 6):
        blob, size = hidden.file(indices, dictionary, width)
        decoded = coinr.decode_state_dict(blob)
        assert list(decoded) == list(hidden.state_dict)
        sizes.append(len(blob))
        errors.append(residual_db(hidden.vectors, np.concatenate([decoded[name] for name in hidden.names])))
        assert 0 < size < len(blob)
    assert sizes[1] < sizes[0]
    assert errors[0] < errors[1]
    np.testing.assert_allclose(hidden.with_vectors(hidden.vectors)[hidden.names[1]], hidden.state_dict[hidden.names[1]])


def test_a_learned_code_is_read_back_with_its_dictionary():
    W = np.random.default_rng(0).standard_normal((20, 12))
    D, _ = ksvd.learn(W, 16, 3, 2)
    indices, values = ksvd.pursue(W, D, 4)
    indices[0, 3], values[0, 3] = -1, 0
    size, back, amounts = learned.encode_code(indices, values, 16)
    exact, near = ksvd.rebuilt(D, indices, values), ksvd.rebuilt(D, back, amounts)
    assert residual_db(exact, near) < -70
    bytes8, coarse = learned.sent(D, 8)
    bytes16, fine = learned.sent(D, 16)
    assert bytes8 < bytes16
    assert residual_db(D, fine) < residual_db(D, coarse) < -30


def test_flattened_runs_are_longer_than_rows():
    assert set(cut.cuts(64)) == {"rows", "columns", "flattened, n = 1024", "flattened, n = 2048"}
    assert all(way.n <= 32 * 32 for way in cut.cuts(32).values())


def test_the_best_pair_is_the_smallest_file_within_a_tenth():
    rows = [
        dict(network="a", rounded="values", s=s, bits=b, bytes=size, loss_db=loss)
        for s, b, size, loss in [(20, 16, 90, 0.2), (24, 16, 120, 0.05), (24, 8, 100, 0.09), (20, 8, 80, 0.3)]
    ]
    found = {row["allowed_bits"]: row["bytes"] for row in bits.best(rows)}
    assert found == {"any": 100, "16": 120}


def test_paired_lines_share_colours_and_strokes():
    panel = Panel("", "", "", {label: [(1, 1)] for label in ("a, x", "a, y", "b, x")}, paired=True)
    styles = {label: panel.style(label) for label in panel.lines}
    assert styles["a, x"][0] == styles["a, y"][0] != styles["b, x"][0]
    assert styles["a, x"][1:] == styles["b, x"][1:] != styles["a, y"][1:]
