"""What is read again and again (page iammeter, sections 3, 4.8, 7.2): all meters in one call, or one by one.

Invariant: a poll never waits for its slot. One that finds none ends at once and says when there will be one, so that
a meter whose limit is used up holds nobody else up.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta

from bridge.domain.account import AccountPolicy
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import BadReply, LostAnswer, Refused
from bridge.domain.observation import Batch, Observation, Origin, Reading
from bridge.pace.limits import Lane
from bridge.ports import PollTask
from bridge.vendorkit.settings import AccountSettings
from bridge.vendorkit.spec import Kit
from bridge.vendors.iammeter import codec, history, requests
from bridge.vendors.iammeter.api import IammeterApi
from bridge.vendors.iammeter.codec import Sample
from bridge.vendors.iammeter.faults import UNKNOWN_METER, Forbidden, WrongShape
from bridge.vendors.iammeter.latest import Latest
from bridge.vendors.iammeter.notes import Notes
from bridge.vendors.iammeter.privacy import published
from bridge.vendors.iammeter.requests import Ask
from bridge.vendors.iammeter.rows import Layout
from bridge.vendors.iammeter.settings import ALL_LATEST, DAY_S, HOUR_S, LATEST, IammeterSettings
from bridge.vendors.iammeter.zones import Zones

SLACK_S = 1.0
"""Slots are counted when a call leaves, at the vendor when it arrives: a poll keeps clear of the very edge."""

FASTEST_S = 300.0
PACE_S = FASTEST_S + SLACK_S
"""Twelve an hour, and not a thirteenth because one call travelled faster than another."""

_WHOLE_WINDOW = 0.802
"""What one run of `metersdata` counts in the plan. The planner leaves a fifth of a shared window to commands; no
command uses this one, so all of it may be planned."""

_LOOK_AGAIN_S = HOUR_S + SLACK_S
"""How soon it is looked whether a meter that rests still does: a command that reads it ends that."""

_SPREAD_S = 5.0
_CLOCKS_CHANGED = timedelta(hours=4, minutes=10)
_SPREAD_OFFSETS_S = 600
_ZONE_RETRY_S = 60.0
_OUT_S = DAY_S
_SITE_DAYS = timedelta(days=1)

Runs = Mapping[str, Callable[[PollTask, str], AsyncIterator[Batch]]]


class Polling:
    """The poll tasks of one account."""

    def __init__(
        self,
        api: IammeterApi,
        latest: Latest,
        notes: Notes,
        zones: Zones,
        settings: IammeterSettings,
        kit: Kit,
    ) -> None:
        self._api = api
        self._latest = latest
        self._notes = notes
        self._zones = zones
        self._settings = settings
        self._policy = kit.policy
        self._log: logging.Logger = kit.log
        self._now = kit.clock.now
        self._sites: list[str] = []
        self._runs: Runs = {
            "metersdata": lambda task, _: self._all_meters(task),
            "meter": lambda _, sn: self._meter(sn),
            "spare": lambda _, sn: self._spare(sn),
            "offset": lambda _, sn: self._offset(sn),
            "site": lambda _, site: self._site(site),
        }

    def tasks(self, devices: Sequence[Device]) -> list[PollTask]:
        """One task for all meters where there are several, with a spare one each for a cloud that cannot do that;
        their offsets once a day, which the common answer does not tell. Sites once an hour."""
        meters = [one.native_id for one in devices if one.kind is not DeviceKind.SOLAR_PLANT]
        sites = [one.native_id for one in devices if one.kind is DeviceKind.SOLAR_PLANT]
        self._sites = sites
        tasks = [PollTask(f"site:{site}", HOUR_S, devices=(site,), lane="inventory") for site in sites]
        if len(meters) == 1:
            return [self._one("meter", meters[0]), *tasks]
        if meters:
            interval_s = self._settings.poll if self._settings.poll < FASTEST_S else self._paced_s()
            tasks.append(PollTask("metersdata", interval_s, {ALL_LATEST: _WHOLE_WINDOW}, tuple(meters)))
        for index, sn in enumerate(meters):
            tasks.append(self._one("spare", sn))
            first_in_s = _SPREAD_S * (1 + index)
            tasks.append(PollTask(f"offset:{sn}", DAY_S, {LATEST: 1.0}, (sn,), first_in_s=first_in_s))
        return tasks

    def run(self, task: PollTask) -> AsyncIterator[Batch]:
        """As `VendorAdapter.poll`."""
        kind, _, key = task.key.partition(":")
        return self._runs[kind](task, key)

    def _one(self, kind: str, sn: str) -> PollTask:
        return PollTask(
            f"{kind}:{sn}", self._paced_s(LATEST), {LATEST: 1.0}, (sn,), wanted_s=self._settings.poll
        )

    def _paced_s(self, limit: str = "") -> float:
        """The wanted interval, as far as the vendor's limit per meter (or the account's own, lower one) allows."""
        own = self._settings.limits.get(limit)
        count, seconds = AccountSettings.rate(own) if own is not None else (1, 0.0)
        return max(self._settings.poll, PACE_S, seconds / count)

    async def _all_meters(self, task: PollTask) -> AsyncIterator[Batch]:
        ask = requests.all_latest()
        if self._notes.rest_s(ALL_LATEST) > 0:
            return  # the spare tasks read the meters
        if (wait_s := self._api.wait_s(ask, Lane.POLL)) > 0:
            yield Batch([], next_in_s=wait_s + SLACK_S)
            return
        batch = await self._common(ask, task.devices)
        if batch is not None:
            yield batch
            return
        for sn in task.devices:
            async for one in self._meter(sn):
                yield one

    async def _common(self, ask: Ask, meters: Sequence[str]) -> Batch | None:
        """All meters by one call; None if they are to be read one by one this time (section 3)."""
        layout = self._settings.metersdata_layout
        try:
            told = await self._api.get(ask, Lane.POLL)
            samples = codec.all_latest(told.data, None if layout == "auto" else Layout(layout))
        except (BadReply, Refused) as error:
            if isinstance(error, WrongShape):
                self._notes.rest(ALL_LATEST, _OUT_S)
            elif isinstance(error, Refused):
                self._notes.refused(ALL_LATEST)
            self._log.warning(
                "poll.one_by_one", extra={"account": self._policy.account, "reason": error.message}
            )
            return None
        self._notes.well(ALL_LATEST)
        seen: list[Observation] = []
        for sn in meters:
            seen += self._observed(sn, samples.get(sn), told.received_at)
        return Batch(seen + self._of_sites(told.received_at))

    async def _spare(self, sn: str) -> AsyncIterator[Batch]:
        if self._notes.rest_s(ALL_LATEST) > 0:
            async for batch in self._meter(sn):
                yield batch

    async def _meter(self, sn: str) -> AsyncIterator[Batch]:
        if (idle_s := self._idle_s(sn, self._latest.ask(sn))) > 0:
            yield Batch([], next_in_s=min(_LOOK_AGAIN_S, idle_s))
            return
        try:
            sample, received_at = await self._latest.read(sn, Lane.POLL)
        except Refused as error:
            yield self._unknown(sn, error)
            return
        self._notes.well(sn)
        yield Batch([*self._observed(sn, sample, received_at), *self._of_sites(received_at)])

    async def _offset(self, sn: str) -> AsyncIterator[Batch]:
        """Phases and UTC offset only: what the meter measures comes with all the others. Clocks are changed in the
        first hours of a day, so the next look is after those: a changed offset is known when the day begins."""
        ask = requests.latest(sn, advanced=False, shared=self._settings.share_latest_budget)
        if (idle_s := self._idle_s(sn, ask)) > 0:
            yield Batch([], next_in_s=idle_s)
            return
        try:
            sample, _ = await self._latest.read_basic(sn, Lane.POLL)
        except (Forbidden, WrongShape) as error:  # how the account fares the common call tells
            self._log.warning(
                "meter.no_offset", extra={"account": self._policy.account, "reason": error.message}
            )
            return
        except Refused as error:
            yield self._unknown(sn, error)
            return
        except LostAnswer:
            self._notes.lost(f"offset:{sn}")
            yield Batch([], next_in_s=self._notes.rest_s(f"offset:{sn}"))
            raise
        self._notes.well(f"offset:{sn}")
        yield Batch(codec.described(sn, sample, self._policy), next_in_s=self._next_offset_s(sn))

    def _next_offset_s(self, sn: str) -> float | None:
        offset_min = self._notes.offset_min(sn)
        if offset_min is None:
            return None
        local = self._now() + timedelta(minutes=offset_min)
        spread = timedelta(seconds=zlib.crc32(sn.encode()) % _SPREAD_OFFSETS_S)
        since_then = (
            local - local.replace(hour=0, minute=0, second=0, microsecond=0) - _CLOCKS_CHANGED - spread
        )
        return (-since_then.total_seconds()) % DAY_S or DAY_S

    def _idle_s(self, sn: str, ask: Ask) -> float:
        wait_s = self._api.wait_s(ask, Lane.POLL)
        return max(self._notes.rest_s(sn), wait_s + SLACK_S if wait_s > 0 else 0.0)

    def _unknown(self, sn: str, error: Refused) -> Batch:
        """A meter that the account does not have (any more) is asked for once a day, if no command finds it meanwhile.
        Raises any other refusal."""
        if error.code != UNKNOWN_METER:
            self._notes.refused(sn)
            raise error
        self._notes.rest(sn, DAY_S)
        self._log.warning("meter.unknown", extra={"account": self._policy.account, "reason": error.message})
        away = codec.available(sn, online=False, received_at=self._now(), origin=Origin.POLL)
        return Batch([away], next_in_s=_LOOK_AGAIN_S)

    def _observed(self, sn: str, sample: Sample | None, received_at: datetime) -> list[Observation]:
        if sample is None:
            return [self._silent(sn, received_at)]
        self._notes.sampled(sn, sample)
        if sample.measured.unusable:
            self._log.warning("meter.short_rows", extra={"account": self._policy.account, "device": sn})
        online = codec.is_fresh(sample, received_at, self._settings.stale_after)
        online = online or self._is_there(sn, received_at)
        return codec.observed(sn, sample, received_at, Origin.POLL, self._policy, online=online)

    def _silent(self, sn: str, received_at: datetime) -> Observation:
        """A meter that the common answer leaves out: only its last sample tells whether it is there."""
        online = self._is_there(sn, received_at)
        return codec.available(sn, online=online, received_at=received_at, origin=Origin.POLL)

    def _is_there(self, sn: str, at: datetime) -> bool:
        return self._notes.is_there(sn, at, self._settings.stale_after)

    def _of_sites(self, received_at: datetime) -> list[Observation]:
        """A site is on line while any of its meters is."""
        seen: list[Observation] = []
        for site in self._sites:
            if meters := self._zones.meters_of(site):
                online = any(self._is_there(sn, received_at) for sn in meters)
                seen.append(codec.available(site, online=online, received_at=received_at, origin=Origin.POLL))
        return seen

    async def _site(self, site: str) -> AsyncIterator[Batch]:
        """The hours of yesterday and today that are over (4.10)."""
        zone = self._zones.of_site(site)
        if zone is None:
            yield Batch([], next_in_s=_ZONE_RETRY_S)  # a sample of one of its meters will tell
            return
        now = self._now()
        today = now.astimezone(zone).date()
        ask = requests.energy_history(site, (today - _SITE_DAYS, today), "hour")
        if (wait_s := self._api.wait_s(ask, Lane.HISTORY)) > 0:
            yield Batch([], next_in_s=wait_s + SLACK_S)
            return
        try:
            told = await self._api.get(ask, Lane.HISTORY)
            buckets = history.balance(told.data, zone)
        except WrongShape as error:  # a newer end point, which no meter needs
            self._log.warning(
                "site.no_history", extra={"account": self._policy.account, "reason": error.message}
            )
            yield Batch([], next_in_s=DAY_S)
            return
        over = [bucket for bucket in buckets if bucket.start + history.LENGTH["hour"] <= now]
        yield Batch([bucket_reading(site, bucket, told.received_at, self._policy) for bucket in over])


def bucket_reading(
    site: str, bucket: history.Bucket, received_at: datetime, policy: AccountPolicy
) -> Reading:
    """A bucket as a record of `history`."""
    extra = published(bucket.extra, policy)
    return Reading(site, received_at, Origin.BACKFILL, bucket.metrics, observed_at=bucket.start, extra=extra)
