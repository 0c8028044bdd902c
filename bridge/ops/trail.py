"""A file that only grows: lines are appended and on disk when `append` returns. It may be moved away at any time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_TAIL_BYTES = 1 << 20


class Trail:
    """Opens the file anew for each append: whoever rotates it need not tell."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, lines: Sequence[bytes]) -> None:
        """Adds the lines, each of which gets its end. Raises OSError: then nothing, or a part, was added."""
        new = not self.path.exists()
        # only the owner may read who asked for what
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            rest = memoryview(self._mend(handle) + b"".join(line + b"\n" for line in lines))
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def last(self) -> bytes | None:
        """The last whole line; None if there is none, or no file. Raises OSError."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return None
        whole = [line for line in lines[:-1] if line]
        return whole[-1] if whole else None

    def _mend(self, handle: int) -> bytes:
        """An end for a line that a crash cut off, so that the next one stands alone."""
        size = os.fstat(handle).st_size
        if size == 0:
            return b""
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return b"" if file.read(1) == b"\n" else b"\n"
