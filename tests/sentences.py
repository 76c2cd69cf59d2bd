"""Sentences of a Markdown document, and the words in each."""

import re

# A full stop ends a sentence before a space and what may begin another, but not after these.
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|al|vs)\.$")
_END = re.compile(r"(?<=[.!?])[)\"*_]*\s+(?=[A-Z0-9`*(\"|‖Σ])")


def sentences(text: str) -> list[str]:
    """Return the sentences of prose: not those of code blocks, tables and headings. Inline code is one word."""
    text = re.sub(r"^```.*?^```", "\n\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"``[^`]+``|`[^`]+`", "CODE", text)
    lines = ["" if re.match(r"\s*(\||#|\[.*\]:)", line) else line for line in text.splitlines()]
    lines = [re.sub(r"^\s*([-*+]|\d+\.)\s+", "\n\n", line) for line in lines]
    found = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        pieces: list[str] = []
        for piece in _END.split(" ".join(paragraph.split())):
            if pieces and _ABBREVIATION.search(pieces[-1]):
                pieces[-1] += " " + piece
            else:
                pieces.append(piece)
        found += [piece for piece in pieces if piece]
    return found


def words(sentence: str) -> int:
    """Return the number of words: runs that hold a letter or a digit."""
    return sum(any(character.isalnum() for character in part) for part in sentence.split())
