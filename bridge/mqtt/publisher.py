"""Outbox → broker: many messages in flight, in the order of taking, confirmed one by one, nothing left behind.

Invariant: a row leaves the outbox only after the broker's PUBACK for it (with a good reason code). After a break of
the connection everything that is not confirmed is sent again from the oldest on, so the order per device holds.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from bridge.contract.publication import Publication
from bridge.domain.errors import StoreError
from bridge.ports import Clock
from bridge.store.protocols import OutboxRow, Store, Tx

log = logging.getLogger("bridge.mqtt")

MEMORY_ROWS = 2000
READ_ROWS = 500
REFUSED_FOR_GOOD = frozenset({0x87, 0x90, 0x95, 0x99, 0x9B})
"""PUBACK reasons that repeating does not change: not authorised, topic, size, payload format, QoS."""
RETRY_S = 1.0
SETTLED_S = 5.0
CAREFUL_AFTER = 2
GIVEN_UP_AFTER = 4
"""A message at which the broker hangs up would hold up all others for ever. After CAREFUL_AFTER connections that
broke within SETTLED_S, messages go one at a time; one that was alone at GIVEN_UP_AFTER breaks in a row is refused."""
UNSPECIFIED = 0x80


class Line(Protocol):
    """One connection to the broker."""

    @property
    def window(self) -> int:
        """How many messages may be unacknowledged at once."""
        ...

    def send(self, publication: Publication) -> int | None:
        """Hands a message to the network; its packet id, or None if the connection is breaking."""
        ...

    def too_large(self, publication: Publication) -> bool:
        """Whether the broker said that it takes no message of this size, or MQTT has no way to say such a topic."""
        ...


@dataclass(slots=True)
class _Notes:
    """What one transaction notes: rows that the broker has, rows that it will never take, commands whose PUBACK it
    certainly has."""

    confirmed: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    certain: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class PublisherCounters:
    """What `/metrics` shows."""

    published: int = 0
    refused: int = 0
    resent: int = 0


class Publisher:
    """Drains the outbox. `attach` and `detach` follow the connection, `run` sends."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._line: Line | None = None
        self._queue: deque[OutboxRow] = deque()
        self._last_queued = 0
        self._behind = True
        self._missed = 0
        self._flying: dict[int, tuple[OutboxRow, int]] = {}
        self._sent_count = 0
        self._sent_upto = 0
        self._confirmed: list[int] = []
        self._given_up: list[int] = []
        self._confirming: set[int] = set()
        self._certain: list[tuple[int, bytes]] = []
        self._acked_commands: deque[tuple[int, int, bytes]] = deque()
        self._hold = False
        self._attached_at = 0.0
        self._breaks = 0
        self._suspect: int | None = None
        self._strikes = 0
        self._wake = asyncio.Event()
        self._confirm_wake = asyncio.Event()
        self.counters = PublisherCounters()
        self.on_refused: Callable[[Publication, int], None] = lambda _publication, _reason: None

    # what the store tells ---------------------------------------------------------------------------------------

    def added(self, rows: Sequence[OutboxRow]) -> None:
        """Rows were committed. Called in the event loop, in the order of their `seq`."""
        if not self._behind and len(self._queue) + len(rows) <= MEMORY_ROWS:
            self._queue.extend(rows)
            self._last_queued = rows[-1].seq if rows else self._last_queued
        else:
            self._behind = True
            self._missed += 1
        self._wake.set()

    def gone(self, seqs: Sequence[int]) -> None:
        """These rows are no longer in the outbox (shed, or superseded): what of them is not sent yet is not sent."""
        if self._queue:
            out = set(seqs)
            self._queue = deque(row for row in self._queue if row.seq not in out)

    # what the connection tells ----------------------------------------------------------------------------------

    def attach(self, line: Line) -> None:
        """A connection stands. What was in flight on the last one goes first."""
        self._line = line
        self._attached_at = self._clock.monotonic()
        self._forget_queue()
        self._wake.set()

    def detach(self) -> None:
        """The connection is gone."""
        if self._line is not None:
            self._blame()
        self._line = None
        self._forget_queue()
        self._acked_commands.clear()
        self._wake.set()

    def acknowledged(self, mid: int, reason: int) -> None:
        """A PUBACK came. `reason` below 0x80 is good (also 0x10, no subscriber)."""
        flight = self._flying.pop(mid, None)
        if flight is None:
            return
        row, number = flight
        if reason >= 0x80:
            self._refused(row, reason)
        else:
            self.counters.published += 1
            self._done(row.seq)
        while self._acked_commands and self._acked_commands[0][0] < number:
            _, command_mid, digest = self._acked_commands.popleft()
            self._certain.append((command_mid, digest))
        self._wake.set()

    def command_acked(self, mid: int, digest: bytes) -> None:
        """A command's PUBACK was written to the connection. Once the broker confirms anything that was sent after
        it, it certainly has it too: bytes do not overtake each other."""
        self._acked_commands.append((self._sent_count, mid, digest))

    # sending ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Sends and confirms until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_sending(), name="publisher-send")
            group.create_task(self._keep_confirming(), name="publisher-confirm")

    async def drain(self, timeout_s: float) -> bool:
        """Waits until everything is confirmed, at most so long; whether it is."""
        deadline = self._clock.monotonic() + timeout_s
        while self._clock.monotonic() < deadline:
            if self.idle():
                return True
            if self._line is None:
                return False
            await self._clock.sleep(0.02)
        return self.idle()

    def idle(self) -> bool:
        """Whether nothing waits to be sent or confirmed."""
        return not (self._queue or self._flying or self._behind or self._confirming)

    def sent_upto(self) -> int:
        """The youngest row that was sent on this connection, 0 without one. May be asked from any thread."""
        return self._sent_upto

    def in_flight(self) -> int:
        """Messages sent and not confirmed."""
        return len(self._flying)

    async def _keep_sending(self) -> None:
        while True:
            self._wake.clear()
            if self._hold:
                self._hold = False
                await self._clock.sleep(RETRY_S)
            if self._line is not None:
                try:
                    await self._fill()
                except StoreError as error:
                    log.error("publisher.store_failed", extra={"reason": str(error)})
                    await self._clock.sleep(RETRY_S)
                    continue
                if self._send_some():
                    await asyncio.sleep(0)  # only gives way
                    continue
            await self._wake.wait()

    def _send_some(self) -> bool:
        """Sends what the window allows; whether there may be more to send at once."""
        line = self._line
        if line is None:
            return False
        window = self._window(line)
        room = min(window - len(self._flying), 100)
        while room > 0 and self._queue:
            row = self._queue.popleft()
            if line.too_large(row.publication):
                self._refused(row, 0x95)
                continue
            mid = line.send(row.publication)
            if mid is None:
                self._queue.appendleft(row)
                return False
            self._sent_count += 1
            self._flying[mid] = (row, self._sent_count)
            self._sent_upto = max(self._sent_upto, row.seq)
            room -= 1
        return room == 0 and len(self._flying) < window and bool(self._queue)

    def _window(self, line: Line) -> int:
        careful = self._breaks >= CAREFUL_AFTER and self._clock.monotonic() - self._attached_at < SETTLED_S
        return 1 if careful else line.window

    def _blame(self) -> None:
        """Counts what was in flight when the connection broke."""
        if not self._flying or self._clock.monotonic() - self._attached_at >= SETTLED_S:
            self._breaks, self._suspect = 0, None
            return
        self._breaks += 1
        if len(self._flying) > 1:
            return
        ((row, _),) = self._flying.values()
        self._strikes = self._strikes + 1 if row.seq == self._suspect else 1
        self._suspect = row.seq
        if self._strikes >= GIVEN_UP_AFTER:
            self._suspect = None
            self._flying.clear()
            self._give_up(row, UNSPECIFIED)

    async def _fill(self) -> None:
        """Reads on from the outbox when memory has run dry and rows were left there."""
        if self._queue or not self._behind:
            return
        self._missed = 0
        after = self._last_queued
        rows = await self._store.run(lambda tx: tx.outbox.read(after, READ_ROWS))
        if self._line is None or self._last_queued != after:
            return
        self._queue.extend(row for row in rows if row.seq not in self._confirming)
        if rows:
            self._last_queued = rows[-1].seq
        if len(rows) < READ_ROWS and not self._missed:
            self._behind = False
        self._wake.set()

    def _forget_queue(self) -> None:
        self.counters.resent += len(self._flying)
        self._queue.clear()
        self._flying.clear()
        self._last_queued = 0
        self._sent_upto = 0
        self._behind = True

    def _refused(self, row: OutboxRow, reason: int) -> None:
        if reason in REFUSED_FOR_GOOD:
            self._give_up(row, reason)
            return
        # quota, or a reason that may pass: again in its place, before what is younger, a little later
        insort(self._queue, row, key=lambda waiting: waiting.seq)
        self._hold = True
        log.warning("publisher.refused", extra={"reason": reason, "topic": row.publication.topic})

    def _give_up(self, row: OutboxRow, reason: int) -> None:
        self.counters.refused += 1
        self._given_up.append(row.seq)
        self._confirming.add(row.seq)
        self._confirm_wake.set()
        self.on_refused(row.publication, reason)

    def _done(self, seq: int) -> None:
        self._confirmed.append(seq)
        self._confirming.add(seq)
        self._confirm_wake.set()

    async def _keep_confirming(self) -> None:
        while True:
            await self._confirm_wake.wait()
            notes = _Notes()
            try:
                # with the next commit, if one comes soon: each writes some pages, perhaps to an SD card
                await self._store.run(partial(self._note, notes), light=True, patient=True)
                self._confirming.difference_update(notes.confirmed)
                self._confirming.difference_update(notes.refused)
            except StoreError as error:
                self._confirmed = [*notes.confirmed, *self._confirmed]
                self._given_up = [*notes.refused, *self._given_up]
                self._certain = [*notes.certain, *self._certain]
                self._confirm_wake.set()
                log.error("publisher.store_failed", extra={"reason": str(error)})
                await self._clock.sleep(RETRY_S)

    def _note(self, notes: _Notes, tx: Tx) -> None:
        """All that came until now, also while this waited for a commit."""
        self._confirm_wake.clear()
        notes.confirmed, self._confirmed = self._confirmed, []
        notes.refused, self._given_up = self._given_up, []
        notes.certain, self._certain = self._certain, []
        tx.outbox.confirm(notes.confirmed)
        if notes.refused:
            tx.outbox.refuse(notes.refused)
        if notes.certain:
            tx.deliveries.settled(notes.certain)
