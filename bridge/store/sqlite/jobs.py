"""Work that waits for a commit, and how light work of it is done in the event loop while the commit stands open."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bridge.store.protocols import Done, OutboxRow, Tx
from bridge.store.sqlite.pause import Pause

LIGHT_S = 0.01
"""How long light work may hold the event loop at a time."""
QUIET_ROUNDS = 3
"""So many turns of the event loop without new work end a commit that stands open: what follows at once has come."""
MOST_OPEN_S = 0.01
LOOK_S = 0.001
FOREVER = float("inf")

log = logging.getLogger("bridge.store")


@dataclass(slots=True)
class Job:
    work: Callable[[Tx], Any]
    future: asyncio.Future[Any]
    light: bool = False
    patient: bool = False
    result: Any = None
    error: BaseException | None = None
    hooks: list[Done] = field(default_factory=list)
    goes: list[Done] = field(default_factory=list)
    added: list[OutboxRow] = field(default_factory=list)

    def go_ahead(self) -> None:
        """Calls, once, what is to go on before the commit."""
        goes, self.goes = self.goes, []
        for go in goes:
            safely(go)


class Look:
    """Among the jobs: a flush has ended, the writer is to look how."""


class Turn:
    """Light jobs of a group, from `at` on, run in the event loop while the writer waits for `over`. At the end of the
    group it stays open for a moment: what these jobs have started ahead, and what comes meanwhile, joins it."""

    def __init__(
        self,
        do: Callable[[Job], None],
        group: list[Job],
        at: int,
        pause: Pause,
        is_busy: Callable[[], bool],
        park: Callable[[Turn], None],
    ) -> None:
        """`is_busy`: whether the disk still has the commit before; then this turn is handed to `park`, to be called
        again when that is over or more work has come."""
        self._do = do
        self._is_busy = is_busy
        self._park = park
        self._group = group
        self._pause = pause
        self._rounds = QUIET_ROUNDS
        self._until_s = time.monotonic() + pause.open_s
        self._at_most_until_s: float | None = None
        self.at = at
        self.over = threading.Event()
        self.error: BaseException | None = None

    def go(self, loop: asyncio.AbstractEventLoop, more: Callable[[list[Job]], bool]) -> None:
        """`more` appends to a group what has come; whether there was any."""
        try:
            next_s = self._some(more)
        except BaseException as error:  # noqa: BLE001 - what spoils the commit is the writer's to handle
            self.error = error
            next_s = None
        if next_s is None:
            self.over.set()
        elif next_s == FOREVER:
            self._park(self)
        elif next_s:
            loop.call_later(next_s, self.go, loop, more)
        else:
            loop.call_soon(self.go, loop, more)  # others have their turn between

    def _some(self, more: Callable[[list[Job]], bool]) -> float | None:
        """In how many seconds to go on, FOREVER if something has to happen first; None if this turn is over."""
        until_s = time.monotonic() + LIGHT_S
        while self.at < len(self._group):
            job = self._group[self.at]
            if not job.light:
                return None
            self._do(job)
            if job.goes:
                job.go_ahead()
                self._rounds = QUIET_ROUNDS  # what it has started follows in one of the next
            self.at += 1
            if time.monotonic() >= until_s:
                return 0.0
        if self._is_busy():
            return 0.0 if more(self._group) else FOREVER
        now_s = time.monotonic()
        if self._at_most_until_s is None:
            self._at_most_until_s = now_s + MOST_OPEN_S
        if now_s >= self._at_most_until_s:
            return None
        self._rounds -= 1
        if more(self._group) and now_s < self._until_s:
            self._rounds = QUIET_ROUNDS
        if self._rounds > 0:
            return 0.0
        waits = now_s < self._until_s and self._pause.is_worth_waiting(len(self._group))
        return LOOK_S if waits else None


def safely(hook: Done) -> None:
    """What is committed must be told to everyone who waits, whatever one of them makes of it."""
    try:
        hook()
    except Exception:
        log.exception("a hook after a commit failed")
