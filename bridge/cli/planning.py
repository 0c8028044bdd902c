"""How many calls the configuration plans per rate-limit window, and which intervals the limits do not allow. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.config import Configuration
from bridge.domain.quantity import duration_text
from bridge.flow.schedule import Stretch, lengthened, stretch
from bridge.pace.limits import Limit, Window
from bridge.ports import PollTask, PushDoor
from bridge.vendorkit.settings import AccountSettings


@dataclass(frozen=True, slots=True)
class Planned:
    """The calls that polling makes in one window of a limit (of its busiest key where it counts per key)."""

    limit: Limit
    window: Window
    calls: float

    def words(self) -> str:
        """`requests: 0.4 of 5 in 1s (8 %)`."""
        share = round(100 * self.calls / self.window.count)
        own = f" per {self.limit.scope}" if self.limit.per_key else ""
        return (
            f"{self.limit.name}: {_figure(self.calls)} of {self.window.count} in "
            f"{duration_text(self.window.seconds)}{own} ({share} %)"
        )


def planned(tasks: Sequence[PollTask], limits: Iterable[Limit]) -> list[Planned]:
    """Every window that polling uses, in the order of the vendor's limits, at the intervals asked for."""
    rows = []
    for limit in limits:
        per_s = _busiest_per_s(tasks, limit) if limit.per_key else _per_s(tasks, limit)
        rows += [Planned(limit, window, per_s * window.seconds) for window in limit.windows if per_s > 0]
    return rows


def deaf(configuration: Configuration, settings: AccountSettings, door: PushDoor | None) -> str | None:
    """The line of a `push` that will never hear anything, and why; None where there is none."""
    if settings.push is None or (door is not None and configuration.http.address is not None):
        return None
    index = [account.id for account in configuration.accounts].index(settings.id)
    why = f"{settings.vendor} does not push" if door is None else "http.listen is off"
    key = f"accounts[{index}].push"
    return f"{configuration.position(key)}: {key}: without effect, for {why}"


def stretched(
    configuration: Configuration,
    settings: AccountSettings,
    tasks: Sequence[PollTask],
    limits: Sequence[Limit],
) -> str | None:
    """The line of the file whose interval is too short, and the interval to write instead; None if all fits."""
    too_much = stretch(tasks, limits) or lengthened(tasks, limits)
    if too_much is None:
        return None
    index = [account.id for account in configuration.accounts].index(settings.id)
    longer = duration_text(float(int(settings.poll * too_much.factor) + 1))
    devices = len({device for task in tasks for device in task.devices})
    return (
        f"{configuration.position(f'accounts[{index}].poll')}: accounts[{index}].poll: "
        f"{duration_text(settings.poll)} is more often than {_whose(too_much, settings)} allows for {devices} devices; "
        f"they are read every {longer}. Write poll: {longer}"
    )


def _whose(too_much: Stretch, settings: AccountSettings) -> str:
    kind = f"the limit of {settings.vendor}" if too_much.limit.documented else "the gateway's own caution"
    return f"{kind} ({too_much.limit.name})"


def _per_s(tasks: Iterable[PollTask], limit: Limit) -> float:
    return sum(task.costs.get(limit.name, 0.0) / task.interval_s for task in tasks)


def _busiest_per_s(tasks: Sequence[PollTask], limit: Limit) -> float:
    keys = {device for task in tasks for device in task.devices}
    return max((_per_s([task for task in tasks if key in task.devices], limit) for key in keys), default=0.0)


def _figure(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.2g}"
