"""Whatever is passed to what is public, a result comes back or a CoinrError, soon.

Right calls of every function and command of the project, in which one to three arguments are replaced by wrong ones.
The run of many cases is ``make fuzz``, which prints how many there were. Missing and forbidden files are Python's own
errors, as everywhere.
"""

from __future__ import annotations

import functools
import inspect
import re
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import coinr
from coinr.cli import cli
from coinr.codec import baselines
from coinr.errors import CoinrError
from tests.codec.hostile import Counts

from .arguments import COMMANDS, SHORT, WORDS, Make, folder, publics, wrong_values

PUBLICS = publics()
WEIGHTED = [name for name, public in PUBLICS.items() if public.right for _ in range(public.weight)]
WRONG = {endless: list(wrong_values(endless)) for endless in (False, True)}

# Of CPU time, for fits, searches and refinements of tiny networks that are given a fraction of one.
SECONDS = 20.0

# What a user does not call: what a network computes, and what training asks a signal for.
INNER = {
    *(
        "forward",
        "plain_forward",
        "plain_values",
        "computation",
        "neurons",
        "half_period",
        "encode",
        "fans",
        "wave",
        "sizes",
        "batch",
        "meta",
        "predict",
        "score",
        "squared_error",
        "partial_score",
        "grid",
        "score_rule",
        "to",
    ),
    *(
        "check_kind",
        "check_size",
        "check",
        "check_tensors",
        "check_work",
        "describe",
        "rates",
        "to_dict",
        "table",
        "plot",
    ),
    *("color_depths", "quantize_depths", "of_mesh"),
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder())


def everything(cases: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(max_examples=cases, database=None, suppress_health_check=list(HealthCheck))


@functools.cache
def near(name: str, key: str) -> list[Make]:
    """Wrong values of the types that right ones have: they get past the first look."""
    public = PUBLICS[name]
    types = tuple({kind for make in public.right[key] for kind in type(make()).__mro__[:-1]} - {type(None)})
    types += (int, float) if int in types or float in types else ()
    every = WRONG[key in public.endless]
    return [make for make in every if isinstance(make(), types)] or every


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Make]]:
    """A name of :data:`PUBLICS` and the makers of its arguments, some of them wrong."""
    name = draw(st.sampled_from(WEIGHTED))
    public = PUBLICS[name]
    arguments = {
        key: draw(st.sampled_from(makes))
        for key, makes in public.right.items()
        if key in public.given or draw(st.integers(0, 4)) == 0
    }
    for key in draw(st.lists(st.sampled_from(sorted(public.right)), min_size=1, max_size=3, unique=True)):
        arguments[key] = draw(st.sampled_from(near(name, key) if draw(st.booleans()) else WRONG[key in public.endless]))
    return name, arguments


def labelled(value: object) -> str:
    return f"{type(value).__name__} {value!r}"[:100] if not callable(value) else str(type(value))


def outcome(call: Callable[[], Any]) -> str:
    """The name of the error that a call ends in, or ``result``; any other error is let through."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call()
        except (CoinrError, OSError) as error:
            if not isinstance(error, CoinrError) and error.filename is None:
                raise
            return type(error).__name__ if str(error).strip() else "an error without a message"
    return "result"


def check_calls(counts: Counts, cases: int) -> None:
    @everything(cases)
    @given(calls())
    def check(case: tuple[str, dict[str, Make]]) -> None:
        name, makers = case
        function = PUBLICS[name].make()
        arguments = {key: make() for key, make in makers.items()}
        label = f"{name}({', '.join(f'{key}={labelled(value)}' for key, value in arguments.items())})"
        start = time.process_time()
        ended = outcome(lambda: function(**arguments))
        counts.cases += 1
        counts.outcomes[ended] += 1
        assert ended != "an error without a message", label
        assert time.process_time() - start < SECONDS, label

    check()


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command that is right, with one to three of its options given wrong values."""
    name = draw(st.sampled_from(sorted(COMMANDS)))
    options = [p for p in cli.get_command(None, name).params if p.name not in ("help", "version")]
    line = [name, *draw(st.sampled_from(COMMANDS[name]))]
    if draw(st.integers(0, 3)) == 0:
        line[draw(st.integers(1, len(line) - 1))] = draw(st.sampled_from(WORDS))
    line += SHORT.get(name, [])
    for option in draw(st.lists(st.sampled_from(options), min_size=1, max_size=3, unique=True)):
        if option.param_type_name == "option":
            line.append(draw(st.sampled_from(option.opts)))
            if not option.is_flag:
                line.append(draw(st.sampled_from(WORDS)))
    return line


def check_lines(counts: Counts, cases: int) -> None:
    @everything(cases)
    @given(lines())
    def check(line: list[str]) -> None:
        result = CliRunner().invoke(cli, line)
        counts.cases += 1
        counts.outcomes[f"exit {result.exit_code}"] += 1
        assert result.exception is None or isinstance(result.exception, SystemExit), (line, result.exception)
        assert result.exit_code in (0, 1, 2), line
        if result.exit_code:
            assert re.fullmatch(r"(coinr[^\n]*: note: [^\n]+\n)*coinr[^\n]*: error: [^\n]+\n", result.stderr), (
                line,
                result.stderr,
            )

    check()


def test_everything_public_is_called() -> None:
    names = {name.split(" ")[0] for name in PUBLICS}
    missing = []
    for name in coinr.__all__:
        thing = getattr(coinr, name)
        if not inspect.isclass(thing):
            missing += [] if name in names else [name]
        elif not issubclass(thing, CoinrError):
            methods = {key for kind in thing.__mro__ if kind.__module__.startswith("coinr") for key in vars(kind)}
            called = {key for key in methods - INNER if key[0] != "_" and callable(getattr(thing, key))}
            missing += [f"{name}.{key}" for key in sorted(called) if f"{name}.{key}" not in names]
    # abstract, or records that only coinr makes
    assert set(missing) <= {"Signal", "from_state_dict"} | {
        f"{n}.from_state_dict" for n in ("Finer", "Gauss", "Relu", "Wire")
    }
    assert {f"baselines.{name}" for name in ("encode", "decode")} <= names
    assert callable(baselines.encode)
    assert set(COMMANDS) == set(cli.list_commands(None))


@pytest.mark.parametrize("name", PUBLICS)
def test_a_right_call_gives_a_result_and_all_arguments_are_known(name: str) -> None:
    public = PUBLICS[name]
    function = public.make()
    known = inspect.signature(function).parameters
    assert {key for key, p in known.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} <= set(public.right)
    arguments = {key: public.right[key][0]() for key in public.right if key in public.given}
    if name == "ShapeFile.mesh":  # of random weights
        with pytest.raises(CoinrError, match="there is no surface"):
            function(**arguments)
    else:
        function(**arguments)


def test_a_few_wrong_arguments() -> None:
    check_calls(Counts(), 120)


def test_a_few_wrong_commands() -> None:
    check_lines(Counts(), 30)


@pytest.mark.fuzz
def test_many_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    counts = Counts()
    check_calls(counts, 10_000)
    with capsys.disabled():
        print(f"\nwrong arguments: {counts.cases} cases\n  outcomes: {dict(counts.outcomes.most_common())}")


@pytest.mark.fuzz
def test_many_wrong_commands(capsys: pytest.CaptureFixture[str]) -> None:
    counts = Counts()
    check_lines(counts, 2_000)
    with capsys.disabled():
        print(f"\nwrong commands: {counts.cases} cases\n  outcomes: {dict(counts.outcomes.most_common())}")
