"""What the account does about the vendor's quota: it rests when told so, and learns from it (page saj, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

from bridge.domain.errors import RateLimited
from bridge.domain.times import from_unix, rfc3339
from bridge.pace.limits import Lane, Window
from bridge.ports import PollTask
from bridge.vendorkit.http import Use
from bridge.vendorkit.spec import Kit
from bridge.vendors.saj.faults import DAY_USED_UP
from bridge.vendors.saj.quota import (
    AT_ONCE_S,
    HOUR_S,
    LEARNT_AT_LEAST,
    LEARNT_FOR_S,
    Meter,
    Quota,
    hour_start,
    quota_from,
)
from bridge.vendors.saj.settings import ENDPOINT, REQUESTS, SajSettings

_JITTER_S = (30.0, 90.0)
_PATIENCE_S = 60.0
"""Who would have to wait longer is told so instead."""


@dataclass(slots=True)
class Throttle:
    """With `quota_scope: endpoint` each endpoint rests by itself, and nothing is learnt for the account."""

    settings: SajSettings
    kit: Kit
    _meter: Meter = field(init=False)
    _quotas: dict[str, Quota] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._meter = Meter(self._now_s())

    def uses(self, operation: str) -> Sequence[Use]:
        """What a call counts against."""
        uses = [Use(REQUESTS)]
        if self.settings.quota_scope == "endpoint":
            uses.append(Use(ENDPOINT, operation))
        return uses

    async def pass_through(self, operation: str, lane: Lane) -> None:
        """Before each call. Raises RateLimited where it would wait for long; only history has that patience."""
        await self._quota(self._key(operation))
        wait_s = self.kit.http.wait_s(self.uses(operation), lane)
        if lane is not Lane.HISTORY and _PATIENCE_S < wait_s < math.inf:
            raise RateLimited(
                f"no room for a call before {rfc3339(from_unix(math.ceil(self._now_s() + wait_s)))}",
                retry_after_s=wait_s,
                operation=operation,
            )

    def count(self) -> None:
        """A call leaves."""
        self._meter.count(self._now_s())

    async def refused(self, error: RateLimited) -> RateLimited:
        """The vendor's 10003, 10004 or HTTP 429: nothing leaves until its next hour or day."""
        key = self._key(error.operation)
        before = await self._quota(key)
        now_s, zone = self._now_s(), ZoneInfo(self.settings.quota_timezone)
        jitter_s = self.kit.rng.uniform(*_JITTER_S)
        if error.native_code == DAY_USED_UP:
            quota = before.day_refused(now_s, jitter_s, zone)
            until = quota.day_until
        else:
            quota = self._taught(before.hour_refused(now_s, jitter_s, zone), before, now_s)
            until = quota.hour_until
        self._keep(key, quota)
        await self.kit.vault.put(key, quota.as_json())
        use = Use(ENDPOINT, error.operation) if ":" in key else Use(REQUESTS)
        await self.kit.http.block(use, until - now_s)
        return RateLimited(
            f"{error.message}; the next call leaves in {until - now_s:.0f} s",
            retry_after_s=until - now_s,
            operation=error.operation,
            native_code=error.native_code,
        )

    def stretched(self, tasks: Sequence[PollTask], share: float) -> list[PollTask]:
        """The tasks with intervals that fit into `share` of the hourly calls that were learnt."""
        budget = self._quotas.get("quota", Quota()).budget(self._now_s())
        per_hour = sum(task.costs.get(REQUESTS, 0.0) * HOUR_S / task.interval_s for task in tasks)
        factor = per_hour / (share * budget) if budget else 0.0
        if factor <= 1:
            return list(tasks)
        return [replace(task, interval_s=task.interval_s * factor) for task in tasks]

    def _taught(self, quota: Quota, before: Quota, now_s: float) -> Quota:
        """Learns from the first refusal of an hour. One that follows a rest at once, or a gateway's first few calls,
        tells of somebody else's calls."""
        zone = ZoneInfo(self.settings.quota_timezone)
        known = self.kit.http.taken_since(Use(REQUESTS), hour_start(now_s, zone))
        calls = max(self._meter.since_hour(now_s, zone), known) - 1
        at_once = now_s < before.hour_until + AT_ONCE_S
        too_few = calls < LEARNT_AT_LEAST and not self._meter.is_whole(now_s, zone)
        if at_once or too_few or self.settings.quota_scope == "endpoint":
            return quota
        taught = quota.taught(calls, now_s)
        self.kit.log.warning(
            "saj.quota_learnt",
            extra={"account": self.kit.policy.account, "calls_per_hour": taught.learnt},
        )
        return taught

    async def _quota(self, key: str) -> Quota:
        if key not in self._quotas:
            self._keep(key, quota_from(await self.kit.vault.get(key)))
        return self._quotas[key]

    def _keep(self, key: str, quota: Quota) -> None:
        """What is learnt binds the gate, which also shows it in the budget."""
        self._quotas[key] = quota
        now_s = self._now_s()
        if (calls := quota.budget(now_s)) > 0:
            self.kit.http.learn(Use(REQUESTS), Window(calls, HOUR_S), quota.learnt_at + LEARNT_FOR_S - now_s)

    def _key(self, operation: str) -> str:
        return f"quota:{operation}" if self.settings.quota_scope == "endpoint" else "quota"

    def _now_s(self) -> float:
        return self.kit.clock.now().timestamp()
