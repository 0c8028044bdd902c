"""What one account remembers: what it read already, when meters were woken, how the platform takes dates."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from bridge.domain.errors import Rejection
from bridge.domain.text import Json, canonical
from bridge.domain.times import rfc3339
from bridge.ports import Clock
from bridge.vendorkit.spec import Vault
from bridge.vendors.jrhsz.wire import Row

READ_EVERY_S = 900
"""Each reading on demand costs a water meter's battery (page jrhsz, section 7)."""

EMPTY_UNTIL_DAYS = 3
EMPTY_FOR = timedelta(days=1)
"""Of shorter windows a meter that reports once a day may well have nothing."""


class Overlap:
    """Which rows of overlapping windows were handed on already. In memory: the store knows the rest."""

    def __init__(self) -> None:
        self._before: set[bytes] = set()
        self._now: set[bytes] = set()

    def begin(self) -> None:
        """A walk over a window begins."""
        self._now = set()

    def is_new(self, row: Row) -> bool:
        """Whether neither this walk nor the last complete one had this row."""
        mark = hashlib.blake2b(canonical(row), digest_size=8).digest()
        new = mark not in self._before and mark not in self._now
        self._now.add(mark)
        return new

    def end(self) -> None:
        """The walk is complete, and all it brought is taken."""
        self._before = self._now


class Covered:
    """Readings (meter, time) that 4.3 or 4.5 brought: what 4.4 shows of them fills no gap. In memory, to spare the
    store thousands of rows that it knows (`Reading.covers`)."""

    def __init__(self) -> None:
        self._known: set[tuple[str, datetime]] = set()

    def add(self, device: str, at: datetime | None) -> None:
        """This reading was taken in."""
        if at is not None:
            self._known.add((device, at))

    def has(self, device: str, at: datetime | None) -> bool:
        """Whether it was."""
        return at is not None and (device, at) in self._known

    def forget(self, before: datetime) -> None:
        """What is older is not asked for any more."""
        self._known = {entry for entry in self._known if entry[1] >= before}


class Wakes:
    """When water meters were last asked to read themselves; kept in the vault, so that a restart is no way round."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock
        self._at: dict[str, int] = {}
        self._loaded = False

    async def load(self) -> None:
        """Takes up what an earlier process noted. Does nothing the second time."""
        if self._loaded:
            return
        kept = await self._vault.get("wakes")
        if isinstance(kept, dict):
            earlier = {name: at for name, at in kept.items() if isinstance(at, int)}
            self._at = {**earlier, **self._at}
        self._loaded = True

    def verify(self, device: str) -> None:
        """Raises Rejection while the meter must be left alone."""
        at = self._at.get(device)
        now_s = int(self._clock.now().timestamp())
        if at is None or not 0 <= now_s - at < READ_EVERY_S:
            return
        next_at = self._clock.now() + timedelta(seconds=at + READ_EVERY_S - now_s)
        raise Rejection(
            "rate_limited",
            "a water meter is asked at most once per 15 minutes, for its battery's sake; "
            f"again at {rfc3339(next_at)}",
        )

    async def note(self, device: str) -> None:
        """The meter is asked now."""
        now_s = int(self._clock.now().timestamp())
        self._at = {name: at for name, at in self._at.items() if now_s - at < READ_EVERY_S}
        self._at[device] = now_s
        kept: Json = dict(self._at)
        await self._vault.put("wakes", kept)


class DateStyle:
    """Whether the platform wants `BeginDate` and `EndDate` without a time (Q18)."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._loaded = False
        self._empty = 0
        self._empty_for = timedelta()
        self._tried: set[str] = set()
        self.decided = False
        self.days = False

    async def load(self) -> None:
        """Takes up what was found out before. Does nothing the second time."""
        if not self._loaded:
            self._loaded = True
            self.days = await self._vault.get("dates") == "days"
            self.decided = self.decided or self.days

    def wants_days(self, endpoint: str, window: timedelta, *, found: bool) -> bool:
        """Takes note of an answer; True if dates without a time should be tried now. That is once per end point:
        one may have no records at all."""
        if found:
            self.decided = True
        if self.decided or endpoint in self._tried:
            return False
        self._empty += 1
        self._empty_for += window
        if self._empty < EMPTY_UNTIL_DAYS or self._empty_for < EMPTY_FOR:
            return False
        self._tried.add(endpoint)
        return True

    async def keep_days(self) -> None:
        """Dates without a time brought something."""
        self.days = self.decided = True
        await self._vault.put("dates", "days")
