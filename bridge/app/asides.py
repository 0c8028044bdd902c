"""Pushes that were put aside, as `bridge/event` tells them: each one, but of a flood only its sum once a minute.

Events are never dropped from the spool, so a vendor that sends nothing but rubbish must not be able to fill it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bridge.ports import Clock

MOST = 10
WINDOW_S = 60.0


@dataclass(slots=True)
class _Pace:
    since: float
    told: int = 0
    silent: int = 0
    reason: str = ""


class Asides:
    """Paces the event `push_dead_letter` by account. `tell` is `Reporter.event`."""

    def __init__(self, tell: Callable[..., None], clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._paces: dict[str, _Pace] = {}

    def told(self, account: str, reason: str, count: int) -> None:
        """So many parts of one push were put aside, for the first one's reason."""
        self._end(account)
        pace = self._paces.setdefault(account, _Pace(self._clock.monotonic()))
        if pace.told >= MOST:
            pace.silent += count
            pace.reason = reason
            return
        pace.told += 1
        self._say(account, reason, count)

    def round(self) -> None:
        """Now and then: what was held back longest is told."""
        for account in list(self._paces):
            self._end(account)

    def _end(self, account: str) -> None:
        pace = self._paces.get(account)
        if pace is None or self._clock.monotonic() - pace.since < WINDOW_S:
            return
        del self._paces[account]
        if pace.silent:
            self._say(account, pace.reason, pace.silent)

    def _say(self, account: str, reason: str, count: int) -> None:
        what = (
            "a push could not be used and was" if count == 1 else f"{count} pushes could not be used and were"
        )
        message = f"account {account!r}: {what} put aside: {reason}"
        self._tell("push_dead_letter", "warning", message, account, reason=reason, count=count)
