"""The charts of the status page over a restart: now and then the latest numbers go to disk, a row per account.

A quarter of an hour is about what a chart of one day shows of a point, and little for an SD card: a row holds some 30
bytes, compressed, for each device that has told something new.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Collection

from bridge.domain.errors import StoreError
from bridge.domain.text import dumps, restored
from bridge.domain.times import unix_ms
from bridge.ports import Clock
from bridge.store.protocols import Store, Tx
from bridge.web.board import Board
from bridge.web.series import DAY_S

EVERY_S = 900.0

log = logging.getLogger("bridge.web")


class ChartKeeper:
    """Keeps on disk what the board's charts hold of the last day."""

    def __init__(self, store: Store, board: Board, clock: Clock) -> None:
        self._store = store
        self._board = board
        self._clock = clock

    async def recall(self, account: str, devices: Collection[str]) -> None:
        """Puts what was kept of these devices onto the board, which has nothing of them yet. Raises StoreError."""
        now_s = self._clock.now().timestamp()
        for body in await self._store.run(lambda tx: tx.charts.of_account(account)):
            try:
                kept = restored(zlib.decompress(body))
                for device, (at_s, numbers) in kept.items():
                    if device in devices and at_s <= now_s:  # the clock may have been wrong then
                        self._board.recall(account, device, int(at_s), numbers)
            except (zlib.error, ValueError, TypeError, AttributeError) as error:
                log.warning("page.chart_not_understood", extra={"account": account, "reason": str(error)})
            await asyncio.sleep(0)

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await self._clock.sleep(EVERY_S)
            try:
                await self.keep()
            except StoreError as error:
                log.error("page.charts_not_kept", extra={"reason": str(error)})

    async def keep(self) -> None:
        """Writes what is new since the last time, and forgets what is older than a day. Raises StoreError: then it is
        still new."""
        fresh = self._board.fresh()
        rows: dict[str, bytes] = {}
        for account in {account for account, _ in fresh}:
            news = {device: self._board.latest(name, device) for name, device in fresh if name == account}
            rows[account] = zlib.compress(dumps(news))
            await asyncio.sleep(0)
        at_ms = unix_ms(self._clock.now())

        def work(tx: Tx) -> None:
            for account, body in rows.items():
                tx.charts.put(account, at_ms, body)
            # also what a clock that was wrong put into the future
            tx.charts.forget_outside(at_ms - DAY_S * 1000, at_ms)

        try:
            await self._store.run(work)
        except StoreError:
            self._board.still_fresh(fresh)
            raise
