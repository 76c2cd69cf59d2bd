"""Gradients of MAML, against finite differences in double precision and against the definition."""

import copy

import numpy as np
import pytest
import torch

import coinr
from coinr.meta.maml import adapt, meta_gradients
from coinr.meta.tasks import Task, choose
from tests.small_signals import disc_scene, nerf

STEPS = 2

#: Of FINER, no gradient flows through a factor, so that finite differences are others.
NETWORKS = {
    "siren": lambda g: coinr.Siren(2, 3, 4, 1, generator=g),
    "gauss": lambda g: coinr.Gauss(2, 3, 4, 1, scale=2.0, generator=g),
    "wire": lambda g: coinr.Wire(2, 3, 4, 1, omega=4.0, scale=2.0, generator=g),
    "relu": lambda g: coinr.Relu(2, 3, 4, 1, frequencies=2, generator=g),
}


def make(kind, double=True):
    """A task, weights, rates that differ from element to element, and a batch for each step and the end."""
    generator = torch.Generator().manual_seed(1)
    network = NETWORKS[kind](generator)
    signal = coinr.ImageSignal(np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8))
    if double:
        network.double()
        for parameter in network.parameters():
            parameter.data = parameter.data.to(torch.complex128 if parameter.is_complex() else torch.float64)
    task = Task(network, signal, 11, 0)
    weights = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters() if p.requires_grad}
    real = torch.float64 if double else torch.float32
    rates = {
        name: (0.02 + 0.05 * torch.rand(STEPS, *w.shape, generator=generator)).to(real).requires_grad_()
        for name, w in weights.items()
    }
    batches = [tuple(t.to(real) for t in task.draw()) for _ in range(STEPS + 1)]
    return task, weights, rates, batches


def directions(tensors):
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in tensors]


def along(gradients, moves):
    return sum(float((g.conj() * move).real.sum()) for g, move in zip(gradients, moves, strict=True))


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("learned", ["weights", "rates"])
def test_second_order_gradients_are_those_of_finite_differences(kind, learned):
    task, weights, rates, batches = make(kind)
    _, gradients = meta_gradients(task, weights, rates, batches, first_order=False)
    named = dict(zip((*weights, *("r" + n for n in rates)), gradients, strict=True))
    tensors = weights if learned == "weights" else rates
    found = [named[name if learned == "weights" else "r" + name] for name in tensors]
    moves = directions(tensors.values())

    def error(share):
        moved = {
            name: (t + share * move).detach().requires_grad_()
            for (name, t), move in zip(tensors.items(), moves, strict=True)
        }
        arguments = (moved, rates) if learned == "weights" else (weights, moved)
        return float(meta_gradients(task, *arguments, batches, first_order=True)[0])

    h = 1e-6
    numeric = (error(h) - error(-h)) / (2 * h)
    assert abs(numeric) > 1e-4
    assert along(found, moves) == pytest.approx(numeric, rel=1e-6)


def test_each_element_of_a_siren_has_the_gradient_of_finite_differences():
    task, weights, rates, batches = make("siren")
    _, gradients = meta_gradients(task, weights, rates, batches, first_order=False)
    for tensor, gradient in list(zip((*weights.values(), *rates.values()), gradients, strict=True))[3::4]:
        flat = tensor.detach().view(-1)
        for k in range(0, flat.numel(), 5):
            errors = []
            for h in (1e-5, -2e-5):
                flat[k] += h
                errors.append(float(meta_gradients(task, weights, rates, batches, first_order=True)[0]))
            flat[k] += 1e-5
            assert float(gradient.view(-1)[k]) == pytest.approx((errors[0] - errors[1]) / 2e-5, rel=1e-4, abs=1e-8)


def test_first_order_is_the_definition():
    task, weights, rates, batches = make("siren")
    error, gradients = meta_gradients(task, weights, rates, batches, first_order=True)
    now, steps = {name: w.detach().requires_grad_() for name, w in weights.items()}, []
    for step, batch in enumerate(batches[:-1]):
        steps.append(torch.autograd.grad(task.error(now, batch), tuple(now.values())))
        now = {
            name: (w - rates[name][step] * g).detach().requires_grad_()
            for (name, w), g in zip(now.items(), steps[-1], strict=True)
        }
    last = task.error(now, batches[-1])
    expected = torch.autograd.grad(last, tuple(now.values()))
    torch.testing.assert_close(error, last.detach())
    torch.testing.assert_close(gradients[: len(weights)], expected)
    for k, gradient in enumerate(gradients[len(weights) :]):
        torch.testing.assert_close(gradient, torch.stack([-g[k] * expected[k] for g in steps]))
    exact = meta_gradients(task, weights, rates, batches, first_order=False)[1]
    assert not torch.allclose(exact[0], gradients[0], rtol=0.01)


@pytest.mark.parametrize("first_order", [True, False])
def test_single_precision_agrees_with_double(first_order):
    """It is the extension that computes single precision."""
    found, expected = (meta_gradients(*make("siren", double), first_order=first_order) for double in (False, True))
    for mine, theirs in zip((found[0], *found[1]), (expected[0], *expected[1]), strict=True):
        torch.testing.assert_close(mine, theirs.float(), rtol=2e-3, atol=2e-4 * float(theirs.abs().max()))


def test_a_scene_has_second_order_gradients():
    scene, network = disc_scene(6, (4, 4)), nerf()
    task = Task(network, scene, 12, 0)
    weights = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    rates = {name: torch.full((1, *w.shape), 0.05, requires_grad=True) for name, w in weights.items()}
    batches = [task.draw(), task.draw()]
    error, gradients = meta_gradients(task, weights, rates, batches, first_order=False)
    moves = [0.01 * g / g.norm().clamp(min=1e-12) for g in gradients[: len(weights)]]
    moved = {n: (w - m).detach().requires_grad_() for (n, w), m in zip(weights.items(), moves, strict=True)}
    after, _ = meta_gradients(task, moved, rates, batches, first_order=True)
    assert 0.5 < float(error - after) / along(gradients[: len(weights)], moves) < 1.5


def test_adapted_weights_leave_the_first_ones_as_they_are():
    task, weights, rates, batches = make("siren")
    before = copy.deepcopy({name: w.detach() for name, w in weights.items()})
    adapted = adapt(task, weights, rates, batches[:1], first_order=True)
    assert all(torch.equal(before[name], w) for name, w in weights.items())
    assert not any(torch.equal(adapted[name], w) for name, w in weights.items())
    assert all(torch.equal(p, weights[name]) for name, p in task.network.named_parameters())


def test_all_signals_are_chosen_before_one_is_chosen_again():
    chosen = choose(5, 3, 0)
    steps = [next(chosen) for _ in range(50)]
    assert all(len(set(step)) == 3 for step in steps)  # tasks of one step run at once
    rows = [k for step in steps for k in step]
    assert [sorted(rows[i : i + 5]) for i in range(0, 150, 5)] == [list(range(5))] * 30
    assert len({tuple(rows[i : i + 5]) for i in range(0, 150, 5)}) > 10
