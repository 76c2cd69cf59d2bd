"""Names of outputs of many sources."""

from pathlib import Path

import pytest

from coinr.many.names import output_names


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["a/x.png", "b/y.wav"], ["x.c", "y.c"]),
        (["runs/1/model.pt", "runs/2/model.pt"], ["1/model.c", "2/model.c"]),
        (["runs/1/last/model.pt", "runs/2/model.pt", "runs/z.pt"], ["1/last/model.c", "2/model.c", "z.c"]),
        (["a.png", "a.jpg", "b.png"], ["a.png.c", "a.jpg.c", "b.c"]),
        (["/x/a.png", "a.png"], None),
        (["only/a.png"], ["a.c"]),
    ],
)
def test_names_differ_and_say_where_they_come_from(sources, names):
    found = output_names([Path(source) for source in sources], ".c")
    assert len(set(found)) == len(sources)
    assert names is None or found == names
