"""The spool under pressure, as `bridge/event` tells it: what was dropped, a disk without room, a refusing intake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from bridge.contract import payloads
from bridge.contract.publication import Class, Publication
from bridge.contract.topics import Topics
from bridge.domain.text import Json, dumps
from bridge.domain.times import from_unix_ms, rfc3339
from bridge.store.protocols import Tx
from bridge.store.sqlite.database import Pressure

LOSSES_TOLD = "losses_told"


@dataclass(frozen=True, slots=True)
class Told:
    """One event of the gateway."""

    code: str
    severity: str
    message: str
    data: dict[str, Json] = field(default_factory=dict)


def changes(before: Pressure, now: Pressure, min_free_bytes: int) -> Iterator[Told]:
    """What the operator should know of a change."""
    if now.disk_low and not before.disk_low:
        yield Told(
            "disk_low",
            "critical",
            "the disk has less room than state.min_free: the spool does not grow, the oldest telemetry goes first",
            {
                "free_bytes": now.free_bytes,
                "min_free_bytes": min_free_bytes,
                "spool_max_bytes": now.bound_bytes,
            },
        )
    if before.disk_low and not now.disk_low:
        yield Told("disk_recovered", "info", "the disk has room again", {"free_bytes": now.free_bytes})
    if now.full and not before.full:
        yield Told(
            "spool_full",
            "critical",
            "messages that are never dropped fill the spool: pushes are refused and polls pause until the broker takes"
            " some",
            {"spool_max_bytes": now.bound_bytes},
        )
    if before.full and not now.full:
        yield Told("spool_recovered", "info", "the spool has room again: pushes and polls are taken")
    if now.failing and not before.failing:
        yield Told(
            "store_failing",
            "critical",
            "the state database takes no changes: nothing is taken in meanwhile",
            {"reason": now.failing},
        )
    if before.failing and not now.failing:
        yield Told("store_recovered", "info", "the state database takes changes again")


def tell_losses(tx: Tx, topics: Topics, now: datetime, spool_max_bytes: int) -> None:
    """`data_dropped`: what was dropped since it was last told, also by an earlier run; each loss is told once."""
    told = tx.vault.get("", LOSSES_TOLD) or {}
    losses = {Class(klass).name.lower(): tally for klass, tally in tx.outbox.tallies().items() if tally.shed}
    new = {
        name: tally.shed - told.get(name, 0)
        for name, tally in losses.items()
        if tally.shed > told.get(name, 0)
    }
    if not new:
        return
    tx.vault.put("", LOSSES_TOLD, {name: tally.shed for name, tally in losses.items()})
    document = payloads.bridge_event(
        ts=now,
        code="data_dropped",
        severity="critical",
        message=f"the spool is full: {sum(new.values())} of the oldest messages were dropped",
        data={
            "dropped": new,
            "total": {name: tally.shed for name, tally in losses.items()},
            "first_ts": {name: rfc3339(from_unix_ms(tally.first_ms or 0)) for name, tally in losses.items()},
            "last_ts": {name: rfc3339(from_unix_ms(tally.last_ms or 0)) for name, tally in losses.items()},
            "spool_max_bytes": spool_max_bytes,
        },
    )
    tx.outbox.add(Publication(topics.bridge("event"), dumps(document), Class.EVENT))
