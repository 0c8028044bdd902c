"""What one account remembers in memory: whom to leave in peace for how long, newest samples, sites' offsets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from bridge.vendors.iammeter.codec import Sample
from bridge.vendors.iammeter.settings import DAY_S, HOUR_S

_REFUSALS = 5
_RETRY_FIRST_S = 30.0
_RETRY_MOST_S = 900.0


class Notes:
    """Times are those of `Clock.monotonic`. Nothing of it has to survive a restart."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._rests_until: dict[str, float] = {}
        self._refusals: dict[str, int] = {}
        self._losses: dict[str, int] = {}
        self._offsets: dict[str, int] = {}
        self._newest: dict[str, datetime] = {}

    def rest(self, key: str, for_s: float) -> None:
        """Nothing of this kind is asked for so long."""
        self._rests_until[key] = self._monotonic() + for_s

    def rest_s(self, key: str) -> float:
        """How long that still is; 0 if it may be asked."""
        return max(0.0, self._rests_until.get(key, 0.0) - self._monotonic())

    def refused(self, key: str) -> None:
        """The vendor said no without a known reason: after five in a row it is asked once an hour (section 5)."""
        self._refusals[key] = self._refusals.get(key, 0) + 1
        if self._refusals[key] >= _REFUSALS:
            self.rest(key, HOUR_S)

    def lost(self, key: str) -> None:
        """No answer: asked again after 30 s, then twice as long, at most 15 min (section 5)."""
        count = self._losses[key] = self._losses.get(key, 0) + 1
        self.rest(key, min(_RETRY_MOST_S, _RETRY_FIRST_S * 2.0 ** min(10, count - 1)))

    def well(self, key: str) -> None:
        """It was answered as it should."""
        for memory in (self._refusals, self._losses, self._rests_until):
            memory.pop(key, None)

    def sampled(self, sn: str, sample: Sample) -> None:
        """A sample came."""
        if sample.utc_offset_min is not None:
            self._offsets[sn] = sample.utc_offset_min
        if sample.observed_at is not None:
            self._newest[sn] = max(sample.observed_at, self._newest.get(sn, sample.observed_at))

    def offset_min(self, sn: str) -> int | None:
        """The UTC offset of the meter's site as last seen."""
        return self._offsets.get(sn)

    def is_there(self, sn: str, at: datetime, stale_after_s: float) -> bool:
        """Whether the meter's newest sample is young enough. The one that came last may be an older one."""
        newest = self._newest.get(sn)
        return newest is not None and at - newest <= timedelta(seconds=stale_after_s)

    def only_basic(self, operation: str, sn: str) -> None:
        """The advanced form of this operation cannot be had for the meter: the basic one is asked for, and the advanced
        one tried again in a day. A fault that passed must not cost the power factor for good."""
        self.rest(f"{operation}:{sn}", DAY_S)

    def is_only_basic(self, operation: str, sn: str) -> bool:
        """Whether that was found out within the last day."""
        return self.rest_s(f"{operation}:{sn}") > 0
