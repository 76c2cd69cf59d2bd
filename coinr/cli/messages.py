"""Messages of the Python functions in the words of the command line."""

from __future__ import annotations

import re
import shlex

import click

from coinr.errors import CoinrError

#: Keys of -O, by profile, with their defaults.
PROFILE_KEYS = {
    "auto, direct, lossless": {},
    "uniform": {"bits": "16, or the fewest that meet --tolerance"},
    "sparse": {"form": "dense or sparse, by size", "M": "measured", "n": "measured", "beam": "measured"},
    "paper": {
        "kind": "gaussian",
        "M": "65536",
        "s": "by the rule",
        "bits": "16",
        "sorted": "true, or false if published",
        "rule": "1; or published",
    },
}

#: Words of messages that are no names of options, and what the command line has in their place.
_PHRASES = {
    "nonfinite='lossless'": "--lossless-nonfinite",
    "give it as base": "give it with --base",
    "give it as start": "give it with --start",
    "(raise it with Limits)": "(in Python, coinr.Limits raises it)",
    "kind must be one of": "--network must be one of",
    "lossless pattern '": "--lossless '",
    "give both near and far": "give both --near and --far",
    "coinr.save stores": "coinr pack stores",
}


def profile_keys() -> str:
    """Return the keys of -O as a part of a help text."""
    lines = [
        f"  {profile}: " + (", ".join(f"{key} ({default})" for key, default in keys.items()) or "none")
        for profile, keys in PROFILE_KEYS.items()
    ]
    return "\b\nKeys of -O for each profile, with their defaults:\n" + "\n".join(lines) + "\n\n"


def describe_error(error: CoinrError | OSError | MemoryError) -> str:
    """Return the words of an error that ends a command, or a part of it."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError):
        what = error.strerror or str(error)
        return f"{what}: {error.filename}" if error.filename else what
    return str(error)


def in_options(message: str, command: click.Command) -> str:
    """Return a message with names of arguments replaced by those of the command's options.

    ``target_bytes`` becomes ``--target-bytes`` and ``key='model'`` ``--key model``; words that are names and English
    alike, such as width, are replaced where ``must`` or a value in quotes follows. What is quoted or part of a path
    stays.
    """
    for phrase, words in _PHRASES.items():
        message = message.replace(phrase, words)
    options = {str(param.name): max(param.opts, key=len) for param in command.params if isinstance(param, click.Option)}
    options.pop("output", None)  # messages of the command line itself speak of outputs
    for name, option in options.items():
        free = _free(name)
        for value in set(re.findall(rf"{free}='([^']*)'", message)):
            message = message.replace(f"{name}='{value}'", f"{option} {shlex.quote(value)}")
        message = re.sub(rf"{free}=(?=\S)", f"{option} ", message)
        message = re.sub(free + ("" if "_" in name else "(?= must\\b| ')"), option, message)
    if "option" in options:
        for key in {key for keys in PROFILE_KEYS.values() for key in keys}:
            message = re.sub(_free(key) + r"(?= must\b)", f"-O {key}", message)
    return message


def _free(name: str) -> str:
    """Return a pattern for a word that is not quoted, nor part of a path or of another word."""
    return rf"(?<![\w./'\"-]){name}(?![\w/'\"-]|\.\w)"
