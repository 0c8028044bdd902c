"""How long a commit stands open for what may still join it: nearly nothing on a quick disk, a part of the disk's own
time on a slow one, where everything that comes too late waits for a whole commit more.
"""

from __future__ import annotations

LEAST_S, MOST_S = 0.0005, 0.01
SHARE = 0.4
SLOW_S = 0.003
"""A disk that takes longer is worth waiting for more work."""
PATIENT_LEAST_S, PATIENT_COMMITS = 0.02, 2.0
_WEIGHT = 0.25


class Pause:
    """Learns from each commit how much work was in it, and from each flush how long the disk took."""

    def __init__(self) -> None:
        self._usual_s = 0.0
        self._usual_jobs = 0.0

    @property
    def is_slow(self) -> bool:
        """Whether the disk takes long enough to do something else meanwhile."""
        return self._usual_s >= SLOW_S

    @property
    def open_s(self) -> float:
        """For so long more work may join."""
        return min(MOST_S, max(LEAST_S, self._usual_s * SHARE))

    @property
    def patience_s(self) -> float:
        """For so long work that nobody waits for may wait for other work."""
        return max(PATIENT_LEAST_S, self._usual_s * PATIENT_COMMITS)

    def is_worth_waiting(self, jobs: int) -> bool:
        """Whether a commit of so many jobs should wait for more to come: on a slow disk, while it has fewer than
        lately."""
        return self.is_slow and jobs < self._usual_jobs

    def committed(self, jobs: int) -> None:
        """A commit had so many jobs."""
        self._usual_jobs = max(float(jobs), self._usual_jobs * (1 - _WEIGHT))

    def took(self, seconds: float) -> None:
        """The disk took so long for a flush."""
        self._usual_s += (seconds - self._usual_s) * _WEIGHT
