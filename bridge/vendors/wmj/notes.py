"""What one account remembers in memory: who was heard of when, and whom to read again soon."""

from __future__ import annotations

from collections.abc import Callable

_BEFORE_S = 1.0


class Notes:
    """Times are those of `Clock.monotonic`. Nothing of it has to survive a restart: polling finds it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._heard_at: dict[str, float] = {}
        self._offline: set[str] = set()
        self._doubtful: set[str] = set()
        self._confirm: dict[str, list[float]] = {}
        self._switched: dict[str, tuple[str, float]] = {}

    def heard(self, serial: str) -> None:
        """The device sent or answered something."""
        self._heard_at[serial] = self._monotonic()
        if serial in self._offline:
            self._doubtful.add(serial)

    def said(self, serial: str, *, online: bool) -> None:
        """The vendor said whether the device is connected."""
        self._doubtful.discard(serial)
        if online:
            self._offline.discard(serial)
            self._heard_at[serial] = self._monotonic()
        else:
            self._offline.add(serial)

    def is_silent(self, serial: str, for_s: float) -> bool:
        """Whether the vendor should be asked about the connection: nothing was heard of the device for so
        long, or it answered although the vendor's last word is that it is off line."""
        heard_at = self._heard_at.get(serial)
        return heard_at is None or self._monotonic() - heard_at >= for_s or serial in self._doubtful

    def confirm(self, serial: str, in_s: float) -> None:
        """The device is to be read once in so many seconds. A reading that is due up to a second before that
        serves as well, so that a flood of alarms makes no flood of calls."""
        due = self._monotonic() + in_s
        planned = self._confirm.setdefault(serial, [])
        if not any(due - _BEFORE_S <= at <= due for at in planned):
            planned.append(due)

    def is_restless(self, serial: str, state: str, within_s: float) -> bool:
        """Whether a report of another state of the switch came so shortly before this one."""
        now = self._monotonic()
        before, at = self._switched.get(serial, (state, now))
        self._switched[serial] = (state, now)
        return before != state and now - at < within_s

    def next_due(self) -> str | None:
        """A device that is to be read now; its reading is then no longer planned. None if there is none."""
        now = self._monotonic()
        for serial, planned in self._confirm.items():
            later = [at for at in planned if at > now]
            if len(later) == len(planned):
                continue
            self._confirm[serial] = later
            return serial
        return None
