"""How much time an encoding takes to save bytes: the settings of ``effort="fast"``, ``"default"`` and ``"best"``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What the quantizer and the choice of coders spend on a tensor.

    Attributes
    ----------
    states
        States of the trellis (log2) by the largest number of elements; beyond the last, ``fewest_states``.
    states_along_rows
        The same where errors in a row compensate for each other: each state holds their effect on the rest of the row.
    passes, close
        Passes after which the search for a step ends if one was within the allowed error, and the share of that error
        from which one ends the search at once.
    spare
        Standard deviations of the error that the first step leaves free, so that most often one pass suffices.
    element_costs
        Whether each element's bits are those of its row's and column's mean magnitude, not those of all elements'.
    mixed_most, adaptive_most
        Elements up to which predictions are mixed, and up to which binary decisions are coded. Beyond both, integers
        are coded by rANS: decoding is five to ten times as fast.
    decodes
        Whether the table is read again, and the direct coder measures errors by decoding each payload. Else they are
        the quantizer's, which are the same where the dtype does not round further.
    sample
        Elements on which forms of the entropy coder are tried; 0 chooses the form by the sizes of rows and columns.
    all_shapes
        Whether neighboring shapes of the prior, and unmixed contexts, are tried too.
    all_steps
        Whether equal steps and steps by row and column are both tried where either may take fewer bytes.
    all_coders
        Whether every coder is tried. Else a coder is tried where a quick bound says that it may take fewest bytes.
    dictionaries
        Whether dictionaries are tried at all.
    """

    states: tuple[tuple[int, int], ...]
    states_along_rows: tuple[tuple[int, int], ...]
    fewest_states: int = 3
    passes: int
    close: float
    spare: float
    element_costs: bool
    mixed_most: int
    adaptive_most: int
    decodes: bool
    sample: int
    all_shapes: bool
    all_steps: bool
    all_coders: bool
    dictionaries: bool


#: 64 states along rows take 0.2 % more bytes than 256. With rANS, large tensors take under 0.3 % more bytes.
BEST = Effort(
    states=((24, 0), (1 << 17, 8), (1 << 19, 6), (1 << 21, 4)),
    states_along_rows=((24, 0), (1 << 13, 8), (1 << 17, 6), (1 << 20, 4)),
    passes=8,
    close=0.985,
    spare=0.0,
    element_costs=True,
    mixed_most=1 << 18,
    adaptive_most=1 << 18,
    decodes=True,
    sample=1 << 15,
    all_shapes=True,
    all_steps=True,
    all_coders=True,
    dictionaries=True,
)

_DEFAULT = Effort(
    states=((24, 0), (1 << 17, 8), (1 << 21, 4)),
    states_along_rows=((24, 0), (1 << 13, 6), (1 << 17, 4)),
    passes=5,
    close=0.982,
    spare=0.0,
    element_costs=False,
    mixed_most=1 << 13,
    adaptive_most=1 << 15,
    decodes=True,
    sample=1 << 13,
    all_shapes=True,
    all_steps=True,
    all_coders=False,
    dictionaries=True,
)

_FAST = Effort(
    states=((24, 0), (1 << 15, 5)),
    states_along_rows=((24, 0),),
    passes=2,
    close=0.95,
    spare=2.0,
    element_costs=False,
    mixed_most=0,
    adaptive_most=1 << 13,
    decodes=False,
    sample=0,
    all_shapes=False,
    all_steps=False,
    all_coders=False,
    dictionaries=False,
)

#: The efforts by name.
EFFORTS = {"fast": _FAST, "default": _DEFAULT, "best": BEST}
