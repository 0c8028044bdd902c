"""The meters of the account, as the last walk over the inventory found them (page jrhsz 4.2).

Missing data are an empty page (Q3), which ends a walk; but meters that are not listed are cleared. So one that takes
meters away counts when the platform counts 0 in all, or when a second walk agrees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import Refused
from bridge.domain.observation import Described, Observation
from bridge.pace.limits import Lane
from bridge.ports import Clock
from bridge.vendorkit.spec import Vault
from bridge.vendors.jrhsz.api import JrhszApi
from bridge.vendors.jrhsz.codec import Codec, Meter, table_no_of
from bridge.vendors.jrhsz.flight import SharedCall
from bridge.vendors.jrhsz.wire import Query, Row

FRESH_S = 60.0
DOUBT_S = 600.0
"""How much later the second list without meters must be."""

ASKED_AGAIN_S = 10.0
"""The same where somebody waits for the answer."""

VAULT_KEY = "listed"
INVENTORY = Query("meterList")


@dataclass(frozen=True, slots=True)
class Walk:
    """One complete walk: the meters that the configuration wants, by number. `at_s` is monotonic."""

    meters: Mapping[str, Meter]
    at_s: float


class DoubtedList(Refused):
    """An empty page takes meters away, and the platform does not say that there are none."""


@dataclass(slots=True)
class Roll:
    """Invariant: a meter that no walk has found has no kind, and its readings wait until one does. `_doubted_at`: when
    the first of the walks came that are not believed (monotonic)."""

    api: JrhszApi
    codec: Codec
    clock: Clock
    vault: Vault
    _doubted_at: float | None = None
    _walk: Walk | None = None
    _told: Walk | None = None
    _described: dict[str, Device] = field(default_factory=dict)
    _shared: SharedCall[Walk] = field(init=False)

    def __post_init__(self) -> None:
        self._shared = SharedCall(self._walked, f"inventory-walk-{self.codec.policy.account}")

    async def read(self) -> Walk:
        """A new walk, or the one that is under way. Raises VendorError."""
        return await self._shared.result()

    async def insist(self) -> Walk:
        """The same for who waits: an empty list is asked for again soon, and then believed."""
        try:
            return await self.read()
        except DoubtedList:
            await self.clock.sleep(ASKED_AGAIN_S)
            self._doubted_at = self.clock.monotonic() - DOUBT_S
            return await self.read()

    async def known(self) -> Walk:
        """The last walk; a new one if there was none. Raises VendorError."""
        return self._walk or await self.read()

    async def untold(self) -> Walk:
        """A walk whose observations were not handed on: the one of a moment ago, or a new one."""
        walk = self._walk
        fresh = walk is not None and self.clock.monotonic() - walk.at_s < FRESH_S
        if walk is None or not fresh or walk is self._told:
            walk = await self.read()
        self._told = walk
        return walk

    def describe(self, walk: Walk) -> list[Device]:
        """The devices of a walk; they count as described from now on."""
        self._described = {name: meter.device for name, meter in walk.meters.items()}
        return list(self._described.values())

    def tell(self, meter: Meter) -> Iterator[Observation]:
        """What is said about a meter, first its description if that is new or another."""
        device = meter.device
        if self._described.get(device.native_id) != device:
            self._described[device.native_id] = device
            yield Described(device)
        yield from meter.observations()

    def kind_of(self, row: Row, walk: Walk) -> DeviceKind | None:
        """The kind of a row's meter; None for one that is unknown or not wanted."""
        meter = walk.meters.get(table_no_of(row) or "")
        return meter.device.kind if meter is not None else None

    async def _walked(self) -> Walk:
        meters: dict[str, Meter] = {}
        numbers: set[str] = set()
        counts_none, entries = False, 0
        async with aclosing(self.api.pages(INVENTORY, Lane.INVENTORY)) as pages:
            async for told in pages:
                counts_none = counts_none or told.counts_none
                entries = told.entries
                for row in told.rows:
                    meter = self.codec.meter(row, told.received_at)
                    if meter is None:
                        continue
                    numbers.add(meter.device.native_id)
                    if self.codec.policy.exposes(meter.device.native_id):
                        meters[meter.device.native_id] = meter
        await self._believe(len(numbers), ends_empty=not (numbers and entries), counts_none=counts_none)
        self._walk = Walk(meters, self.clock.monotonic())
        return self._walk

    async def _believe(self, found: int, *, ends_empty: bool, counts_none: bool) -> None:
        """Raises DoubtedList where an empty page takes meters away. How many there were is kept over restarts."""
        kept = await self.vault.get(VAULT_KEY)
        before = kept if isinstance(kept, int) else 0
        if found < before and ends_empty and not (found == 0 and counts_none):
            now_s = self.clock.monotonic()
            self._doubted_at = now_s if self._doubted_at is None else self._doubted_at
            if now_s - self._doubted_at < DOUBT_S:
                raise DoubtedList(
                    f"the platform lists {found or 'no'} meters, where it listed more before, and ends with an empty "
                    "page: that is believed when it does so again ten minutes later",
                    operation=INVENTORY.endpoint,
                )
        self._doubted_at = None
        if before != found:
            await self.vault.put(VAULT_KEY, found or None)
