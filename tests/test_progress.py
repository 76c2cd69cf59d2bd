"""How far long work is: a bar on a terminal, lines of a log elsewhere."""

import io
import sys
import threading

import numpy as np
import pytest
import torch

import coinr
from coinr import progress
from coinr.progress import Display, report, show_progress, steps
from tests.clocks import Clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(progress, "SILENT", 2.0)
    return Clock()


@pytest.fixture
def still(monkeypatch):
    """What is shown has a clock that stands still, however long the work really takes."""

    class Still(Display):
        def __init__(self, title, *, always, terminal):
            super().__init__(title, always=always, terminal=terminal, clock=Clock())

    monkeypatch.setattr(progress, "Display", Still)


def ticking():
    """How many displays look at their work."""
    return sum(thread.name == "coinr progress" for thread in threading.enumerate())


def ticked(display, clock, seconds):
    """Let time pass in steps of a fifth of a second."""
    for _ in range(round(5 * seconds)):
        clock.now += 0.2
        display.tick()


def test_lines_come_after_two_seconds_and_then_less_and_less_often(clock, capsys):
    display, at = Display("work", always=False, terminal=False, clock=clock), []
    for second in range(4000):
        clock.now = float(second)
        display.tick()
        out, err = capsys.readouterr()
        assert out == ""
        at += [second] * err.count("\n")
    assert at[:6] == [2, 4, 8, 16, 32, 64]
    gaps = [later - earlier for earlier, later in zip(at, at[1:], strict=False)]
    assert gaps == sorted(gaps)
    assert max(gaps) == 600


def test_a_line_says_steps_time_and_what_is_known(clock, capsys):
    display = Display("fit", always=False, terminal=False, clock=clock)
    display.update(0, 100, None)
    clock.now = 2.0
    display.update(25, None, lambda: "score 3")
    display.tick()
    assert capsys.readouterr().err == "fit: 25/100, score 3, 2 s elapsed, 6 s left\n"
    with display.within("code"):
        display.update(None, None, "900 bytes")
        clock.now = 4.0
        display.tick()
    assert capsys.readouterr().err == "code: 900 bytes, 4 s elapsed\n"
    display.close(failed=False)
    assert capsys.readouterr().err == "fit: 25/100, score 3, 4 s elapsed, 12 s left\n"


def test_no_more_time_is_left_than_until_work_ends(clock, capsys):
    display = Display("fit", always=False, terminal=False, clock=clock)
    display.update(0, 100, None, seconds=5.0)
    clock.now = 2.0
    display.update(10, None, None)
    display.tick()
    assert capsys.readouterr().err == "fit: 10/100, 2 s elapsed, 3 s left\n"
    clock.now = 6.0
    display.tick()
    assert capsys.readouterr().err == "fit: 10/100, 6 s elapsed, 0 s left\n"
    clock.now = 8.0
    display.update(99, None, None)
    display.update(None, 100, None, seconds=100.0)
    display.close(failed=False)
    assert capsys.readouterr().err == "fit: 99/100, 8 s elapsed, 0 s left\n"


@pytest.mark.parametrize("work", ["fit", "refine"])
def test_fits_and_refinements_tell_when_they_end(work, monkeypatch):
    ends = []
    monkeypatch.setattr(Display, "update", lambda self, *_: ends.append(_[3]))
    if work == "fit":
        coinr.fit(np.zeros((4, 4), np.uint8), width=4, hidden_layers=1, steps=2, time_budget=60.0, progress=True)
    else:
        sd = {"w": torch.ones(4, 4)}
        coinr.refine(sd, lambda sd: sd["w"].square().sum(), steps=2, loss_increase=0.1, seconds=60.0, progress=True)
    assert [end for end in ends if end is not None] == [60.0]


def test_nothing_is_said_of_short_work_nor_of_what_failed(clock, capsys):
    display = Display("fit", always=False, terminal=False, clock=clock)
    ticked(display, clock, 1.8)
    display.close(failed=False)
    always = Display("fit", always=True, terminal=False, clock=clock)
    always.close(failed=True)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar_from_two_seconds_on(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    display = Display("shapes", always=False, terminal=True, clock=clock)
    display.update(3, 10, "score 5")
    ticked(display, clock, 1.8)
    assert sys.stderr.getvalue() == ""
    ticked(display, clock, 0.4)
    display.close(failed=False)
    shown_there = sys.stderr.getvalue()
    assert all(part in shown_there for part in ("shapes", "3/10", "score 5"))
    assert shown_there.count("\x1b[?25l") == shown_there.count("\x1b[?25h")  # the cursor is there again


def test_work_within_work_shares_its_log(still, capsys):
    with show_progress("outer", True):
        report(1, total=2, text="first")
        with show_progress("inner"), show_progress("innermost", True):
            assert ticking() == 1
            for done, letter in enumerate(steps(iter("abc"), "letters", 3)):
                tasks = progress._current.get().tasks
                assert (letter, tasks[-1].done, tasks[-1].total) == ("abc"[done], done, 3)
        for _ in steps(range(5), "of work that counts its own steps"):
            assert progress._current.get().tasks[-1].total == 2
        report(2)
    assert ticking() == 0
    assert capsys.readouterr().err == "outer: 2/2, first, 0 s elapsed\n"


def test_results_are_printed_where_nothing_is_shown_any_more(clock, still, monkeypatch, capsys):
    with show_progress("work", True):
        report(1, total=2)
        progress.finish()
        assert capsys.readouterr().err == "work: 1/2, 0 s elapsed\n"
        report(2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    display = Display("work", always=False, terminal=True, clock=clock)
    ticked(display, clock, 3)
    with display:
        display.finish(failed=False)
        gone = sys.stderr.getvalue()
        assert gone.endswith("\x1b[2K")
    assert sys.stderr.getvalue() == gone


@pytest.mark.parametrize("inner", [None, False])
def test_work_within_silent_work_is_silent(still, capsys, inner):
    with show_progress("outer", False), show_progress("inner", inner):
        report(1, total=2)
        assert not isinstance(progress._current.get(), Display)
    with show_progress("outer", False), show_progress("inner", True):
        report(1, total=2)
    assert capsys.readouterr().err == "inner: 1/2, 0 s elapsed\n"


def test_without_work_that_is_shown_reports_go_nowhere(capsys):
    report(1, total=2, text="nothing")
    assert list(steps(range(3), "parts")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_whoever_reads_may_leave(clock, monkeypatch):
    broken = io.StringIO()
    broken.close()
    monkeypatch.setattr(sys, "stderr", broken)
    display = Display("fit", always=True, terminal=False, clock=clock)
    ticked(display, clock, 3)
    display.close(failed=False)
    monkeypatch.setattr(sys, "stderr", None)
    with show_progress("fit", True):
        report(1)
