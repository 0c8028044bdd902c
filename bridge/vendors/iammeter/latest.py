"""The latest sample of one meter: with power factor (page iammeter 4.3) where it can be had, else without (4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bridge.pace.limits import Lane
from bridge.vendors.iammeter import codec, requests
from bridge.vendors.iammeter.api import IammeterApi
from bridge.vendors.iammeter.codec import Sample
from bridge.vendors.iammeter.faults import WrongShape
from bridge.vendors.iammeter.notes import Notes
from bridge.vendors.iammeter.requests import Ask
from bridge.vendors.iammeter.rows import Layout
from bridge.vendors.iammeter.settings import LATEST_ADVANCED


@dataclass(frozen=True, slots=True)
class Latest:
    """Reads meters one by one; `shared` as in the settings."""

    api: IammeterApi
    notes: Notes
    shared: bool

    def ask(self, sn: str) -> Ask:
        """The request that `read` would make first."""
        return requests.latest(sn, advanced=not self._is_only_basic(sn), shared=self.shared)

    async def read(self, sn: str, lane: Lane) -> tuple[Sample, datetime]:
        """The sample and when it was received. Raises VendorError."""
        if not self._is_only_basic(sn):
            try:
                return await self._read(sn, lane, Layout.ADVANCED)
            except WrongShape:
                self.notes.only_basic(LATEST_ADVANCED, sn)
                self.api.refuse_waiting(self.ask(sn), lane)
        return await self._read(sn, lane, Layout.BASIC)

    async def read_basic(self, sn: str, lane: Lane) -> tuple[Sample, datetime]:
        """As `read`, never with power factor."""
        return await self._read(sn, lane, Layout.BASIC)

    def _is_only_basic(self, sn: str) -> bool:
        return self.notes.is_only_basic(LATEST_ADVANCED, sn)

    async def _read(self, sn: str, lane: Lane, layout: Layout) -> tuple[Sample, datetime]:
        ask = requests.latest(sn, advanced=layout is Layout.ADVANCED, shared=self.shared)
        told = await self.api.get(ask, lane)
        sample = codec.latest(told.data, layout)
        self.notes.sampled(sn, sample)
        return sample, told.received_at
