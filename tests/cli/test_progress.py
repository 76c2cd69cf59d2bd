"""How far the commands are, on stderr, and how to be rid of that."""

import json

import pytest

from coinr import progress

from .command import QUICK, run

COMMANDS = {
    "encode": ("photo.png", "-o", "a.coinr", *QUICK),
    "learn-start": ("photo.png", "-o", "a.start.coinr", "--width", "8", "--hidden-layers", "1", "--steps", "3"),
    "decode": ("photo.coinr", "-o", "a.png"),
    "compare": ("photo.png", "photo.coinr"),
    "preview": ("photo.coinr", "-o", "a.png"),
    "pack": ("model.safetensors", "-o", "a.coinr"),
    "unpack": ("model.coinr", "-o", "a.pt"),
    "verify": ("model.coinr",),
}


class Impatient(progress.Display):
    """Shows even short work."""

    def __init__(self, title, *, always, terminal):
        super().__init__(title, always=True, terminal=terminal)


@pytest.mark.parametrize("command", COMMANDS)
def test_long_commands_say_how_far_they_are_and_keep_it_from_stdout(made, out, monkeypatch, command):
    monkeypatch.setattr(progress, "Display", Impatient)
    arguments = [made / one if (made / one).exists() else one for one in COMMANDS[command]]
    arguments = [out / one if str(one).startswith("a.") else one for one in arguments]
    arguments += [] if command == "unpack" else ["--json"]
    printed = run(command, *arguments)
    assert printed.exit_code == 0, printed.stderr
    lines = [line for line in printed.stderr.splitlines() if "bytes are more than" not in line]
    assert lines[-1].startswith(f"{command}: ")
    assert "elapsed" in printed.stderr
    assert command == "unpack" or json.loads(printed.stdout)
    quiet = run(command, *arguments, "--quiet")
    assert (quiet.exit_code, quiet.stderr) == (0, "")
