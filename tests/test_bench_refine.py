"""The bench of refinement where a picture's score is not reached."""

from types import SimpleNamespace

from bench import refine
from coinr.errors import InputError


def test_a_score_out_of_reach_leaves_no_file_and_says_so(monkeypatch, capsys):
    def fail(*arguments, **options):
        raise InputError("min_score 29.9 is out of reach")

    monkeypatch.setattr(refine, "refine", fail)
    monkeypatch.setattr(refine, "loss_of", lambda *arguments: None)
    case = object.__new__(refine.Case)
    case.full, case.steps = SimpleNamespace(name="net"), 10
    case.optimiser, case.rate = "muon", 1e-4
    case.base = SimpleNamespace(state_dict={}, evaluate=None)
    case.bench = SimpleNamespace(original=30.0, measure=lambda coder, setting, version, encode, decode: encode())
    assert case.refined("direct") == []
    assert "net, direct: min_score 29.9 is out of reach" in capsys.readouterr().err


def test_pictures_whose_score_was_not_reached_are_counted(tmp_path):
    ratio = "direct, refined / nncodec"
    refine.write(tmp_path, [], [{"image": "a", ratio: 0.5}, {"image": "b", ratio: None}], {}, 10, 0.0)
    assert "mean 0.500 of the 1 of 2 pictures" in (tmp_path / "refine.md").read_text()
