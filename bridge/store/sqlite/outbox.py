"""The outbox on SQLite: what waits for the broker, the room it may take, an account of every message ever taken.

Invariant, per class and after every commit: taken = waiting + published + refused + shed + superseded + lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum

from bridge.contract.publication import SHEDDABLE, Class, Publication
from bridge.store.protocols import OutboxRow, Tally

ROW_BYTES = 128
"""What a row counts beyond topic, body and Correlation Data. An estimate: 20,000 rows took 39 to 71 bytes more each
with bodies of 10 to 300 bytes, 330 with bodies of 1,000, of which only three fit into a page."""
_SIZE = f"length(body) + length(CAST(topic AS BLOB)) + ifnull(length(correlation), 0) + {ROW_BYTES}"
_SHED_ROWS = 500
_COLUMNS = "seq, topic, body, klass, retain, account, device, correlation"

Mark = tuple[list[int], int, int, dict[int, int]]


class _Column(IntEnum):
    """The places of one class in the list of counts; up to LAST_MS as in the table `tally`."""

    TAKEN = 0
    PUBLISHED = 1
    REFUSED = 2
    SHED = 3
    SUPERSEDED = 4
    LOST = 5
    FIRST_MS = 6
    LAST_MS = 7
    ROWS = 8
    BYTES = 9


_TAKEN, _PUBLISHED, _REFUSED, _SHED, _SUPERSEDED, _LOST, _FIRST_MS, _LAST_MS, _ROWS, _BYTES = map(
    int, _Column
)
_WIDTH = len(_Column)
_NEVER_SHED = [int(klass) * _WIDTH + _BYTES for klass in Class if klass not in SHEDDABLE]
_IN_TABLE = _ROWS


def size_of(publication: Publication) -> int:
    """The bytes of the spool that a publication takes."""
    size = len(publication.body) + len(publication.topic.encode()) + ROW_BYTES
    return size + len(publication.correlation) if publication.correlation is not None else size


class SqliteOutbox:
    """OutboxTable. Lives as long as its connection; between two calls of `begin` lies one commit."""

    def __init__(self, db: sqlite3.Connection, max_bytes: int) -> None:
        self._db = db
        self._max_bytes = max_bytes
        self.bound_bytes = max_bytes
        self.now_ms = 0
        self.sent_upto: Callable[[], int] = lambda: 0
        self.added: list[OutboxRow] = []
        self.gone: list[int] = []
        self._counts = _counted(db)
        self._saved = list(self._counts)
        self._bytes = sum(self._counts[_BYTES::_WIDTH])
        self._shed_after: dict[int, int] = {}
        self._seq_of: dict[str, int] = {}
        self._topic_of: dict[int, str] = {}
        self._undo: list[tuple[str, int | None]] = []
        for seq, topic in db.execute("SELECT seq, topic FROM outbox WHERE retain = 1 ORDER BY seq"):
            self._point(topic, seq)
        self._undo.clear()

    # OutboxTable ------------------------------------------------------------------------------------------------

    def add(self, publication: Publication) -> int:
        if publication.retain:
            self._supersede(publication.topic)
        klass = int(publication.klass)
        row = self._db.execute(
            "INSERT INTO outbox (topic, body, klass, retain, account, device, correlation, at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                publication.topic,
                publication.body,
                klass,
                int(publication.retain),
                publication.account,
                publication.device,
                publication.correlation,
                self.now_ms,
            ),
        )
        seq = int(row.lastrowid or 0)
        if publication.retain:
            self._point(publication.topic, seq)
        size = size_of(publication)
        counts, at = self._counts, klass * _WIDTH
        counts[at + _TAKEN] += 1
        counts[at + _ROWS] += 1
        counts[at + _BYTES] += size
        self._bytes += size
        self.added.append(OutboxRow(seq, publication))
        if self._bytes > self.bound_bytes:
            self._shed()
        return seq

    def read(self, after: int, limit: int) -> Sequence[OutboxRow]:
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608 - fixed texts
            (after, limit),
        )
        return [
            OutboxRow(seq, Publication(topic, body, Class(klass), bool(retain), account, device, correlation))
            for seq, topic, body, klass, retain, account, device, correlation in rows
        ]

    def confirm(self, seqs: Iterable[int]) -> None:
        self._end(seqs, _PUBLISHED)

    def refuse(self, seqs: Iterable[int]) -> None:
        self._end(seqs, _REFUSED)

    def waiting(self) -> tuple[int, int, int | None]:
        oldest = self._db.execute("SELECT at_ms FROM outbox ORDER BY seq LIMIT 1").fetchone()
        return sum(self._counts[_ROWS::_WIDTH]), self._bytes, oldest[0] if oldest else None

    def waiting_bytes(self) -> int:
        """The bytes that wait."""
        return self._bytes

    def waiting_retained(self) -> set[str]:
        return set(self._seq_of)

    def tallies(self) -> Mapping[int, Tally]:
        return {int(klass): _tally(self._of(klass)) for klass in Class if self._of(klass)[_TAKEN]}

    def full(self) -> bool:
        counts = self._counts
        return sum([counts[at] for at in _NEVER_SHED]) > self.bound_bytes * 9 // 10

    # the commit -------------------------------------------------------------------------------------------------

    def begin(self, now_ms: int) -> None:
        """A commit begins."""
        self.now_ms = now_ms
        self.gone = []
        self._undo.clear()

    def save(self) -> None:
        """Writes the account of this commit, in its transaction."""
        for klass in Class:
            counts = self._of(klass)[:_IN_TABLE]
            if counts != self._saved[klass * _WIDTH : klass * _WIDTH + _IN_TABLE]:
                self._db.execute(
                    "INSERT OR REPLACE INTO tally"
                    " (klass, taken, published, refused, shed, superseded, lost, first_ms, last_ms)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (int(klass), *counts),
                )

    def saved(self) -> None:
        """The commit is on disk."""
        self._saved = list(self._counts)

    def mark(self) -> Mark:
        """What is remembered beside the table, for `reset`."""
        return list(self._counts), len(self.gone), len(self._undo), dict(self._shed_after)

    def reset(self, mark: Mark) -> None:
        """After a rollback to where `mark` was called."""
        counts, shed_count, undo_count, shed_after = mark
        self._counts = list(counts)
        self._bytes = sum(counts[_BYTES::_WIDTH])
        self._shed_after = dict(shed_after)
        del self.gone[shed_count:]
        while len(self._undo) > undo_count:
            topic, seq = self._undo.pop()
            self._set(topic, seq)

    def restrict(self, bound_bytes: int | None) -> None:
        """A narrower bound than the configured one, while the disk has no room; None: the configured one."""
        self.bound_bytes = self._max_bytes if bound_bytes is None else min(self._max_bytes, bound_bytes)

    # rows that go -----------------------------------------------------------------------------------------------

    def _end(self, seqs: Iterable[int], column: int) -> None:
        wanted = sorted(set(seqs))
        for seq in wanted:
            topic = self._topic_of.get(seq)
            if topic is not None:
                self._point(topic, None)
        for first, last in _runs(wanted):
            self._delete(first, last, column)

    def _delete(self, first: int, last: int, column: int) -> int:
        """Takes the rows of this range out and counts them under `column`; how many bytes that frees."""
        groups = self._db.execute(
            f"SELECT klass, count(*), sum({_SIZE}) FROM outbox WHERE seq BETWEEN ? AND ? GROUP BY klass",  # noqa: S608 - fixed texts
            (first, last),
        ).fetchall()
        if not groups:
            return 0
        self._db.execute("DELETE FROM outbox WHERE seq BETWEEN ? AND ?", (first, last))
        freed = 0
        for klass, count, size in groups:
            counts, at = self._counts, klass * _WIDTH
            counts[at + column] += count
            counts[at + _ROWS] -= count
            counts[at + _BYTES] -= size
            if column == _SHED:
                counts[at + _FIRST_MS] = counts[at + _FIRST_MS] or self.now_ms
                counts[at + _LAST_MS] = max(
                    self.now_ms, counts[at + _LAST_MS]
                )  # also where the clock was set back
            freed += size
        self._bytes -= freed
        return freed

    def _supersede(self, topic: str) -> None:
        """A retained message takes the place of the one before it that still waits: nobody could see that one any
        more, and what is published again and again does not fill the disk."""
        seq = self._seq_of.get(topic)
        if seq is not None:
            self._point(topic, None)
            self._delete(seq, seq, _SUPERSEDED)
            self.gone.append(seq)

    def _shed(self) -> None:
        """Drops the oldest of the least important until a tenth of the bound is free again, or nothing is left to
        drop. What is in flight is spared, as long as the bound allows: it would be counted as dropped and arrive."""
        self._shed_to(self.bound_bytes * 9 // 10, self.sent_upto())
        self._shed_to(self.bound_bytes, 0)

    def _shed_to(self, goal: int, spared_upto: int) -> None:
        for klass in SHEDDABLE:
            while self._bytes > goal and self._counts[klass * _WIDTH + _ROWS]:
                if not self._shed_some(int(klass), goal, spared_upto):
                    break

    def _shed_some(self, klass: int, goal: int, spared_upto: int) -> bool:
        """Whether there was anything to drop."""
        excess = self._bytes - goal
        after = self._shed_after.get(klass, 0)
        oldest = self._db.execute(
            f"SELECT seq, {_SIZE} FROM outbox WHERE seq > ? AND klass = ? ORDER BY seq LIMIT {_SHED_ROWS}",  # noqa: S608 - fixed texts
            (max(after, spared_upto), klass),
        )
        seqs: list[int] = []
        for seq, size in oldest:
            seqs.append(seq)
            excess -= size
            if excess <= 0:
                break
        if not seqs:
            return False
        if spared_upto <= after:
            self._shed_after[klass] = seqs[
                -1
            ]  # no older one of this class is left: the next search begins here
        self.gone.extend(seqs)
        self._end(seqs, _SHED)
        return True

    def _of(self, klass: int) -> list[int]:
        return self._counts[klass * _WIDTH : (klass + 1) * _WIDTH]

    # retained topics that wait ----------------------------------------------------------------------------------

    def _point(self, topic: str, seq: int | None) -> None:
        self._undo.append((topic, self._seq_of.get(topic)))
        self._set(topic, seq)

    def _set(self, topic: str, seq: int | None) -> None:
        before = self._seq_of.pop(topic, None)
        if before is not None:
            self._topic_of.pop(before, None)
        if seq is not None:
            self._seq_of[topic] = seq
            self._topic_of[seq] = topic


def _tally(counts: Sequence[int]) -> Tally:
    taken, published, refused, shed, superseded, lost, first_ms, last_ms, rows, size = counts
    return Tally(
        taken, published, refused, shed, superseded, lost, first_ms or None, last_ms or None, rows, size
    )


def _runs(seqs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Sorted numbers as runs without a hole: confirmations come nearly in order, and a run is one statement."""
    if not seqs:
        return
    first = last = seqs[0]
    for seq in seqs[1:]:
        if seq != last + 1:
            yield first, last
            first = seq
        last = seq
    yield first, last


def _counted(db: sqlite3.Connection) -> list[int]:
    """The account so far. What is neither there nor accounted for was on a damaged part of the disk: `lost`."""
    counts = [0] * (_WIDTH * len(Class))
    for klass, *kept in db.execute(
        "SELECT klass, taken, published, refused, shed, superseded, 0, first_ms, last_ms FROM tally"
    ):
        counts[klass * _WIDTH : klass * _WIDTH + _IN_TABLE] = [number or 0 for number in kept]
    for klass, rows, size in db.execute(
        f"SELECT klass, count(*), sum({_SIZE}) FROM outbox GROUP BY klass"  # noqa: S608 - fixed texts
    ):
        counts[klass * _WIDTH + _ROWS], counts[klass * _WIDTH + _BYTES] = rows, size
    for at in range(0, len(counts), _WIDTH):
        there = sum(counts[at + _PUBLISHED : at + _LOST]) + counts[at + _ROWS]
        counts[at + _TAKEN] = max(counts[at + _TAKEN], there)
        counts[at + _LOST] = counts[at + _TAKEN] - there
    return counts
