"""Plots are drawn from the tables that are stored, and those that documents show are small."""

import numpy as np
import pytest
from PIL import Image

from bench import draw
from tests.documents import ROOT

pytestmark = pytest.mark.skipif(not (ROOT / draw.RESULTS).exists(), reason="a source distribution carries no results")


@pytest.fixture
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_every_plot_that_documents_show_can_be_drawn(here):
    assert set(draw.DOCUMENTS) <= set(draw.drawings())
    assert all((ROOT / "docs/images" / f"{name.rpartition('/')[2]}.png").exists() for name in draw.DOCUMENTS)


def test_a_plot_is_drawn_and_made_small(here, tmp_path):
    draw.main(["paper/ablation_entropy", "--out", str(tmp_path)])
    path = tmp_path / "paper" / "ablation_entropy.png"
    large = path.stat().st_size
    draw.shrink(path, 500)
    assert path.stat().st_size < large
    with Image.open(path) as image:
        assert image.width == 500
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 10


def test_unknown_plots_are_refused(here, capsys):
    with pytest.raises(SystemExit):
        draw.main(["nothing"])
    assert "unknown plots: nothing" in capsys.readouterr().err
