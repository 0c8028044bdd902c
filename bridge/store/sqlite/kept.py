"""Rows kept in memory, never truer than the disk: a rollback forgets what was touched since the commit began."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """At most `most` of them, the oldest go first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: dict[K, V] = {}
        self._touched: set[K] = set()

    def begin(self) -> None:
        """A commit begins."""
        self._touched.clear()

    def rolled_back(self) -> None:
        """What was touched since `begin` may not be what is on disk."""
        for key in self._touched:
            self._rows.pop(key, None)

    def get(self, key: K) -> V | None:
        """What is kept."""
        return self._rows.get(key)

    def touch(self, key: K) -> None:
        """The row may differ from the disk's until the commit."""
        self._touched.add(key)

    def keep(self, key: K, row: V) -> None:
        """Keeps it; also one that was only read counts as touched, since it may be of this commit."""
        self._touched.add(key)
        while len(self._rows) >= self._most and key not in self._rows:
            self._rows.pop(next(iter(self._rows)))
        self._rows[key] = row

    def drop(self, key: K) -> None:
        """Forgets it."""
        self._rows.pop(key, None)

    def clear(self) -> None:
        """Forgets all."""
        self._rows.clear()
