"""Room on the disk: how much is left, and how far the spool may grow while there is too little."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

LOOK_EVERY_S = 1.0
SPOOL_LEAST_BYTES = 4 * 1024**2
"""So much may wait even on a full disk: what passes through while the broker is there must not be dropped."""
HYSTERESIS = 1.05
"""Low is over only when there is a little more room than the least: not told with every file that comes and goes."""


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write on the disk of a folder."""
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize


class Room:
    """Watches one disk. While it has less than `min_free_bytes`, the spool keeps to what it held when that began."""

    def __init__(self, folder: Path, min_free_bytes: int, disk: Callable[[Path], int]) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._disk = disk
        self._looked_at: float | None = None
        self._held_bytes = 0
        self.free_bytes: int | None = None
        self.is_low = False

    def bound_bytes(self, now_s: float, waiting_bytes: int) -> int | None:
        """How much may wait at most, None where the disk sets no bound. Looks at the disk once a second."""
        if self._min_free_bytes and (self._looked_at is None or now_s - self._looked_at >= LOOK_EVERY_S):
            self._looked_at = now_s
            self._look(waiting_bytes)
        return self._held_bytes if self.is_low else None

    def is_tight(self, spare_bytes: int) -> bool:
        """Whether the disk would have too little room if so much more were written."""
        return self.is_low or (
            self.free_bytes is not None and self.free_bytes < self._min_free_bytes + spare_bytes
        )

    def _look(self, waiting_bytes: int) -> None:
        try:
            self.free_bytes = self._disk(self._folder)
        except OSError:
            return  # a disk that does not even tell will refuse the commit itself
        was_low = self.is_low
        least = self._min_free_bytes * HYSTERESIS if was_low else self._min_free_bytes
        self.is_low = self.free_bytes < least
        if self.is_low and not was_low:
            self._held_bytes = max(waiting_bytes, SPOOL_LEAST_BYTES)
