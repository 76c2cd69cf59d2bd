"""The bench of refinement: what starts from a network, and pictures whose score is not reached."""

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from bench.harness import corpus
from bench.harness.fitted import Fitted
from bench.harness.measure import Bench
from bench.harness.signals import Samples
from bench.paper import codecs
from bench.rate import refine
from coinr.errors import InputError
from coinr.signals.image.signal import ImageSignal


def fitted(tmp_path):
    signal = ImageSignal(np.ascontiguousarray(astronaut()[:32, 96:144]))
    return Fitted.of("face", signal, (1, 8), 20, tmp_path)


def test_losses_see_the_same_samples_and_training_lowers_them(tmp_path):
    base = fitted(tmp_path)
    one, other = (refine.loss_of(base.network(), base.signal.batch, base.signal.count) for _ in range(2))
    losses = [float(one(base.state_dict)) for _ in range(3)]
    assert losses == [float(other(base.state_dict)) for _ in range(3)]
    assert losses[0] != losses[1]
    further = refine.train_further(base.state_dict, one, "muon", 30, 1e-3)
    assert base.evaluate(further) > base.evaluate(base.state_dict)


@pytest.mark.slow
def test_the_best_way_counts_and_weights_of_another_base_are_not_recalled(tmp_path, monkeypatch):
    monkeypatch.setattr(refine, "CACHE", tmp_path)
    monkeypatch.setattr(refine, "WAYS", (("adam", 1e-9), ("muon", 1e-3)))
    base = fitted(tmp_path)
    full, *way = refine.fp32(base, 20)
    assert way == ["muon", 1e-3]
    assert full.evaluate(full.state_dict) > base.evaluate(base.state_dict)
    made = len(list(tmp_path.glob("*.safetensors")))
    refine.fp32(full, 20)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2 * made == 4


@pytest.mark.slow
def test_the_papers_bench_refines(tmp_path):
    recipe = corpus.Recipe("siren", (1, 8), "photo", "face", 1, 64, 1e-3)
    inputs = torch.rand(300, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    samples = Samples(inputs, inputs[:, :1].expand(-1, 3), inputs, inputs[:, :1].expand(-1, 3))
    state = OrderedDict((name, t.detach()) for name, t in corpus.untrained(recipe).state_dict().items())
    entry = corpus.Entry(recipe, state, {"inputs": inputs, "targets": samples.eval_targets.contiguous()}, {})
    point = SimpleNamespace(bench=Bench(entry, tmp_path), samples=samples)
    rows = list(codecs.refined_rows(point, SimpleNamespace(budget=SimpleNamespace(refine_steps=60))))
    assert [row.coder for row in rows] == ["auto, refined", "fp32, trained as long"]
    assert rows[1].quality > point.bench.original


def test_a_score_out_of_reach_leaves_no_file_and_says_so(tmp_path, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise InputError("min_score 29.9 is out of reach")

    monkeypatch.setattr(refine, "refine", fail)
    case = object.__new__(refine.Case)
    case.base = fitted(tmp_path)
    case.full, case.steps, case.optimizer, case.rate = case.base, 10, "muon", 1e-4
    case.bench = Bench(case.full, tmp_path)
    assert case.encode_refined("direct") == []
    assert "siren-1x8-face-20, direct: min_score 29.9 is out of reach" in capsys.readouterr().err


def test_pictures_whose_score_was_not_reached_are_counted(tmp_path):
    ratio = "direct, refined / nncodec"
    refine.write(tmp_path, [], [{"image": "a", ratio: 0.5}, {"image": "b", ratio: None}], {}, 10, 0.0)
    assert "mean 0.500 of the 1 of 2 pictures" in (tmp_path / "refine.md").read_text()
