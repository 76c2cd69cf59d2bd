"""The trellis of the direct coder: the chosen integers are those of a plain search, with every instruction set."""

import itertools
import math

import numpy as np
import pytest

from coinr.engine import _C
from tests.codec.levels_reference import POLYNOMIALS
from tests.engine.instruction_sets import run_with

NONE = np.zeros(0, np.uint8)


def rate(bits, k):
    if k < len(bits):
        return bits[k]
    return bits[-1] + 2 * math.log2((k + 1) / len(bits))


def best_option(x, weight, bits, quantizer, parity):
    """The cheapest of the nearest integer of a parity, two below it, and zero: (cost, integer)."""
    magnitude = min(abs(x), 2 * (2**20 - 1) - 2)
    position = (magnitude + quantizer) / 2
    nearest = 2 * int((position - parity) / 2 + 1.5) - 2 + parity
    found = (math.inf, 0)
    for k in (nearest, nearest - 2, 0):
        if k >= 0 and k % 2 == parity:
            off = magnitude - (2 * k - (quantizer if k > 0 else 0))
            found = min(found, (weight * off * off + rate(bits, k), k), key=lambda option: option[0])
    cost, k = found
    return cost, -k if x < 0 else k


def plain_choice(log_states, x, weight, bits, table):
    """The Viterbi algorithm, written out: ties go to the lower state."""
    feedback, entry = (polynomial >> 1 for polynomial in POLYNOMIALS[log_states])
    survivors = {0: (0.0, ())}
    for i, target in enumerate(x.tolist()):
        options = [
            best_option(target, weight[i], bits[table[i]][quantizer], quantizer, parity)
            for quantizer, parity in itertools.product((0, 1), repeat=2)
        ]
        extended = {}
        for state, (cost, path) in sorted(survivors.items()):
            for parity in (0, 1):
                more, k = options[2 * (state & 1) + parity]
                to = state >> 1 ^ (state & 1) * feedback ^ parity * entry
                if to not in extended or cost + more < extended[to][0]:
                    extended[to] = (cost + more, (path, k))
        lowest = min(cost for cost, _ in extended.values())
        survivors = {state: (cost - lowest, path) for state, (cost, path) in extended.items()}
    path = min(sorted(survivors.items()), key=lambda item: item[1][0])[1][1]
    chosen = []
    while path:
        path, k = path
        chosen.append(k)
    return chosen[::-1]


def problems(log_states):
    """Targets, weights, bits and tables: many ties, odd counts, integers beyond the table."""
    rng = np.random.default_rng(log_states)
    # small sums of integers: most survivors tie
    yield np.rint(2 * rng.standard_normal(99)), np.ones(99), rng.integers(0, 2, (1, 2, 6)) * 1.0, np.zeros(99, np.uint8)
    for count, entries, spread in ((0, 4, 1.0), (1, 1, 3.0), (2, 40, 6.0), (63, 60, 8.0), (64, 9, 40.0), (33, 3, 1e6)):
        x = np.rint(2 * spread * rng.standard_normal(count)) / 2
        table = rng.integers(0, 3, count).astype(np.uint8)
        yield x, np.exp2(rng.integers(-4, 3, count)), rng.integers(0, 6, (3, 2, entries)).astype(np.float64), table
        # pieces of a power of two keep sums exact, so that the plain search prunes nothing else
        priors = [[_C.level_costs(log_states, shape, 30, entries)] for shape in (1, 4, 5)]
        bits = np.rint(1024 * np.concatenate(priors)) / 1024
        yield x + 0.125, np.full(count, 0.25), bits.reshape(3, 2, entries), table


@pytest.mark.parametrize("log_states", POLYNOMIALS)
def test_the_trellis_chooses_as_a_plain_search(log_states):
    for x, weight, bits, table in problems(log_states):
        chosen = _C.choose_levels(log_states, x, weight, bits, table)
        assert chosen.tolist() == plain_choice(log_states, x, weight.tolist(), bits.tolist(), table.tolist())


def test_one_weight_and_no_table_stand_for_equal_ones():
    for x, _, bits, table in problems(5):
        one = _C.choose_levels(5, x, np.array([0.5]), bits, NONE)
        each = _C.choose_levels(5, x, np.full(len(x), 0.5), bits, np.zeros_like(table))
        assert one.tolist() == each.tolist()


@pytest.mark.parametrize("spread", [0.4, 3.0, 1e7])
def test_a_scalar_quantizer_chooses_the_cheapest_of_three(spread):
    x = np.rint(8 * spread * np.random.default_rng(0).standard_normal(200)) / 8
    x[:2] = 0.49999999999999994, 0.5
    bits = np.random.default_rng(1).integers(0, 5, (1, 2, 6)).astype(np.float64)
    expected = []
    for target in x.tolist():
        size = min(abs(target), 2**20 - 3)
        nearest = math.floor(size) + (size - math.floor(size) >= 0.5)
        options = [k for k in (nearest, nearest - 1, 0) if k >= 0]
        k = min(options, key=lambda k, size=size: (size - k) ** 2 + rate(bits[0, 0].tolist(), k))
        expected.append(-k if target < 0 else k)
    assert _C.choose_levels(0, x, np.ones(1), bits, NONE).tolist() == expected


SCRIPT = """
import hashlib
import numpy as np
from coinr.engine import _C
from tests.engine.test_native_trellis import problems

digest = hashlib.sha256()
for log_states in range(2, 9):
    for problem in problems(log_states):
        digest.update(_C.choose_levels(log_states, *problem).tobytes())
    x = np.random.default_rng(log_states).standard_normal(3001) * 7
    bits = _C.level_costs(log_states, 4, 100, 40)[None]
    digest.update(_C.choose_levels(log_states, x, np.array([0.3]), bits, np.zeros(0, np.uint8)).tobytes())
print(_C.simd_level(), digest.hexdigest())
"""


def test_instruction_sets_choose_the_same_integers():
    found = {}
    for level in ("portable", "avx2", "avx512"):
        name, digest = run_with(level, SCRIPT).split()
        found[name] = digest
    assert "portable" in found
    assert len(set(found.values())) == 1, found
