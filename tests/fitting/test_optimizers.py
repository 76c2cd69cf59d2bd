import copy
import math

import numpy as np
import pytest
import torch

import coinr
from coinr.fitting.optimizers import (
    OPTIMIZERS,
    Adam,
    Muon,
    Soap,
    default_learning_rate,
    default_optimizer,
    make_optimizer,
    orthogonal_factor,
    set_learning_rate,
)
from coinr.networks import Siren, build_network
from coinr.signals.image.signal import ImageSignal


def _quadratic(generator, rows=6, columns=4):
    """A badly conditioned function of a matrix, and its minimum."""
    left = torch.linalg.qr(torch.randn(rows, rows, generator=generator)).Q
    right = torch.linalg.qr(torch.randn(columns, columns, generator=generator)).Q
    scale = torch.logspace(0, -2, rows)[:, None] * torch.logspace(0, -2, columns)
    target = torch.randn(rows, columns, generator=generator)
    return lambda w: ((left.T @ (w - target) @ right).square() * scale).sum((-2, -1))


def _minimize(make, loss, start, steps=200):
    value = start.clone().requires_grad_()
    optimizer = make([value])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad()
        loss(value).sum().backward()
        optimizer.step()
    return value.detach()


def test_soap_finds_the_axes_of_a_rotated_quadratic_and_adam_does_not():
    loss = _quadratic(torch.Generator().manual_seed(0))
    start = torch.zeros(1, 6, 4)
    soap = loss(_minimize(lambda v: Soap(v, 0.05), loss, start)).item()
    adam = loss(_minimize(lambda v: torch.optim.Adam(v, 0.05), loss, start)).item()
    assert soap < 0.1 * adam


@pytest.mark.parametrize("make", [Soap, Muon])
def test_networks_of_a_stack_know_nothing_of_each_other(make):
    def found(seeds):
        losses = [_quadratic(torch.Generator().manual_seed(k)) for k in seeds]

        def each(w):
            return torch.stack([loss(matrix) for loss, matrix in zip(losses, w, strict=True)])

        return _minimize(lambda v: make(v, 0.05), each, torch.zeros(3, 6, 4), 100)

    # Soap's path is chaotic (a start moved by 1e-7 ends elsewhere): a network keeps its place, its neighbors change.
    first = found([0, 1, 2])
    for place in range(3):
        others = found([k if k == place else k + 7 for k in range(3)])
        assert torch.equal(others[place], first[place])
        assert not torch.equal(others[place - 1], first[place - 1])


def test_muon_moves_a_stack_as_its_networks_alone():
    losses = [_quadratic(torch.Generator().manual_seed(k)) for k in range(3)]

    def each(w):
        return torch.stack([loss(matrix) for loss, matrix in zip(losses, w, strict=True)])

    together = _minimize(lambda v: Muon(v, 0.05), each, torch.zeros(3, 6, 4), 100)
    for k, loss in enumerate(losses):
        alone = _minimize(lambda v: Muon(v, 0.05), loss, torch.zeros(1, 6, 4), 100)
        torch.testing.assert_close(together[k], alone[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_muon_moves_many_tensors_as_each_alone(dtype):
    generator = torch.Generator().manual_seed(0)
    # two shapes of matrices, one that comes twice between others, and three tensors that Adam moves
    shapes = [(2, 6, 2), (2, 6), (2, 6, 6), (2, 6), (2, 6, 6), (2, 3, 6)]
    starts = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    together, alone = ([start.clone() for start in starts] for _ in range(2))
    joint, single = Muon(together, 0.01), [Muon([tensor], 0.01) for tensor in alone]
    for _ in range(20):
        for a, b in zip(together, alone, strict=True):
            a.grad = b.grad = torch.randn(a.shape, generator=generator, dtype=dtype)
        joint.step()
        for optimizer in single:
            optimizer.step()
    for start, a, b in zip(starts, together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        assert (a - start).abs().max() > 0.05


def test_muon_goes_on_from_its_state():
    starts = [torch.ones(1, 4, 4), torch.ones(1, 4), torch.ones(1, 4, 4), torch.ones(1, 2, 4)]
    gradients = [torch.randn(20, *t.shape, generator=torch.Generator().manual_seed(k)) for k, t in enumerate(starts)]

    def moved(tensors, optimizer, steps):
        for step in steps:
            for tensor, gradient in zip(tensors, gradients, strict=True):
                tensor.grad = gradient[step]
            optimizer.step()

    whole = [t.clone() for t in starts]
    moved(whole, Muon(whole, 0.01), range(20))
    first = [t.clone() for t in starts]
    optimizer = Muon(first, 0.01)
    moved(first, optimizer, range(9))
    state = optimizer.state_dict()
    second = [t.clone() for t in first]
    resumed = Muon(second, 0.5)
    resumed.load_state_dict(state)
    moved(second, resumed, range(9, 20))
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))


@pytest.mark.parametrize("make", [Soap, Muon])
def test_vectors_move_as_adam_moves_them(make):
    start, target = torch.zeros(2, 5), torch.randn(2, 5, generator=torch.Generator().manual_seed(0))

    def loss(w):
        return (w - target).square().sum(-1)

    mine = _minimize(lambda v: make(v, 0.05), loss, start)
    adam = _minimize(lambda v: torch.optim.Adam(v, 0.05), loss, start)
    torch.testing.assert_close(mine, adam, rtol=1e-4, atol=1e-5)


def test_soap_without_preconditioners_is_adam(monkeypatch):
    monkeypatch.setattr("coinr.fitting.optimizers._LONGEST", 3)
    loss = _quadratic(torch.Generator().manual_seed(0))
    soap = _minimize(lambda v: Soap(v, 0.05), loss, torch.zeros(1, 6, 4))
    adam = _minimize(lambda v: torch.optim.Adam(v, 0.05), loss, torch.zeros(1, 6, 4))
    torch.testing.assert_close(soap, adam, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_complex_tensors_move_to_the_minimum(name):
    target = 0.2 * torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    found = _minimize(
        lambda v: OPTIMIZERS[name](v, 0.05),
        lambda w: (w - target).abs().square().sum((-2, -1)),
        torch.zeros_like(target),
    )
    assert (found - target).abs().max() < 0.02


def test_bases_stay_orthonormal_and_follow_the_gradients():
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    value = torch.zeros(1, 6, 4, requires_grad=True)
    soap = Soap([value], 1e-3, betas=(0.9, 0.99))
    for _ in range(300):
        value.grad = (axes * torch.logspace(0, -1, 6) @ torch.randn(6, 4, generator=generator))[None]
        soap.step()
    basis = soap.state[value]["left_basis"][0]
    torch.testing.assert_close(basis.T @ basis, torch.eye(6), rtol=0, atol=1e-5)
    turned = basis.T @ soap.state[value]["left_moment"][0] @ basis
    off = turned - torch.diag(turned.diagonal())
    assert off.norm() < 0.05 * turned.norm()


SHAPES = [(2, 20, 2), (2, 20), (2, 20, 20), (2, 20), (2, 20, 20), (2, 3, 20), (2, 3)]


def _parameters(shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


def _set_gradients(parameters, step):
    generator = torch.Generator().manual_seed(step)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def _moved(optimizer, parameters, steps):
    for step in steps:
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
        _set_gradients(parameters, step)
        optimizer.step()


def _by_torch(make, parameters):
    optimizer = make(parameters, 0.1)
    optimizer.native = False
    return optimizer


@pytest.mark.parametrize(("make", "dtype"), [(Adam, torch.float32), (Adam, torch.complex64), (Muon, torch.float32)])
def test_the_extension_moves_tensors_as_torch_does(make, dtype):
    mine, theirs = _parameters(SHAPES, dtype), _parameters(SHAPES, dtype)
    native, plain = make(mine, 0.1), _by_torch(make, theirs)
    assert native.native
    _moved(native, mine, range(5))
    _moved(plain, theirs, range(5))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    for a, b in zip(mine, theirs, strict=True):
        assert native.state[a].keys() == plain.state[b].keys()
        for key, value in native.state[a].items():
            torch.testing.assert_close(value, plain.state[b][key], rtol=1e-5, atol=1e-6)


def test_muon_moves_real_matrices_and_complex_vectors_together_by_the_extension():
    def both():
        return [*_parameters([(2, 9, 9)]), *_parameters([(2, 9)], torch.complex64)]

    mine, theirs = both(), both()
    native, plain = Muon(mine, 0.1), _by_torch(Muon, theirs)
    assert native.native
    _moved(native, mine, range(3))
    _moved(plain, theirs, range(3))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [Adam, Muon])
def test_torch_moves_what_the_extension_cannot(make):
    for parameters in (
        _parameters([(2, 5, 5), (2, 5)], torch.float64),
        [*_parameters([(2, 5, 5)]), *_parameters([(2, 5)], torch.float64)],
        [torch.zeros(2, 5, 4).mT.requires_grad_()],
    ):
        before = [p.detach().clone() for p in parameters]
        optimizer = make(parameters, 0.1)
        assert not optimizer.native
        _moved(optimizer, parameters, range(2))
        assert not any(torch.equal(a, b) for a, b in zip(before, parameters, strict=True))
    assert not Muon(_parameters([(2, 5, 5)], torch.complex64), 0.1).native
    assert Adam(_parameters([(2, 5, 5)], torch.complex64), 0.1).native


@pytest.mark.parametrize("make", [Adam, Muon])
@pytest.mark.parametrize("native_first", [False, True])
def test_states_are_those_of_torch(make, native_first):
    whole, parts = _parameters(SHAPES), _parameters(SHAPES)
    _moved(make(whole, 0.1), whole, range(6))
    plain = torch.optim.Adam(parts, 0.1) if make is Adam else _by_torch(Muon, parts)
    first, second = (make(parts, 0.1), plain) if native_first else (plain, make(parts, 0.1))
    _moved(first, parts, range(3))
    second.load_state_dict(first.state_dict())
    _moved(second, parts, range(3, 6))
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [Adam, Muon])
def test_a_state_that_is_loaded_again_counts(make):
    parameters = _parameters(SHAPES)
    optimizer = make(parameters, 0.1)
    _moved(optimizer, parameters, range(2))
    state = copy.deepcopy(optimizer.state_dict())
    weights = [p.detach().clone() for p in parameters]
    _moved(optimizer, parameters, range(2, 4))
    found = [p.detach().clone() for p in parameters]
    optimizer.load_state_dict(state)
    with torch.no_grad():
        for parameter, value in zip(parameters, weights, strict=True):
            parameter.copy_(value)
    _moved(optimizer, parameters, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(found, parameters, strict=True))


def test_gradients_of_any_layout_are_read_anew_in_every_step():
    mine, theirs = ([*_parameters([(2, 6, 6)]), *_parameters([(2, 6)], torch.complex64)] for _ in range(2))
    native, plain = Adam(mine, 0.1), Adam(theirs, 0.1)
    matrix, vector = torch.randn(2, 6, 6), torch.randn(2, 6, dtype=torch.complex64)
    for _ in range(3):
        mine[0].grad, mine[1].grad = matrix.mT, vector.conj()
        theirs[0].grad, theirs[1].grad = matrix.mT.contiguous(), vector.conj().resolve_conj()
        native.step()
        plain.step()
        matrix += 1
        vector *= 2j
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_a_state_of_another_size_is_refused():
    parameters = _parameters([(2, 6, 6), (2, 6)])
    optimizer = Muon(parameters, 0.1)
    _moved(optimizer, parameters, range(1))
    state = optimizer.state_dict()
    state["state"][0]["mean"] = torch.zeros(3, 6, 6)
    optimizer.load_state_dict(state)
    with pytest.raises(RuntimeError, match="split_sizes"):
        _moved(optimizer, parameters, range(1))


@pytest.mark.parametrize("shape", [(2, 6, 6), (2, 5, 9), (2, 9, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_the_orthogonal_factor_has_the_same_axes_and_singular_values_near_one(shape, dtype):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype) * 1e-6
    left, sizes, right = torch.linalg.svd(matrices, full_matrices=False)
    turned = left.mH @ orthogonal_factor(matrices) @ right.mH
    values = turned.diagonal(dim1=1, dim2=2).real
    sizes = sizes / torch.linalg.matrix_norm(matrices)[:, None]
    assert values[sizes >= 0.006].min() > 0.67
    assert values.max() < 1.21
    assert ((values > 100 * sizes) & (values < 142 * sizes))[sizes < 0.006].all()
    torch.testing.assert_close(turned, torch.diag_embed(values).to(dtype), rtol=0, atol=1e-4)
    assert torch.equal(orthogonal_factor(torch.zeros(shape, dtype=dtype)), torch.zeros(shape, dtype=dtype))


def test_muon_moves_tall_matrices_by_a_spectral_norm_of_twice_the_learning_rate():
    for shape in ((1, 64, 64), (1, 64, 2), (1, 128, 128)):
        value = torch.zeros(shape, requires_grad=True)
        value.grad = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        Muon([value], 0.5).step()
        assert torch.linalg.matrix_norm(value.detach(), 2).item() == pytest.approx(1.0, rel=0.25)
        assert (value.detach() * value.grad).sum() < 0


@pytest.mark.parametrize("shape", [(1, 3, 64), (1, 64, 1)])
def test_muon_leaves_wide_matrices_and_columns_to_adam(shape):
    value = torch.zeros(shape, requires_grad=True)
    value.grad = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    Muon([value], 0.5).step()
    torch.testing.assert_close(value.detach(), -0.5 * value.grad.sign(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "inputs", "name"), [("siren", 2, "muon"), ("siren", 3, "muon"), ("siren", 1, "adam"), ("finer", 2, "adam")]
)
def test_the_default_is_what_was_measured_to_be_best(kind, inputs, name):
    sizes = {"in_features": inputs, "out_features": 1, "width": 4, "hidden_layers": 1}
    assert default_optimizer(build_network(kind, sizes)) == name


@pytest.mark.parametrize(
    ("kind", "hidden_layers", "width", "optimizer", "steps", "rate"),
    [
        ("siren", 1, 32, "muon", 8000, 1e-3),
        ("siren", 3, 64, "muon", 8000, 1e-3),
        ("siren", 1, 128, "muon", 8000, 5e-4),
        ("siren", 1, 128, "muon", 2000, 6.25e-4),
        ("siren", 1, 128, "muon", 1000, 1e-3),
        ("siren", 4, 96, "muon", 8000, 5e-4),
        ("siren", 6, 64, "muon", 3000, 5e-4),
        ("siren", 3, 128, "adam", 8000, 1e-3),
        ("relu", 3, 128, "muon", 8000, 1e-3),
        ("finer", 3, 128, "muon", 8000, 1e-3),
    ],
)
def test_muon_is_slower_in_long_fits_of_large_sirens(kind, hidden_layers, width, optimizer, steps, rate):
    sizes = {"in_features": 2, "out_features": 1, "width": width, "hidden_layers": hidden_layers}
    network = build_network(kind, sizes)
    assert default_learning_rate(ImageSignal.recipe, network, optimizer, steps) == pytest.approx(rate, rel=1e-12)


def test_a_wide_fit_goes_at_the_default_rate():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    options = {"width": 128, "hidden_layers": 1, "steps": 2500, "target": 12.0, "device": "cpu"}
    weights = [
        coinr.fit(image, **options, **more).network.state_dict()
        for more in ({}, {"learning_rate": 5e-4}, {"learning_rate": 1e-3})
    ]
    name = "layers.1.weight"
    assert torch.equal(weights[0][name], weights[1][name])
    assert not torch.equal(weights[0][name], weights[2][name])


@pytest.mark.parametrize(("first_omega", "share"), [(30.0, 1.0), (45.0, 1.0), (90.0, 0.5), (3000.0, 0.015)])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_first_layer_of_fast_sines_moves_at_a_share_of_the_rate(name, first_omega, share):
    network = Siren(1, 1, 4, 2, first_omega=first_omega)
    names, tensors = zip(
        *((key, value.detach()[None].clone()) for key, value in network.named_parameters()), strict=True
    )
    optimizer = make_optimizer(name, network, names, tensors, 1e-3)
    set_learning_rate(optimizer, 2e-4)
    rates = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
    assert {key: rates[id(one)] for key, one in zip(names, tensors, strict=True)} == {
        key: pytest.approx(2e-4 * (share if key.startswith("layers.0.") else 1.0)) for key in names
    }
