"""What the ``paper`` profile could not do in a file, as the file's header tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coinr.codec.coders import DictionaryParams, UniformParams
from coinr.codec.format.tensor_table import TensorRecord
from coinr.codec.profiles.paper_rules import LATEST, RULES, choose_cut, largest_sparsity, relative_target, sparsity


def paper_notes(records: Sequence[TensorRecord]) -> Iterator[str]:
    """Yield a line for each tensor whose default rule asks for more nonzeros than 2s < n allows.

    Only the profile ``paper`` writes the coder ``dictionary``, so files without it have no such lines.
    """
    atoms = max((one.params.M for one in records if isinstance(one.params, DictionaryParams)), default=0)
    for record in records if atoms else ():
        choice = choose_cut(record.layout)
        if choice is None or not isinstance(record.params, DictionaryParams | UniformParams):
            continue
        n = choice.cut.n
        most = min(largest_sparsity(n), atoms)
        asked = sparsity(RULES[LATEST], n, atoms, relative_target(RULES[LATEST], choice))
        if asked <= most:
            continue
        if isinstance(record.params, UniformParams):
            done = f"its values are stored with {record.params.bits} bits each"
        elif record.params.cut == choice.cut and record.params.s == most:
            done = f"it has {most}, and a larger error than the rule's"
        else:
            continue
        yield f"{record.name}: the rule asks for {asked} nonzeros, and 2s < {n} allows {most}: {done}"
