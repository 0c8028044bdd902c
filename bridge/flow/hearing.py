"""Who was heard by push and so need not be asked: pushes lower the rate at which a device is polled, silence raises it.

Pure: times (monotonic seconds) come in, narrowed poll tasks go out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from bridge.domain.observation import AlarmMessage, Event, Observation, Origin, Reading
from bridge.ports import PollTask

EARLY = 0.1
"""The part of an interval by which a task may run before its time and still count as one interval later."""


@dataclass(slots=True)
class Hearing:
    """What was heard and read of one account's devices. `factor`: a device that pushes is read this many times less
    often than its interval says; 1: as often as without pushes."""

    factor: float
    spared: int = 0
    _heard: dict[tuple[str, str], float] = field(default_factory=dict)
    _read: dict[tuple[str, str], float] = field(default_factory=dict)

    def heard(self, observation: Observation, now: float) -> None:
        """A push said this. One that tells of an earlier time stands for that time: a backlog keeps nobody quiet."""
        match observation:
            case Reading(origin=Origin.PUSH):
                lane, at = "poll", observation.observed_at or observation.received_at
            case AlarmMessage(origin=Origin.PUSH):
                lane, at = "alarms", observation.started_at or observation.received_at
            case Event(origin=Origin.PUSH):
                lane, at = "alarms", observation.happened_at or observation.received_at
            case _:
                return
        age_s = max(0.0, (observation.received_at - at).total_seconds())
        key = (lane, observation.device)
        self._heard[key] = max(self._heard.get(key, now - age_s), now - age_s)

    def narrowed(self, task: PollTask, now: float) -> PollTask | None:
        """The task with the devices that have to be read now; None if pushes told all of it. They count as not read
        until `done`: a run that fails is tried again, whatever is pushed meanwhile."""
        if self.factor <= 1 or not task.pushed:
            return task
        due = tuple(device for device in task.devices if self._is_due(task, device, now))
        self.spared += len(task.devices) - len(due)
        for device in due:
            self._read.pop((task.key, device), None)
        if len(due) == len(task.devices):
            return task
        return replace(task, devices=due, partial=True) if due else None

    def done(self, task: PollTask, now: float) -> None:
        """The task, or what was left of it, was read."""
        if task.pushed:
            self._read.update({(task.key, device): now for device in task.devices})

    def keep(self, tasks: Iterable[PollTask]) -> None:
        """Forgets what belongs to none of these tasks."""
        planned = list(tasks)
        devices = {device for task in planned for device in task.devices}
        pairs = {(task.key, device) for task in planned for device in task.devices}
        self._heard = {key: at for key, at in self._heard.items() if key[1] in devices}
        self._read = {key: at for key, at in self._read.items() if key in pairs}

    def _is_due(self, task: PollTask, device: str, now: float) -> bool:
        heard = self._heard.get((task.lane, device))
        read = self._read.get((task.key, device))
        if heard is None or read is None:
            return True
        silent = now - heard >= task.interval_s
        return silent or now - read >= (self.factor - EARLY) * task.interval_s
