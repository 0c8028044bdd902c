"""Home Assistant's discovery: every device that is described is announced, in the same transaction as its `info`.

The ledger of retained topics is the memory: it says what was announced, what must be withdrawn, and which
withdrawals are not complete yet, also after a restart.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from bridge.contract.discovery import Scheme, withdrawn, without_withdrawn
from bridge.contract.publication import Class, Publication
from bridge.domain.errors import StoreError
from bridge.domain.text import Json, dumps, restored
from bridge.flow.desk import Desk, retain
from bridge.ports import Clock, Rng
from bridge.store.protocols import DeviceRow, RetainedRow, Store, Tx

log = logging.getLogger("bridge.discovery")

WITHDRAWN_FOR_S = 60.0
"""How long a withdrawn component stands there as its platform alone: long enough for a Home Assistant that is just
connecting again."""
BIRTH_DELAY_S = (1.0, 10.0)
"""After a birth of Home Assistant; by chance, so that not every gateway of a broker answers at once."""
ROWS = 100
PAUSE_S = 0.5
"""Announcements are repeated so many at once, and then other messages have their turn."""
RETRY_S = 5.0

Owner = tuple[str, str]


class Announcer:
    """Announces devices to Home Assistant. `announce` runs inside transactions, `born` in the event loop."""

    def __init__(self, store: Store, scheme: Scheme, clock: Clock, rng: Rng) -> None:
        self._store = store
        self.scheme = scheme
        self._clock = clock
        self._rng = rng
        self._heap: list[tuple[float, Owner]] = []
        self._waiting: set[Owner] = set()
        self._birth_at: float | None = None
        self._wake = asyncio.Event()

    def owns(self, kept: RetainedRow) -> bool:
        """Whether a retained topic is the announcement of its device, as this gateway names it."""
        return bool(kept.device) and kept.topic == self.scheme.topic(kept.account, kept.device)

    def announce(self, desk: Desk, row: DeviceRow, info: Mapping[str, Json]) -> None:
        """The device as its `info` says it is, if that differs from what is announced."""
        policy = desk.policy
        topic = self.scheme.topic(policy.account, row.device)
        document = self.scheme.document(info, confirm=policy.confirm, expire_after_s=policy.expire_after_s)
        before = _announced(desk.tx, topic)
        gone = withdrawn(before, document) if before is not None else {}
        if gone:
            document["cmps"] |= gone
            desk.tx.after_commit(partial(self._withdrawing, (policy.account, row.device)))
        retain(desk.tx, topic, dumps(document), Class.META, policy.account, row.device)

    def born(self, payload: bytes) -> None:
        """Home Assistant says on its status topic that it has started (`online`), or that it ends."""
        if payload == b"online" and self._birth_at is None:
            self._birth_at = self._clock.monotonic() + self._rng.uniform(*BIRTH_DELAY_S)
            self._wake.set()

    async def adopt(self) -> None:
        """Takes up the withdrawals that were under way when the process ended."""

        def unfinished(tx: Tx) -> list[Owner]:
            mine = [kept for kept in tx.retained.all() if self.owns(kept)]
            return [(kept.account, kept.device) for kept in mine if _is_withdrawing(restored(kept.body))]

        for owner in await self._store.run(unfinished):
            self._withdrawing(owner)

    async def run(self) -> None:
        """Completes withdrawals and answers births, until it is cancelled."""
        while True:
            try:
                await self._answer_birth()
                await self._complete()
            except StoreError as error:
                log.error("discovery.store_failed", extra={"reason": str(error)})
                await self._clock.sleep(RETRY_S)
            await self._nap()

    def _withdrawing(self, owner: Owner) -> None:
        if owner not in self._waiting:
            self._waiting.add(owner)
            heapq.heappush(self._heap, (self._clock.monotonic() + WITHDRAWN_FOR_S, owner))
            self._wake.set()

    async def _nap(self) -> None:
        """Until something is due; a birth or a withdrawal that comes meanwhile may be due earlier."""
        times = [self._birth_at, self._heap[0][0] if self._heap else None]
        due = min((at for at in times if at is not None), default=None)
        self._wake.clear()
        waker = asyncio.ensure_future(self._wake.wait())
        waits = {waker}
        if due is not None:
            pause_s = max(0.001, due - self._clock.monotonic())
            waits.add(asyncio.ensure_future(self._clock.sleep(pause_s)))  # type: ignore[arg-type] # both are only waited for
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # withdrawals ------------------------------------------------------------------------------------------------

    async def _complete(self) -> None:
        """The second step of the withdrawals that are due."""
        due: list[Owner] = []
        while self._heap and self._heap[0][0] <= self._clock.monotonic() and len(due) < ROWS:
            owner = heapq.heappop(self._heap)[1]
            self._waiting.discard(owner)
            due.append(owner)
        if not due:
            return
        early = due
        try:
            early = await self._store.run(lambda tx: self._complete_in(tx, due))
        finally:
            for owner in early:
                self._withdrawing(owner)

    def _complete_in(self, tx: Tx, due: list[Owner]) -> list[Owner]:
        """Those whose first step has not left yet: the broker must have had it."""
        waiting = tx.outbox.waiting_retained()
        early: list[Owner] = []
        for account, device in due:
            topic = self.scheme.topic(account, device)
            if topic in waiting:
                early.append((account, device))
                continue
            document = _announced(tx, topic)
            if document is not None and _is_withdrawing(document):
                retain(tx, topic, dumps(without_withdrawn(document)), Class.META, account, device)
        return early

    # births -----------------------------------------------------------------------------------------------------

    async def _answer_birth(self) -> None:
        if self._birth_at is None or self._birth_at > self._clock.monotonic():
            return
        self._birth_at = None
        owners = await self._store.run(
            lambda tx: [(kept.account, kept.device) for kept in tx.retained.all() if self.owns(kept)]
        )
        for at in range(0, len(owners), ROWS):
            if at:
                await self._clock.sleep(PAUSE_S)
            some = owners[at : at + ROWS]
            await self._store.run(lambda tx, some=some: self._repeat(tx, some))  # type: ignore[misc] # bound now
        log.info("discovery.repeated", extra={"devices": len(owners)})

    def _repeat(self, tx: Tx, owners: list[Owner]) -> None:
        """As it stands in the ledger now; a device that went meanwhile stays gone."""
        waiting = tx.outbox.waiting_retained()
        for account, device in owners:
            topic = self.scheme.topic(account, device)
            body = tx.retained.get(topic)
            if body is not None and topic not in waiting:
                tx.outbox.add(
                    Publication(topic, body, Class.META, retain=True, account=account, device=device)
                )


def _announced(tx: Tx, topic: str) -> dict[str, Any] | None:
    body = tx.retained.get(topic)
    if body is None:
        return None
    document: dict[str, Any] = restored(body)
    return document


def _is_withdrawing(document: Mapping[str, Json]) -> bool:
    return any(set(component) == {"p"} for component in document["cmps"].values())
