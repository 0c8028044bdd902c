"""What a value may refer to: `${NAME}` is an environment variable, `!file path` the text of a file.

`$${` stands for the two characters `${`. A file's text is taken as it is, without one newline at its end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bridge.config.yamltree import Resolved, Unreadable, quoted

MAX_FILE_BYTES = 64 * 1024

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


@dataclass(frozen=True, slots=True)
class References:
    """Resolves references with these variables; file names are relative to `folder`."""

    env: Mapping[str, str]
    folder: Path

    def resolve(self, text: str, is_file: bool) -> Resolved:
        """The text that a scalar stands for. Raises Unreadable, whose text never holds a variable's value."""
        expanded = _REFERENCE.sub(self._expanded, text)
        if is_file:
            return Resolved(self._content(expanded, text), secret=True)
        return Resolved(expanded, secret=any(match["name"] for match in _REFERENCE.finditer(text)))

    def _expanded(self, match: re.Match[str]) -> str:
        if match.group() == "$${":
            return "${"
        name = match["name"]
        if name is None:
            raise Unreadable(
                "expected ${NAME} with the name of an environment variable; write $${ for the text ${"
            )
        if name not in self.env:
            raise Unreadable(f"expected the environment variable {name} to be set")
        return self.env[name]

    def _content(self, name: str, written: str) -> str:
        """The text of the file `name`; messages show its name as it is written."""
        try:
            with (self.folder / name).open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise Unreadable(f"expected a readable file; {quoted(written)}: {error.strerror}") from None
        except ValueError:
            raise Unreadable("expected the name of a file") from None
        if len(raw) > MAX_FILE_BYTES:
            raise Unreadable(f"expected a file of at most 64 KiB; {quoted(written)} is larger")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise Unreadable(f"expected UTF-8 text in the file {quoted(written)}") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise Unreadable(f"expected some text in the file; {quoted(written)} is empty")
        return text
