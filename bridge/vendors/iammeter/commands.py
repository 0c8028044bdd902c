"""The commands of a meter, of a site and of the account (METRICS 4.1 and 4.3, iammeter). All of them only read.

What can be said without asking the vendor is said at admission: a range that is out of bounds would cost budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

from bridge.domain.command import AfterLoss, CommandSpec, Order, Status
from bridge.domain.errors import Rejection
from bridge.domain.times import rfc3339
from bridge.pace.limits import Lane
from bridge.ports import Clock
from bridge.vendors.iammeter import requests
from bridge.vendors.iammeter.api import IammeterApi
from bridge.vendors.iammeter.latest import Latest
from bridge.vendors.iammeter.params import (
    UNSURE,
    AnalysisSpan,
    HistorySpan,
    analysis_days,
)
from bridge.vendors.iammeter.past import Past
from bridge.vendors.iammeter.requests import Ask
from bridge.vendors.iammeter.zones import Zones

_READ_AGAIN = AfterLoss(send_again=2, otherwise=Status.TIMED_OUT, message="no answer, asked three times")
_ONCE = AfterLoss(otherwise=Status.FAILED, message="no answer; not repeated, there are five a day")


@dataclass(frozen=True, slots=True)
class Counter:
    """What is verified when a command comes in. Every method raises Rejection."""

    api: IammeterApi
    latest: Latest
    zones: Zones
    past: Past
    clock: Clock

    def read(self, order: Order) -> None:
        """Only if the meter's limit leaves a slot."""
        self._verify_room(self.latest.ask(serial_of(order)), Lane.READ)

    def power_analysis(self, order: Order) -> None:
        """Only whole days that the vendor has, and only if one of the five is left."""
        self._verify_days(order)
        self._verify_room(requests.power_analysis(serial_of(order), None), Lane.COMMAND)

    def offline_analysis(self, order: Order) -> None:
        """Likewise."""
        self._verify_days(order)
        self._verify_room(requests.offline_analysis(serial_of(order), None, 5), Lane.COMMAND)

    def history(self, order: Order) -> None:
        """Only what the vendor has."""
        self.past.period(order)

    def refresh_inventory(self, _order: Order) -> None:
        """Only if the limit leaves a slot."""
        self._verify_room(requests.sites(), Lane.COMMAND)

    def _verify_days(self, order: Order) -> None:
        zone = self.zones.of_meter(order.device) if order.device is not None else None
        slack = timedelta() if zone is not None else UNSURE
        analysis_days(order.params, zone or UTC, self._now(), slack=slack)

    def _verify_room(self, ask: Ask, lane: Lane) -> None:
        wait_s = self.api.wait_s(ask, lane)
        if wait_s > 0:
            at = rfc3339(self._now() + timedelta(seconds=ceil(wait_s)))
            raise Rejection("rate_limited", f"the vendor's limit is used up; the next slot is at {at}")

    def _now(self) -> datetime:
        return self.clock.now()


def serial_of(order: Order) -> str:
    """The device's id; empty for a command of the account."""
    return order.device.native_id if order.device is not None else ""


def meter_commands(counter: Counter) -> Mapping[str, CommandSpec]:
    """What a meter takes."""
    specs = (
        CommandSpec(
            "read",
            "asks the cloud for the meter's latest sample, within 12 an hour",
            writes=False,
            check=counter.read,
            after_loss=lambda _params: _READ_AGAIN,
        ),
        CommandSpec(
            "history",
            "reads past samples of the latest month",
            params=HistorySpan,
            writes=False,
            check=counter.history,
            after_loss=lambda _params: _READ_AGAIN,
        ),
        CommandSpec(
            "power_analysis",
            "power statistics of up to seven days within the latest month, five times a day; "
            "`interval_min` has no effect",
            params=AnalysisSpan,
            writes=False,
            check=counter.power_analysis,
            after_loss=lambda _params: _ONCE,
        ),
        CommandSpec(
            "offline_analysis",
            "gaps longer than `interval_min` of up to seven days within the latest month, five times a day",
            params=AnalysisSpan,
            writes=False,
            check=counter.offline_analysis,
            after_loss=lambda _params: _ONCE,
        ),
    )
    return {spec.name: spec for spec in specs}


def site_commands(counter: Counter) -> Mapping[str, CommandSpec]:
    """What a site takes."""
    spec = CommandSpec(
        "history",
        "reads the energy balance of past hours, or of days with an `interval_s` of 86400",
        params=HistorySpan,
        writes=False,
        check=counter.history,
        after_loss=lambda _params: _READ_AGAIN,
    )
    return {spec.name: spec}


def account_commands(counter: Counter) -> Mapping[str, CommandSpec]:
    """What the account takes."""
    spec = CommandSpec(
        "refresh_inventory",
        "reads sites and meters anew",
        writes=False,
        check=counter.refresh_inventory,
        after_loss=lambda _params: _READ_AGAIN,
    )
    return {spec.name: spec}
