"""Text for terminals: aligned columns, and nothing from outside that could steer the terminal. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def printable(text: str) -> str:
    """The text with every control and invisible character replaced: a payload must not move the cursor."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def shortened(text: str, most: int) -> str:
    """At most so many characters, printable."""
    text = printable(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def width(text: str) -> int:
    """Columns that the text takes; Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def padded(text: str, columns: int) -> str:
    """The text with blanks behind it up to so many columns."""
    return text + " " * (columns - width(text))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns under their heads, two blanks between them."""
    lines = [list(head), *([printable(cell) for cell in row] for row in rows)]
    columns = [max(width(line[at]) for line in lines) for at in range(len(head))]
    return "\n".join(
        "  ".join(padded(cell, size) for cell, size in zip(line, columns, strict=True)).rstrip()
        for line in lines
    )
