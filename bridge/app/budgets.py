"""The retained `budget` topics: true at every moment, and never a flood.

A message goes out when calls have changed a window or a window slides by itself, at most one per account and EVERY_S;
at once (within LOOK_S) when a vendor says that its limit is used up. What it shows is exact at its `ts`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bridge.app.accounts import Account
from bridge.contract import payloads
from bridge.contract.payloads import BudgetRow
from bridge.contract.topics import Topics
from bridge.domain.errors import StoreError
from bridge.domain.text import Json, dumps
from bridge.domain.times import rfc3339
from bridge.flow.desk import retain
from bridge.pace.gate import AccountGate
from bridge.pace.limits import Usage
from bridge.ports import Clock
from bridge.store.protocols import Store, Tx

log = logging.getLogger("bridge.budgets")

LOOK_S = 1.0
EVERY_S = 5.0
FORGET_EVERY_S = 3600.0


@dataclass(slots=True)
class _Told:
    """What was published of an account; `gate` is another after a reload."""

    gate: AccountGate
    changes: int = -1
    at: float = -math.inf
    slides_at: float = math.inf
    hits: int = 0
    warned_until: dict[tuple[str, str, float], float] = field(default_factory=dict)


class Budgets:
    """Publishes the budgets of all accounts."""

    def __init__(
        self,
        store: Store,
        topics: Topics,
        clock: Clock,
        accounts: Mapping[str, Account],
        connected: Callable[[], bool] = lambda: True,
    ) -> None:
        """While the broker is not `connected` only the first message of an account is made: what changes meanwhile is
        one message later."""
        self._store = store
        self._topics = topics
        self._clock = clock
        self._accounts = accounts
        self._connected = connected
        self._told: dict[str, _Told] = {}
        self._forgot_at = -math.inf

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            try:
                await self.look()
                await self._forget()
            except StoreError as error:
                log.error("budgets.store_failed", extra={"reason": str(error)})
            await self._clock.sleep(LOOK_S)

    async def look(self) -> None:
        """Publishes what is due."""
        now, connected = self._clock.monotonic(), self._connected()
        for name, account in list(self._accounts.items()):
            told = self._told.get(name)
            if told is None or told.gate is not account.gate:
                told = self._told[name] = _Told(account.gate)
            first = told.at == -math.inf
            if first or (connected and _is_due(told, now)):
                await self.publish(name)
        for name in self._told.keys() - self._accounts.keys():
            del self._told[name]

    async def publish(self, name: str) -> None:
        """One account's budget, if it changed."""
        account = self._accounts.get(name)
        if account is None:
            return
        now = self._clock.monotonic()
        gate = account.gate
        usage = gate.usage()
        before = self._told.get(name)
        warned_until = self._warn(name, usage, before.warned_until if before else {})
        told = _Told(gate, gate.changes, now, now + gate.next_change_in_s(), gate.hits, warned_until)
        body = dumps(payloads.budget(self._clock.now(), [_row(one) for one in usage]))
        topic = self._topics.account(name, "budget")

        def work(tx: Tx) -> None:
            if (
                self._accounts.get(name) is account
            ):  # else a reload took it away: its topics must stay cleared
                _retain_budget(tx, topic, body, name)

        await self._store.run(work)
        self._told[name] = told

    def _warn(
        self, name: str, usage: list[Usage], warned_until: Mapping[tuple[str, str, float], float]
    ) -> dict[tuple[str, str, float], float]:
        """One line in the log when a window will be used up, and not again within such a window."""
        now = self._clock.monotonic()
        until = {key: at for key, at in warned_until.items() if at > now}
        for one in usage:
            key = (one.limit.name, one.key, one.window.seconds)
            if one.exhausted_at is None or key in until:
                continue
            until[key] = now + one.window.seconds
            log.warning(
                "budget.running_out",
                extra={
                    "account": name,
                    "limit": one.limit.name,
                    "key": one.key,
                    "window_s": one.window.seconds,
                    "exhausted_at": _rfc3339(one.exhausted_at),
                },
            )
        return until

    async def _forget(self) -> None:
        """Slots that no window reaches any more go from the disk."""
        now = self._clock.monotonic()
        if now < self._forgot_at + FORGET_EVERY_S:
            return
        self._forgot_at = now
        outdated = [one for account in self._accounts.values() for one in account.gate.outdated()]

        def work(tx: Tx) -> None:
            for owner, limit, at in outdated:
                tx.budgets.forget_before(owner, limit, at)

        await self._store.run(work)


def budget_rows(account: Account) -> list[BudgetRow]:
    """The account's rate-limit windows in use."""
    return [_row(usage) for usage in account.gate.usage()]


def forecasts(account: Account) -> list[Json]:
    """The windows that will be used up if calls go on as lately, the soonest first."""
    rows = [usage for usage in account.gate.usage() if usage.exhausted_at is not None]
    return [
        {
            "limit": usage.limit.name,
            "scope": _scope(usage),
            "window_s": usage.window.seconds,
            "exhausted_at": _rfc3339(usage.exhausted_at),
        }
        for usage in sorted(rows, key=lambda usage: usage.exhausted_at or 0.0)
    ]


def _is_due(told: _Told, now: float) -> bool:
    if told.hits != told.gate.hits:
        return True
    changed = told.changes != told.gate.changes or now >= told.slides_at
    return changed and now >= told.at + EVERY_S


def _row(usage: Usage) -> BudgetRow:
    return BudgetRow(
        endpoint=usage.limit.endpoint,
        limit=usage.window.count,
        scope=_scope(usage),
        window_s=usage.window.seconds,
        used=usage.used,
        resets_at=datetime.fromtimestamp(usage.resets_at, tz=UTC) if usage.resets_at else None,
        blocked=usage.blocked,
    )


def _scope(usage: Usage) -> str:
    return f"{usage.limit.scope}:{usage.key}" if usage.key else usage.limit.scope


def _rfc3339(at: float | None) -> str | None:
    return rfc3339(datetime.fromtimestamp(at, tz=UTC)) if at is not None else None


def _retain_budget(tx: Tx, topic: str, body: bytes, account: str) -> None:
    """Not again while nothing but the time in it changed."""
    kept = tx.retained.get(topic)
    if kept is None or kept.partition(b'"windows"')[2] != body.partition(b'"windows"')[2]:
        retain(tx, topic, body, account=account)
