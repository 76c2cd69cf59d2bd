"""The documents of the project, for tests of what they say."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: README and the pages of docs, whose every block is run.
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))

#: All that is written for readers.
DOCUMENTS = (
    *PAGES,
    "FORMAT.md",
    "RESULTS.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "bench/README.md",
    "bench/rate/README.md",
)


def text(page: str) -> str:
    """Return a document."""
    return (ROOT / page).read_text()


def fenced(page: str, language: str = "") -> list[str]:
    """Return the fenced blocks of one language, without their fences."""
    parts = [part.partition("\n") for part in text(page).split("```")[1::2]]
    return [body for named, _, body in parts if named == language]


def rows(page: str, name: str) -> list[list[str]]:
    """Return the cells of the table below ``<!-- table: NAME -->``, without its head."""
    below = text(page).split(f"<!-- table: {name} -->\n", 1)[1]
    lines = re.split(r"\n(?!\|)", below, maxsplit=1)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
