"""How long the account rests after the vendor's "too many", and what is learnt from it (page saj, section 3).

Pure: Unix seconds come in, a new state goes out. The state is kept in the vault, as JSON.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, time, timedelta, tzinfo
from decimal import Decimal

from bridge.domain.text import Json

HOUR_S, DAY_S = 3600.0, 86400.0
AT_ONCE_S = 600.0
"""A refusal so soon after a rest means that the rest was too short."""

LEARNT_SHARE = 0.9
LEARNT_AT_LEAST = 10
LEARNT_FOR_S = DAY_S
"""Somebody else may have used the quota up: what was learnt is tried anew every day."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What is known of the vendor's quota. `*_until`: end of the last rest. `day_first`: when the series of daily
    refusals began, `day_step` how many there were. `learnt`: calls an hour, 0 where nothing was learnt."""

    hour_until: float = 0.0
    day_first: float = 0.0
    day_until: float = 0.0
    day_step: int = 0
    learnt: int = 0
    learnt_at: float = 0.0

    def hour_refused(self, now_s: float, jitter_s: float, zone: tzinfo) -> Quota:
        """10003: until the next full clock hour; if it comes back at once, a full hour."""
        if now_s < self.hour_until:
            return self
        if now_s < self.hour_until + AT_ONCE_S:
            return replace(self, hour_until=now_s + HOUR_S + jitter_s)
        return replace(self, hour_until=hour_start(now_s, zone) + HOUR_S + jitter_s)

    def day_refused(self, now_s: float, jitter_s: float, zone: tzinfo) -> Quota:
        """10004: until the next midnight; if it comes back, 6 h; then until 24 h after the first one."""
        if now_s < self.day_until:
            return self
        again = self.day_step > 0 and now_s < self.day_until + AT_ONCE_S
        if again and self.day_step == 1:
            return replace(self, day_step=2, day_until=now_s + 6 * HOUR_S)
        if again and self.day_step == 2 and now_s < self.day_first + DAY_S:
            return replace(self, day_step=3, day_until=self.day_first + DAY_S + jitter_s)
        until = next_midnight(now_s, zone) + jitter_s
        return replace(self, day_step=1, day_first=now_s, day_until=until)

    def taught(self, calls: int, now_s: float) -> Quota:
        """The hour was used up after so many calls of ours."""
        return replace(self, learnt=max(LEARNT_AT_LEAST, int(calls * LEARNT_SHARE)), learnt_at=now_s)

    def budget(self, now_s: float) -> int:
        """The hourly calls that were learnt; 0 where nothing was, or not lately."""
        return self.learnt if now_s < self.learnt_at + LEARNT_FOR_S else 0

    def as_json(self) -> Json:
        """For the vault."""
        return asdict(self)


def quota_from(kept: Json) -> Quota:
    """The inverse of `as_json`; what cannot be read is forgotten."""
    if not isinstance(kept, dict):
        return Quota()
    names = {item.name for item in fields(Quota)}
    numbers = {name: value for name, value in kept.items() if isinstance(value, int | float | Decimal)}
    whole = ("day_step", "learnt")
    return Quota(
        **{
            name: int(value) if name in whole else float(value)  # type: ignore[arg-type] # by the field's name
            for name, value in numbers.items()
            if name in names
        }
    )


def hour_start(now_s: float, zone: tzinfo) -> float:
    """The last full clock hour."""
    local = datetime.fromtimestamp(now_s, zone)
    return now_s - local.minute * 60 - local.second - local.microsecond / 1e6


def next_midnight(now_s: float, zone: tzinfo) -> float:
    """The next midnight."""
    tomorrow = datetime.fromtimestamp(now_s, zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), zone).timestamp()


@dataclass(slots=True)
class Meter:
    """Counts our calls of the last hour. `since` is when counting began."""

    since: float
    _calls: deque[float] = field(default_factory=deque)

    def count(self, now_s: float) -> None:
        """One more call."""
        self._calls.append(now_s)
        while self._calls[0] <= now_s - HOUR_S:
            self._calls.popleft()

    def since_hour(self, now_s: float, zone: tzinfo) -> int:
        """Calls since the last full clock hour, or since counting began."""
        start = hour_start(now_s, zone)
        return sum(at >= start for at in self._calls)

    def is_whole(self, now_s: float, zone: tzinfo) -> bool:
        """Whether counting began before the last full clock hour."""
        return self.since <= hour_start(now_s, zone)
