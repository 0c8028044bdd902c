"""Pushes that come together are taken in together: what comes while the disk is busy is the work of one transaction, on
one desk per account.

Each push is taken whole or not at all. Where one of a group fails, the group is undone and each is taken by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bridge.domain.account import AccountPolicy
from bridge.domain.errors import SpoolFull, StoreError
from bridge.domain.observation import Batch
from bridge.domain.times import unix_ms
from bridge.flow.desk import Desk
from bridge.flow.intake import SPOOL_FULL, Intake
from bridge.flow.roster import Roster
from bridge.ports import Clock
from bridge.store.protocols import Store, Tx

LIGHT_OBSERVATIONS = 8
"""A push of more takes its turn in the store's own thread, not in the event loop."""
MOST_TOGETHER = 192
"""So many observations (a reading comes as three) are taken in one go, a few milliseconds: others have their turn
between two groups."""


@dataclass(frozen=True, slots=True)
class Push:
    """One push, understood, and who waits for it: `done` gets how many of its parts were put aside as new."""

    policy: AccountPolicy
    batches: Sequence[Batch]
    unusable: Sequence[tuple[bytes, str]]
    source: str
    done: asyncio.Future[int]


class _Group(list[Push]):
    """Pushes of one transaction; `size` counts their observations."""

    size = 0


class Pushes:
    """Takes pushes in for all accounts. `on_aside` is told of parts put aside: account, reason, how many."""

    def __init__(self, store: Store, roster: Roster, intake: Intake, clock: Clock) -> None:
        self._store = store
        self._roster = roster
        self._intake = intake
        self._clock = clock
        self._open: _Group | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_aside: Callable[[str, str, int], None] = lambda _account, _reason, _count: None

    async def take(
        self, account: str, batches: Sequence[Batch], unusable: Sequence[tuple[bytes, str]], source: str
    ) -> None:
        """One push; on disk when it returns. Raises StoreError (also SpoolFull): then nothing of it is."""
        if not self._roster.has(account):
            raise StoreError("the account is being reloaded")
        loop = asyncio.get_running_loop()
        push = Push(self._roster.policy(account), batches, unusable, source or "/", loop.create_future())
        size = sum([len(batch.observations) for batch in batches])
        if size > LIGHT_OBSERVATIONS:
            new = await self._store.run(partial(self._alone, push))
        else:
            self._join(push, size, loop)
            new = await push.done
        if new:
            self.on_aside(account, unusable[0][1], new)

    def _join(self, push: Push, size: int, loop: asyncio.AbstractEventLoop) -> None:
        group = self._open
        if group is None or group.size + size > MOST_TOGETHER:
            group = self._open = _Group()
            task = loop.create_task(self._run(group), name="pushes")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        group.append(push)
        group.size += size

    async def _run(self, group: _Group) -> None:
        try:
            told = await self._store.run(partial(self._together, group), light=True)
        except StoreError as error:
            self._shut(group)
            for push in group:
                _tell(push, error)
        except Exception:  # noqa: BLE001 - of one of them; the others must not suffer for it
            for push in group:
                await self._again(push)
        else:
            for push, result in zip(group, told, strict=True):
                _tell(push, result)

    def _together(self, group: _Group, tx: Tx) -> list[int | Exception]:
        self._shut(group)
        desks: dict[int, Desk] = {}
        told: list[int | Exception] = []
        for push in group:
            if tx.outbox.full():
                told.append(SpoolFull(SPOOL_FULL))
                continue
            desk = desks.get(id(push.policy))
            if desk is None:
                desk = desks[id(push.policy)] = self._intake.desk(tx, push.policy)
            told.append(self._onto(desk, push))
        for desk in desks.values():
            self._intake.close(desk)
        return told

    def _alone(self, push: Push, tx: Tx) -> int:
        if tx.outbox.full():
            raise SpoolFull(SPOOL_FULL)
        desk = self._intake.desk(tx, push.policy)
        new = self._onto(desk, push)
        self._intake.close(desk)
        return new

    async def _again(self, push: Push) -> None:
        try:
            result: int | Exception = await self._store.run(partial(self._alone, push))
        except Exception as error:  # noqa: BLE001 - whatever it is, the one who waits gets it
            result = error
        _tell(push, result)

    def _onto(self, desk: Desk, push: Push) -> int:
        for batch in push.batches:
            self._intake.take_batch(desk, batch)
        if not push.unusable:
            return 0
        letters, at_ms = desk.tx.dead_letters, unix_ms(self._clock.now())
        account, source = push.policy.account, push.source
        return sum([letters.add(account, source, reason, body, at_ms) for body, reason in push.unusable])

    def _shut(self, group: _Group) -> None:
        """Nobody joins it any more."""
        if self._open is group:
            self._open = None


def _tell(push: Push, result: int | Exception) -> None:
    if push.done.done():
        return  # whoever waited is gone
    if isinstance(result, Exception):
        push.done.set_exception(result)
    else:
        push.done.set_result(result)
