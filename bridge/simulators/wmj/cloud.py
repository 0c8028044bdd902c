"""The simulated WMJ cloud: a fleet, who is bound, what was asked, what happened, what a test may do to it.

Single-threaded: every method runs to its end inside the event loop. Callbacks leave by `deliveries`, later.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from bridge.domain import text
from bridge.simulators.deliveries import Deliveries, Delivery
from bridge.simulators.faults import FaultPlan
from bridge.simulators.ledger import CallLog, Ledger
from bridge.simulators.process import cancelled
from bridge.simulators.simtime import SimTime, paced
from bridge.simulators.wmj import commands, wire
from bridge.simulators.wmj.callbacks import callback
from bridge.simulators.wmj.device import ALARMS, Breaker, Happening
from bridge.simulators.wmj.wire import Ask

_BURST_STEP_KWH = 0.01


@dataclass(frozen=True, slots=True)
class Account:
    """The developer account that the cloud knows."""

    app_id: str
    app_secret: str = field(repr=False)


@dataclass(slots=True)
class Burst:
    """Reports sent at a rate. `deliveries` are in order of sending; each `total_electricity` is above the
    last one of its device, so every body is unique."""

    n: int
    planned: int
    deliveries: list[tuple[str, str, Delivery]] = field(default_factory=list)
    done: bool = False

    def accepted(self) -> list[tuple[str, str]]:
        """(device, total_electricity) of the reports that were answered with success."""
        return [(sn, total) for sn, total, delivery in self.deliveries if delivery.accepted]

    def as_json(self) -> dict[str, Any]:
        rows = [
            {
                "device": sn,
                "total_electricity": total,
                "accepted": delivery.accepted,
                "status": delivery.status,
            }
            for sn, total, delivery in self.deliveries
        ]
        return {"burst": self.n, "planned": self.planned, "done": self.done, "reports": rows}


class WmjCloud:
    """State of the cloud and its devices. `enforce` (n, seconds): more calls than that get HTTP 429."""

    def __init__(
        self,
        account: Account,
        devices: Iterable[str],
        *,
        time: SimTime,
        rng: random.Random,
        callback_url: str = "",
        retry: bool = False,
        bound: bool = True,
        enforce: tuple[int, float] | None = None,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self.account = account
        self.time = time
        self.fleet = {sn: Breaker(sn, time.now(), rng) for sn in devices}
        self.bound: set[str] = set(self.fleet) if bound else set()
        self.enforce = enforce
        self.ledger = Ledger()
        self.calls = CallLog()
        self.faults = FaultPlan(rng)
        self.deliveries = Deliveries(time, url=callback_url, retry=retry, client=client)
        self.bursts: list[Burst] = []
        self._running: set[asyncio.Task[None]] = set()
        self._msg_id = 0

    def limited(self) -> bool:
        """Whether the call just opened is one too many."""
        if self.enforce is None:
            return False
        most, window_s = self.enforce
        return self.calls.recent(self.time.real() - window_s) > most

    def answer(self, ask: Ask, request: int) -> dict[str, Any]:
        """Does what call number `request` asks and gives the JSON answer."""
        if (ask.app_id, ask.app_secret) != (self.account.app_id, self.account.app_secret):
            return wire.failure(wire.DENIED)
        device = self.fleet.get(ask.device_sn)
        if device is None:
            return wire.failure(wire.NOT_REGISTERED)
        self._advance(device)
        if ask.endpoint == "register":
            return self._register(device, request)
        if device.sn not in self.bound:
            return wire.failure(wire.NOT_REGISTERED)
        if ask.endpoint == "logout":
            self.bound.discard(device.sn)
            self._note(device, "unregistered", "", request)
            return {"code": 0, "msg": "ok"}
        if ask.endpoint == "getOnLine":
            return {"code": 0, "data": {"on_line": int(device.online)}}
        if not device.online:
            return wire.failure(wire.OFF_LINE)
        return self._send(device, ask, request)

    def _register(self, device: Breaker, request: int) -> dict[str, Any]:
        if device.sn in self.bound:
            return wire.failure(wire.ALREADY_REGISTERED)
        self.bound.add(device.sn)
        self._note(device, "registered", "", request)
        return {"code": 0, "msg": "注册成功"}

    def _send(self, device: Breaker, ask: Ask, request: int) -> dict[str, Any]:
        done = commands.execute(device, ask.cmd_type, ask.info, self.time.now())
        if done.effect:
            self._note(device, done.effect, done.detail, request)
        self._tell(device, done.happened)
        self._msg_id += 1
        return wire.reply(device, ask.cmd_type, done, self._msg_id)

    def _note(self, device: Breaker, effect: str, detail: str, request: int) -> None:
        self.ledger.add(self.time.real(), device.sn, effect, detail, request)

    def tick(self) -> None:
        """Lets simulated time take effect on every device: timers, protection, periodic reports."""
        for device in self.fleet.values():
            self._advance(device)

    def _advance(self, device: Breaker) -> None:
        self._tell(device, device.advance(self.time.now()))

    def _tell(self, device: Breaker, happened: Iterable[Happening]) -> None:
        for happening in happened:
            if happening.kind == "switch" and not (happening.trip or device.options.on_off_callback):
                continue
            # An unbound device is none of our account's business, and an off-line one cannot say anything.
            if device.sn in self.bound and (device.online or happening.kind == "offline"):
                self._post(device, happening)

    def _post(
        self, device: Breaker, happening: Happening, *, lane: str = "", burst: int = 0
    ) -> Delivery | None:
        cmd, body = callback(device, happening, self.time.now())
        page = text.dumps(body).decode()
        if device.options.escape_slash:
            page = page.replace("/", "\\/")
        return self.deliveries.post(device.sn, cmd, page, lane=lane, burst=burst)

    # What a test or a demo does to the cloud. An unknown serial number is a KeyError.

    def trip(self, sn: str, alarm: str) -> None:
        """The protection `alarm` (a key of ALARMS) of a device responds, whatever is measured."""
        if alarm not in ALARMS:
            raise ValueError(f"no such alarm: {alarm!r}; there are {', '.join(ALARMS)}")
        self._do(sn, lambda device: device.trip(alarm))

    def go_offline(self, sn: str, *, power_cut: bool = False) -> None:
        now_s = self.time.now()
        self._do(sn, lambda device: device.lose_power(now_s) if power_cut else device.go_offline())

    def go_online(self, sn: str) -> None:
        """Connects the device, or connects it anew: OnLine and dev_reg follow."""
        self._do(sn, Breaker.go_online)

    def hold_by_schedule(self, sn: str, *, on: bool = False, index: int = 0) -> None:
        """A schedule takes the switch: `turnon` and `turnoff` are refused with 2 until `release`."""
        self._do(sn, lambda device: device.hold(on, index))

    def release(self, sn: str) -> None:
        self.fleet[sn].release()

    def set_load(self, sn: str, watts: float | None) -> None:
        """A consumption from now on (None: the believable one), which may trip at once."""
        self.impose(sn, watts=watts)

    def impose(self, sn: str, **conditions: float | None) -> None:
        """Sets fields of `Conditions`; the protection looks at them at once."""
        device = self.fleet[sn]
        self._advance(device)
        for name, value in conditions.items():
            if name not in ("watts", "volts", "celsius", "leakage_ma"):
                raise ValueError(f"no such condition: {name!r}")
            setattr(device.conditions, name, value)
        self._advance(device)

    def configure(self, sn: str, **options: Any) -> None:
        """Sets fields of `Options`. Raises ValueError for another name or type."""
        for name, value in options.items():
            self.fleet[sn].options.set(name, value)

    async def burst(
        self,
        rate: float,
        seconds: float,
        *,
        devices: Iterable[str] | None = None,
        parallel: int = 1,
    ) -> Burst:
        """Sends `rate` × `seconds` reports, taking the devices (None: all that are bound) in turn, and
        returns when the last is answered or given up. A device's reports are in order unless `parallel` lanes
        share them.
        """
        burst, task = self.start_burst(rate, seconds, devices=devices, parallel=parallel)
        await task
        return burst

    def start_burst(
        self, rate: float, seconds: float, *, devices: Iterable[str] | None = None, parallel: int = 1
    ) -> tuple[Burst, asyncio.Task[None]]:
        """As `burst`, in the background; the task ends with the last answer."""
        chosen = [self.fleet[sn] for sn in (sorted(self.bound) if devices is None else devices)]
        if parallel < 1:
            raise ValueError("parallel must be at least 1")
        if rate <= 0 or seconds <= 0:
            raise ValueError("rate and seconds must be positive")
        if not self.deliveries.url:
            raise ValueError("there is no callback URL")
        burst = Burst(len(self.bursts) + 1, max(1, round(rate * seconds)))
        self.bursts.append(burst)
        task = asyncio.create_task(
            self._run_burst(burst, rate, chosen, parallel), name=f"simulator:burst:{burst.n}"
        )
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return burst, task

    async def aclose(self) -> None:
        """Ends the bursts and drops the callbacks that wait."""
        await cancelled(self._running)
        await self.deliveries.aclose()

    async def _run_burst(self, burst: Burst, rate: float, chosen: list[Breaker], parallel: int) -> None:
        async for index in paced(self.time, rate, burst.planned if chosen else 0):
            device = chosen[index % len(chosen)]
            self._advance(device)
            device.energy_kwh = round(device.energy_kwh + _BURST_STEP_KWH, 2)
            lane = f"{device.sn}#{index // len(chosen) % parallel}" if parallel > 1 else ""
            delivery = self._post(device, Happening("report"), lane=lane, burst=burst.n)
            if delivery is not None:
                burst.deliveries.append((device.sn, str(commands.rounded(device.energy_kwh)), delivery))
        await self.deliveries.settled()
        burst.done = True

    def _do(self, sn: str, act: Callable[[Breaker], Iterable[Happening]]) -> None:
        device = self.fleet[sn]
        self._advance(device)
        self._tell(device, act(device))
