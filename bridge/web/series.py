"""The last day of one number in a few points: enough for a small chart, bounded whatever the poll interval is."""

from __future__ import annotations

from array import array

DAY_S = 86400
POINTS = 120
FINEST_STEP_S = 5


class Series:
    """At most POINTS points (Unix seconds, value). Points nearer to each other than the step become one, the later
    one; when there are too many, what is older than a day goes, and if that is not enough the step doubles."""

    __slots__ = ("_step_s", "_times", "_values")

    def __init__(self) -> None:
        self._step_s = FINEST_STEP_S
        self._times = array("I")
        self._values = array("f")

    def add(self, at_s: int, value: float) -> None:
        """One more value. What is older than the newest point is left out."""
        if self._times and at_s < self._times[-1]:
            return
        if self._times and at_s // self._step_s == self._times[-1] // self._step_s:
            self._times[-1], self._values[-1] = at_s, value
            return
        self._times.append(at_s)
        self._values.append(value)
        if len(self._times) > POINTS:
            self._thin(at_s)

    def last(self) -> tuple[int, float]:
        """The newest point. There is one."""
        return self._times[-1], self._values[-1]

    def points(self, since_s: int) -> list[tuple[int, float]]:
        """The points from a time on."""
        return [
            (at_s, value) for at_s, value in zip(self._times, self._values, strict=True) if at_s >= since_s
        ]

    def _thin(self, now_s: int) -> None:
        kept = self.points(now_s - DAY_S)
        while len(kept) > POINTS:
            self._step_s *= 2
            latest = {at_s // self._step_s: (at_s, value) for at_s, value in kept}
            kept = list(latest.values())
        self._times = array("I", [at_s for at_s, _ in kept])
        self._values = array("f", [value for _, value in kept])
