"""Who is next: one command at a time per device, in the order of taking, each carried to its end by the carrier.

The next one begins when the vendor has the one before. An exclusive one, moreover, waits until every exclusive one of
its device that was taken earlier is final; what comes behind it and is not exclusive passes it meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.flow.carrier import Carrier
from bridge.ports import Clock
from bridge.store.protocols import JournalRow, Store

log = logging.getLogger("bridge.commands")

Lane = tuple[str, str | None]
"""(account, device); None for commands of the account itself."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    row: JournalRow
    exclusive: bool

    @property
    def key(self) -> int:
        return self.row.key


@dataclass(slots=True)
class _Queue:
    """`turn`: the exclusive command under way. `held`: exclusive ones that wait for its end. `current`: the command
    that holds back the next one. `ending`: those whose end is on its way to the disk while the next one goes on."""

    waiting: deque[_Waiting] = field(default_factory=deque)
    held: deque[_Waiting] = field(default_factory=deque)
    turn: int | None = None
    current: int | None = None
    ending: set[int] = field(default_factory=set)
    worker: asyncio.Task[None] | None = None

    def is_idle(self) -> bool:
        return not self.waiting and not self.held and self.turn is None and not self.ending


class Dispatcher:
    """Starts with what the journal holds unfinished, then takes what the admission hands over."""

    def __init__(self, store: Store, carrier: Carrier, clock: Clock) -> None:
        self._store = store
        self._carrier = carrier
        self._clock = clock
        self._lanes: dict[Lane, _Queue] = {}
        self._aside: set[asyncio.Task[None]] = set()
        self._known: set[int] = set()
        self._closing = False
        carrier.tell_free(self._free)

    async def adopt(self, accounts: Sequence[str] | None = None) -> int:
        """Takes up the unfinished commands of these accounts (None: of all, also of accounts that are gone). Returns
        how many. To be called once the accounts' devices are known."""
        rows = await self._store.run(lambda tx: tx.journal.unfinished())
        mine = [row for row in rows if accounts is None or row.account in accounts]
        for row in mine:
            self.submit(row)
        return len(mine)

    def submit(self, row: JournalRow) -> None:
        """A command is in the journal and wants to be carried out."""
        if self._closing or row.key in self._known:
            return
        self._known.add(row.key)
        self._carrier.rest_s(row)
        name = (row.account, row.device)
        # one that the vendor works on passes its lane too: the carrier knows whether it lets the next one go on
        lane = self._lanes.setdefault(name, _Queue())
        lane.waiting.append(_Waiting(row, self._carrier.is_exclusive(row)))
        self._wake(name, lane)

    def under_way(self) -> int:
        """How many commands are not final."""
        return len(self._known)

    async def aclose(self, grace_s: float) -> None:
        """Stops taking commands; lets what is being sent come to an answer for at most `grace_s`. What is not
        finished stays in the journal as it is."""
        self._closing = True
        tasks = [lane.worker for lane in self._lanes.values() if lane.worker is not None]
        tasks += list(self._aside)
        tasks = [task for task in tasks if not task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _wake(self, name: Lane, lane: _Queue) -> None:
        if lane.worker is None or lane.worker.done():
            title = f"commands-{name[0]}/{name[1] or ''}"
            lane.worker = asyncio.get_running_loop().create_task(self._work(name, lane), name=title)

    def _free(self, row: JournalRow) -> None:
        """The vendor has this command, or has answered it, and that is on its way to the disk: the next one of the
        device may try to leave in the same commit. An exclusive one is held all the same until its turn."""
        name = (row.account, row.device)
        lane = self._lanes.get(name)
        if lane is None or lane.current != row.key or lane.worker is None:
            return
        if not lane.waiting or self._closing:
            return
        lane.current = None
        lane.ending.add(row.key)
        self._aside.add(lane.worker)
        lane.worker.add_done_callback(self._aside.discard)
        lane.worker = None
        self._wake(name, lane)

    async def _work(self, name: Lane, lane: _Queue) -> None:
        me = asyncio.current_task()
        while lane.worker is me and lane.waiting and not self._closing:
            one = lane.waiting.popleft()
            if one.exclusive and lane.turn is not None:
                self._hold(lane, one)
                continue
            if one.exclusive:
                lane.turn = one.key
            lane.current = one.key
            final = await self._carried(one.key, until_free=True, fresh=one.row, after=tuple(lane.ending))
            if lane.current == one.key:
                lane.current = None
            lane.ending.discard(one.key)
            if final:
                self._ended(name, lane, one.key)
            else:
                self._spawn(self._follow(name, lane, one.key), f"follow-{one.key}")
        if self._lanes.get(name) is lane and lane.worker in (me, None) and lane.is_idle():
            del self._lanes[name]

    async def _carried(
        self, key: int, *, until_free: bool, fresh: JournalRow | None = None, after: Collection[int] = ()
    ) -> bool:
        try:
            return await self._carrier.carry(key, until_free, fresh, after)
        except Exception:
            log.exception("command.worker_failed", extra={"key": key})
            return True

    async def _follow(self, name: Lane, lane: _Queue, key: int) -> None:
        await self._carried(key, until_free=False)
        self._ended(name, lane, key)

    def _ended(self, name: Lane, lane: _Queue, key: int) -> None:
        """A command is final; those that waited for this one are in front again."""
        self._known.discard(key)
        if lane.turn != key:
            return
        lane.turn = None
        lane.waiting.extendleft(reversed(lane.held))
        lane.held.clear()
        if self._closing:
            return
        if lane.waiting:
            self._wake(name, lane)
        elif self._lanes.get(name) is lane and (lane.worker is None or lane.worker.done()):
            del self._lanes[name]

    def _hold(self, lane: _Queue, one: _Waiting) -> None:
        lane.held.append(one)
        if one.row.expires_ms is not None:
            self._spawn(self._expire(lane, one), f"expire-{one.key}")

    async def _expire(self, lane: _Queue, one: _Waiting) -> None:
        """Who waits for days is told in time that it was in vain."""
        await self._clock.sleep(max(0.0, self._carrier.rest_s(one.row)))
        if one in lane.held:
            lane.held.remove(one)
            await self._carried(one.key, until_free=False)
            self._known.discard(one.key)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)
