"""The write-ahead log on its way to the disk: what is committed counts once a flush that began after it has returned.

SQLite would flush within COMMIT (synchronous=FULL) and let nothing happen meanwhile. On a quick disk that is what
happens here too; on a slow one the flush runs beside the writer, which does the next work in the meantime.

Invariant: batches are told in the order of their commits, each only after such a flush, or after a checkpoint that has
brought all of the log into the database. A flush that failed is not believed when it is repeated: the kernel forgets
what it could not write.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge.store.sqlite.pause import Pause

MOST_AT_ONCE = 2
"""So many flushes run beside each other."""

Flush = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit held. `told` is called, in any thread, when it is on the disk; `lost` with the reason when
    nobody will ever know. `changed`: whether it wrote anything; one that only read waits for those before it, whose
    changes it may have seen."""

    told: Callable[[], None]
    lost: Callable[[str], None]
    changed: bool


def to_disk(file: int) -> None:
    """What was written to this file is on the disk when it returns. Raises OSError."""
    getattr(os, "fdatasync", os.fsync)(file)


class Flusher:
    """For the log of one connection. `on_done` is called, in another thread, when a flush beside the writer has ended.
    All the rest belongs to the writer."""

    def __init__(self, log: Path, pause: Pause, on_done: Callable[[], None], flush: Flush = to_disk) -> None:
        self._log = log
        self._pause = pause
        self._on_done = on_done
        self._flush = flush
        self._file: int | None = None  # opened when the log is there: with the first commit
        self._state = threading.Condition()
        self._waiting: deque[tuple[int, Batch]] = deque()
        self._committed = self._begun = self._flushed = 0
        self._running = 0
        self._threads = 0
        self._closed = False
        self.failed: str | None = None

    @property
    def is_busy(self) -> bool:
        """Whether another commit has to wait: as many flushes are under way as may be."""
        return self._running + (self._begun < self._committed) >= MOST_AT_ONCE and self.failed is None

    def add(self, batch: Batch) -> None:
        """A commit is done."""
        with self._state:
            self._committed += batch.changed
            self._waiting.append((self._committed, batch))
            if self.failed is not None:
                return
            if self._begun == self._committed:
                self._tell()
                return
            if self._file is None and (file := self._opened()) is not None:
                self._file = file
            if self._file is None:
                return
            if self._pause.is_slow or self._running:
                self._start()
                return
            self._running += 1
            number = self._begun = self._committed
        self._run(number, self._file)

    def _opened(self) -> int | None:
        """The log as a file of its own for each thread: an error is told once per opened file, so that with one file
        the flush that lost nothing could get the error of the other, and that one none."""
        try:
            return os.open(self._log, os.O_RDONLY)
        except OSError as error:
            self.failed = f"{self._log.name}: {error.strerror or error}"
            return None

    def wait_for_room(self) -> None:
        """Returns when another commit may follow."""
        with self._state:
            self._state.wait_for(lambda: not self.is_busy)

    def mended(self) -> None:
        """All that was committed has come into the database, and that is on the disk."""
        with self._state:
            self.failed = None
            self._flushed = self._begun = self._committed
            self._tell()

    def close(self) -> None:
        """Waits for what is under way."""
        with self._state:
            self._state.wait_for(lambda: not self._waiting or self.failed is not None)
            self._closed = True
            self._state.notify_all()
            self._state.wait_for(lambda: self._running == 0)
            if self._file is not None:
                os.close(self._file)
                self._file = None
            for _, batch in self._waiting:
                batch.lost(self.failed or "closed")
            self._waiting.clear()

    # flushing ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._threads < MOST_AT_ONCE:
            self._threads += 1
            threading.Thread(target=self._work, name="store-flusher", daemon=True).start()
        self._state.notify_all()

    def _work(self) -> None:
        file = None
        while True:
            with self._state:
                self._state.wait_for(
                    lambda: self._closed or (self._begun < self._committed and self.failed is None)
                )
                if file is None and not self._closed:
                    file = self._opened()
                if self._closed or file is None:
                    self._threads -= 1
                    break
                self._running += 1
                number = self._begun = self._committed
            self._run(number, file)
            self._on_done()
        if file is not None:
            os.close(file)
        self._on_done()

    def _run(self, number: int, file: int) -> None:
        """One flush, which holds for all commits up to this one."""
        began_s = time.monotonic()
        problem = None
        try:
            self._flush(file)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is known of the disk
            problem = f"{self._log.name}: {getattr(error, 'strerror', None) or repr(error)}"
        self._pause.took(time.monotonic() - began_s)
        with self._state:
            self._running -= 1
            if problem is not None:
                self.failed = problem
            elif self.failed is None:
                self._flushed = max(self._flushed, number)
                self._tell()
            self._state.notify_all()

    def _tell(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._flushed:
            _, batch = self._waiting.popleft()
            batch.told()
