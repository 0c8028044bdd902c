"""A gate on a bench: a clock that the test owns, a ledger in memory, and calls that note when they started."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bridge.domain.errors import StoreError
from bridge.pace.gate import AccountGate, SlotNote
from bridge.pace.limits import Lane, Limit, Window
from tests.fakes.clock import FakeClock


@dataclass
class MemoryLedger:
    """SlotLedger that outlives its gates, as the database outlives its processes."""

    notes: list[SlotNote] = field(default_factory=list)
    failing: bool = False
    stuck: asyncio.Event | None = None

    async def add(self, notes: Sequence[SlotNote]) -> None:
        if self.stuck is not None:
            await self.stuck.wait()
        if self.failing:
            raise StoreError("disk full")
        self.notes.extend(notes)

    async def remove(self, notes: Sequence[SlotNote]) -> None:
        if self.failing:
            raise StoreError("disk full")
        for note in notes:
            self.notes.remove(note)


@dataclass
class Bench:
    """Starts calls; `started` holds (name, seconds of the true time) in the order in which they left, `at_once` how
    many calls of each use were under way together at most."""

    clock: FakeClock
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    started: list[tuple[str, float]] = field(default_factory=list)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    gates: list[AccountGate] = field(default_factory=list)
    at_once: Counter[str] = field(default_factory=Counter)
    under_way: Counter[str] = field(default_factory=Counter)

    def gate(self, *limits: Limit, account: str = "home", **more: object) -> AccountGate:
        gate = AccountGate(account, limits, self.clock, self.ledger, vendor="acme", **more)  # type: ignore[arg-type] # keywords of it
        self.gates.append(gate)
        return gate

    def restarted(self, *limits: Limit, account: str = "home", **more: object) -> AccountGate:
        """The gate of a process that finds what the ledger holds."""
        return self.gate(*limits, account=account, notes=list(self.ledger.notes), fresh=False, **more)

    def call(
        self,
        gate: AccountGate,
        name: str,
        *uses: str,
        lane: Lane = Lane.POLL,
        lasts_s: float = 0.0,
        refund: bool = False,
    ) -> asyncio.Task[None]:
        """A call that waits for its slot, starts, and takes so long. `uses` are `limit` or `limit:key`."""

        async def run() -> None:
            pairs = [(limit, key) for limit, _, key in (use.partition(":") for use in uses or ("calls",))]
            async with gate.slot(pairs, lane) as slot:
                if refund:
                    slot.refund()
                    return
                self.started.append((name, self.clock.monotonic()))
                self.under_way.update(uses)
                self.at_once |= self.under_way
                try:
                    await self.clock.sleep(lasts_s)
                finally:
                    self.under_way.subtract(uses)

        task = asyncio.get_running_loop().create_task(run(), name=name)
        self.tasks[name] = task
        return task

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.started]

    @property
    def times(self) -> list[float]:
        return [at for _, at in self.started]

    async def kill(self) -> None:
        """As a process that is gone: nothing of it runs any more."""
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        for gate in self.gates:
            with contextlib.suppress(asyncio.CancelledError):
                await gate.aclose()
        self.tasks.clear()
        self.gates.clear()


def limit(name: str = "calls", *windows: tuple[int, float], **more: object) -> Limit:
    """A limit with these (count, seconds)."""
    return Limit(
        name, name, str(more.pop("scope", "account")), tuple(Window(*one) for one in windows), **more
    )  # type: ignore[arg-type] # fields of it


def most_in_any(times: Iterable[float], seconds: float) -> int:
    """The largest number of these times in any stretch that long. Times that are apart by the stretch, but for the
    rounding of Unix seconds, are not in one."""
    ordered = sorted(times)
    most = start = 0
    for end, at in enumerate(ordered):
        while at - ordered[start] >= seconds - 1e-5:
            start += 1
        most = max(most, end - start + 1)
    return most
