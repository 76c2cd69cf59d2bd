"""How much error each tensor may have, from the weights alone.

Equal noise does about equal harm whatever a tensor's own size, so all tensors follow one absolute error and not one
relative error. Measured on trained networks (``bench/results/rate/sensitivity.csv``), three things refine it: first
layers, whose inputs are coordinates, and biases do more harm for each parameter, and they are small; and harm falls
with depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from coinr.codec.allocate.rows import row_harms
from coinr.codec.candidates import Allowance, rms
from coinr.codec.elements import FEWEST, by_element, layer_of
from coinr.codec.state_dict import Source
from coinr.sensitivity.calibration import Known

# Keeps every network of the rate harness's corpus within 0.1 dB: bench/results/rate/default.csv.
TOLERANCE = 0.15

# A matrix whose rows are this many times shorter than its columns is a first layer.
EDGE_RATIO = 4

# Tolerances above this allow no more: at 1 a tensor may vanish, and files get no smaller far below.
_COARSEST = 1e4

# The error of rows that matter, relative to a typical weight, as a share of the tolerance.
SHARE = 1 / 12

# Shares of the common noise for tensors that do more harm for each parameter than hidden matrices.
VECTOR = 1 / 4
EDGE = 1 / 6
EDGE_VECTOR = 1 / 12

LAST = 1 / 2

# A signal of one coordinate (sound) is fitted with first-layer frequencies a hundred times those of pictures.
LINE = 1 / 20
LINE_NETWORK = 1 / 12

# Where each element keeps its relative error, that error as a share of the tolerance. It takes about 15 bits an element
# of vectors, which hold few, and is a twentieth of what the weights of the same channel may be off.
ELEMENT = 1 / 256

# Magnitudes below this share of the root mean square say nothing of what a network bears.
_TINY = 1 / 256

# Growth of the noise from one hidden matrix to the next, and at most, in networks that are fed raw coordinates.
DEEPER = 1.4
DEEPEST = 4.0

# Matrices that hold less than this share of all parameters do not set the common noise.
_BULK_SHARE = 0.02

# Smaller matrices may have two values by chance.
_FEWEST_OF_MASK = 16

# A matrix far smaller than the rest (say, one that starts at zero) does not make the rest finer.
_SMALLEST_OF_MEAN = 1 / 4


def allowed_errors(
    sources: list[Source],
    tolerance: float,
    known: Known | None = None,
    wanted: Mapping[str, float] | None = None,
) -> list[Allowance]:
    """How far each tensor may be off: as :func:`rule_errors` says, and no relative error above ``tolerance``.

    Errors that are ``wanted``, by name, take the place of the rule's. Rows weigh by the harm they do. Where elements
    keep their relative errors (:mod:`coinr.codec.elements`), these are a share of the tolerance and follow the error
    that is wanted; that of the whole tensor then counts for small vectors only.
    """
    known, wanted, tolerance = known or Known(), wanted or {}, min(tolerance, _COARSEST)
    harms, elements = row_harms(sources), by_element(sources)
    allowed = []
    for row, (source, rule) in enumerate(zip(sources, rule_errors(sources, known), strict=True)):
        limit = tolerance * rms(source.planes)
        told = known.tensors.get(source.name)
        error = wanted.get(source.name, tolerance * rule)
        if row in elements:
            allowed.append(_by_element(source, limit, error, rule, tolerance))
            continue
        harm = harms.get(row) if told is None or told.harm is None else told.harm
        allowed.append(Allowance(min(limit, error), limit, harm, None if told is None else told.inputs))
    return allowed


def _by_element(source: Source, limit: float, error: float, rule: float, tolerance: float) -> Allowance:
    """The allowance where elements keep their relative errors; ``rule`` is the tensor's error at a tolerance of 1."""
    relative = min(ELEMENT * (error / rule if rule else tolerance), tolerance)
    if source.planes.size >= FEWEST:
        error = max(error, relative * rms(source.planes))
    return Allowance(min(limit, error), limit, relative=relative)


def rule_errors(sources: list[Source], known: Known) -> list[float]:
    """The error of each tensor at a tolerance of 1, in which rows weigh by the harm they do.

    That of the first hidden matrix is a share of the typical magnitude in the smallest hidden matrix; the others
    follow from it. Where sensitivities are known, they take the place of these rules: errors do equal harm for each
    parameter, and are in sum of logarithms what the rules say.
    """
    sizes = [rms(source.planes) for source in sources]
    bulk = _bulk(sources, sizes)
    others = [size for source, size in zip(sources, sizes, strict=True) if not _is_mask(source)]
    common = SHARE * _reference([(sources[row].planes.size, _typical(sources[row])) for row in bulk], others or sizes)
    edges = {layer_of(source): _edge(source) for source in sources if _edge(source) < 1}
    if LINE in edges.values():
        common *= LINE_NETWORK
    errors, depth = [], -1
    deeper = DEEPER if edges else 1.0
    for row, source in enumerate(sources):
        depth += row in bulk
        errors.append(common * _share(source, edges) * min(deeper ** max(depth, 0), DEEPEST))
    return _equal_harm(sources, errors, known.means())


def _equal_harm(sources: list[Source], errors: list[float], means: Mapping[str, float]) -> list[float]:
    """The errors, with those of tensors of known mean harm inverse to its root and of the same geometric mean."""
    told = {row: means[source.name] for row, source in enumerate(sources) if source.name in means and errors[row] > 0}
    if not told:
        return errors
    counts = np.array([sources[row].planes.size for row in told])
    logs = np.array([math.log(errors[row]) + math.log(mean) / 2 for row, mean in told.items()])
    level = float(np.average(logs, weights=counts))
    return [math.exp(level - math.log(told[row]) / 2) if row in told else error for row, error in enumerate(errors)]


def _typical(source: Source) -> float:
    """Geometric mean of the magnitudes that are not zero or tiny: large weights do not make a network robust."""
    magnitudes = np.abs(source.planes)
    floor = rms(source.planes) * _TINY
    return float(np.exp(np.log(magnitudes[magnitudes > floor]).mean()))


def _bulk(sources: list[Source], sizes: list[float]) -> set[int]:
    """Rows of the hidden matrices that hold a fair share of the parameters; masks have no part in it."""
    weights = {row for row, source in enumerate(sources) if not _is_mask(source)}
    total = sum(sources[row].planes.size for row in weights)
    return {
        row
        for row, source in enumerate(sources)
        if sizes[row]
        and len(source.layout.shape) > 1
        and _edge(source) == 1
        and row in weights
        and source.planes.size >= _BULK_SHARE * total
    }


def _is_mask(source: Source) -> bool:
    """Whether a matrix of some size has but two values: they say nothing of what weights bear."""
    if len(source.layout.shape) < 2 or source.planes.size < _FEWEST_OF_MASK:
        return False
    low, high = source.planes.min(), source.planes.max()
    return bool(((source.planes == low) | (source.planes == high)).all())


def _reference(bulk: list[tuple[int, float]], sizes: list[float]) -> float:
    """The smallest of the hidden matrices (count, magnitude); where there are none, the largest of these sizes."""
    if not bulk:
        return max(sizes, default=0.0)
    counts, values = np.array(bulk).T
    mean = float(np.exp(np.average(np.log(values), weights=counts)))
    return max(float(values.min()), _SMALLEST_OF_MEAN * mean)


def _edge(source: Source) -> float:
    """The share of a first layer, a matrix much taller than wide; 1 for other tensors."""
    shape = source.layout.shape
    if len(shape) < 2:
        return 1.0
    columns = source.layout.size // shape[0]
    if columns * EDGE_RATIO >= shape[0]:
        return 1.0
    return LINE if columns == 1 else EDGE


def _share(source: Source, edges: dict[str, float]) -> float:
    shape = source.layout.shape
    if len(shape) > 1:
        return LAST if shape[0] * EDGE_RATIO < source.layout.size // shape[0] else _edge(source)
    return edges[layer_of(source)] / EDGE * EDGE_VECTOR if layer_of(source) in edges else VECTOR
