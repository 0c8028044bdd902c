"""Who is next: one command at a time per device, in the order of taking, each carried to its end by the carrier."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from bridge.flow.carrier import Carrier
from bridge.store.protocols import JournalRow, Store

log = logging.getLogger("bridge.commands")

Lane = tuple[str, str | None]
"""(account, device); None for commands of the account itself."""


@dataclass(slots=True)
class _Queue:
    keys: deque[int] = field(default_factory=deque)
    worker: asyncio.Task[None] | None = None


class Dispatcher:
    """Starts with what the journal holds unfinished, then takes what the admission hands over."""

    def __init__(self, store: Store, carrier: Carrier) -> None:
        self._store = store
        self._carrier = carrier
        self._lanes: dict[Lane, _Queue] = {}
        self._follows: set[asyncio.Task[None]] = set()
        self._known: set[int] = set()
        self._closing = False

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
        # one that the vendor works on passes its lane too: the carrier knows whether it lets the next one go on
        lane = self._lanes.setdefault((row.account, row.device), _Queue())
        lane.keys.append(row.key)
        if lane.worker is None or lane.worker.done():
            name = f"commands-{row.account}/{row.device or ''}"
            lane.worker = asyncio.get_running_loop().create_task(
                self._work((row.account, row.device), lane), name=name
            )

    def under_way(self) -> int:
        """How many commands are not final."""
        return len(self._known)

    async def aclose(self, grace_s: float) -> None:
        """Stops taking commands; lets what is being sent come to an answer for at most `grace_s`. What is not
        finished stays in the journal as it is."""
        self._closing = True
        tasks = [lane.worker for lane in self._lanes.values() if lane.worker is not None]
        tasks += list(self._follows)
        tasks = [task for task in tasks if not task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, name: Lane, lane: _Queue) -> None:
        while lane.keys and not self._closing:
            key = lane.keys.popleft()
            try:
                finished = await self._carrier.carry(key, until_sent=True)
            except Exception:
                log.exception("command.worker_failed", extra={"key": key})
                finished = True
            if finished:
                self._known.discard(key)
            else:
                self._spawn_follow(key)
        if self._lanes.get(name) is lane and not lane.keys:
            del self._lanes[name]

    def _spawn_follow(self, key: int) -> None:
        task = asyncio.get_running_loop().create_task(self._follow(key), name=f"follow-{key}")
        self._follows.add(task)
        task.add_done_callback(self._follows.discard)

    async def _follow(self, key: int) -> None:
        try:
            await self._carrier.carry(key)
        except Exception:
            log.exception("command.follow_failed", extra={"key": key})
        self._known.discard(key)
