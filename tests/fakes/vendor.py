"""A vendor that does what a test tells it, and keeps its own ledger of what really happened at its devices.

It outlives a crash of the gateway, as a vendor does. `effects` is the truth against which at-most-once is judged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from bridge.domain.command import (
    AfterLoss,
    CommandSpec,
    Evidence,
    Follow,
    NoParams,
    Order,
    Outcome,
    Params,
    Preview,
    Status,
)
from bridge.domain.device import Device, DeviceKind
from bridge.domain.errors import (
    AuthFailed,
    DeviceOffline,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    Rejection,
    VendorError,
)
from bridge.domain.interlocks import Act, Deed
from bridge.domain.observation import Batch, Observation, Origin, Reading, Value
from bridge.domain.text import Json
from bridge.ports import Clock, Effect, History, PollTask, PushDoor

ACCOUNT = "home"
VENDOR = "fake"


class Breaker(Params):
    state: Literal["on", "off"]


class Valve(Params):
    state: Literal["open", "close"]


class Pulse(Params):
    delay_s: int = Field(ge=1, le=900)


class Recharge(Params):
    charge_value: Decimal = Field(gt=0)
    note: str | None = None


class Registration(Params):
    device_sn: str = Field(pattern="^D")


class Threshold(Params):
    amps: int = Field(ge=1, le=125)
    trip: bool = True


class Again(Params):
    of: str | int


class Frame(Params):
    hex: str


def _bad_frame(order: Order) -> None:
    if order.params.hex != "55AA":
        raise Rejection("bad_frame", "the header is wrong")


def _switching(params: Breaker) -> AfterLoss:
    again = 1 if params.state == "off" else 0
    return AfterLoss((5.0, 20.0, 60.0), again, otherwise=Status.TIMED_OUT, message="no answer, not as wanted")


def _switched(params: Breaker) -> Evidence:
    return Evidence("switch_state", params.state)


def _valve_seen(params: Valve) -> Evidence:
    return Evidence("valve_state", "open" if params.state == "open" else "closed")


def _switching_act(params: Breaker) -> Sequence[Act]:
    return (Act(Deed.SWITCH_ON if params.state == "on" else Deed.SWITCH_OFF),)


def _pulse_acts(params: Pulse) -> Sequence[Act]:
    return (Act(Deed.SWITCH_ON), Act(Deed.SWITCH_OFF, after_s=params.delay_s))


_READ_AGAIN = AfterLoss(send_again=2, otherwise=Status.TIMED_OUT, message="no answer, asked three times")
_VALVE_FOLLOW = Follow((10.0, 30.0), then_every_s=60.0, until_s=600.0)


DEVICE_COMMANDS: Mapping[str, CommandSpec] = {
    spec.name: replace(spec, direct=spec.writes)
    for spec in (
        CommandSpec(
            "breaker", "switches", Breaker, after_loss=_switching, evidence=_switched, acts=_switching_act
        ),
        CommandSpec("pulse_on", "pulses", Pulse, idempotent=False, acts=_pulse_acts),
        CommandSpec("read", "reads", writes=False, after_loss=lambda _params: _READ_AGAIN),
        CommandSpec(
            "recharge",
            "moves money",
            Recharge,
            idempotent=False,
            needs_id=True,
            after_loss=lambda _params: AfterLoss((5.0, 60.0)),
            acts=lambda params: (Act(Deed.RECHARGE, params.charge_value),),
        ),
        CommandSpec(
            "valve",
            "turns a valve, asynchronously",
            Valve,
            evidence=_valve_seen,
            after_loss=lambda _params: AfterLoss((5.0,), otherwise=Status.FAILED),
            follow=lambda _device: _VALVE_FOLLOW,
            acts=lambda params: (Act(Deed.VALVE_OPEN if params.state == "open" else Deed.VALVE_CLOSE),),
        ),
        CommandSpec(
            "calibrate",
            "asynchronous, and nothing else meanwhile",
            NoParams,
            exclusive=True,
            follow=lambda _device: _VALVE_FOLLOW,
        ),
        CommandSpec(
            "restart",
            "restarts",
            idempotent=False,
            after_loss=lambda _params: AfterLoss(wait_s=120.0, message="it did not report back"),
            evidence=lambda _params: Evidence(events=frozenset({"online", "registered"})),
        ),
        CommandSpec("ask", "queues a question: it only reads, and it leaves", writes=False),
        CommandSpec(
            "again",
            "has an earlier command repeated",
            Again,
            idempotent=False,
            repeats=lambda params: [params.of],
        ),
        CommandSpec("wipe", "forgets everything", dangerous=True),
        CommandSpec(
            "threshold",
            "sets a threshold",
            Threshold,
            dangerous_if=lambda params: None if params.trip else "it switches a protection off",
            after_loss=lambda _params: AfterLoss(send_again=1, otherwise=Status.TIMED_OUT),
        ),
        CommandSpec("frame", "sends a frame", Frame, check=_bad_frame),
    )
}


class HistorySpan(Params):
    start: str
    end: str
    interval_s: int | None = None


HISTORY_COMMAND = CommandSpec("history", "reads the past", HistorySpan, writes=False)

ACCOUNT_COMMANDS: Mapping[str, CommandSpec] = {
    spec.name: spec
    for spec in (
        CommandSpec("refresh_inventory", "reads the inventory", writes=False),
        CommandSpec(
            "register", "registers a device", Registration, targets=lambda params: [params.device_sn]
        ),
        CommandSpec("sweep", "changes devices that it does not name", targets=lambda _params: None),
    )
}


@dataclass(frozen=True)
class Done:
    """Something that really happened at a device."""

    id: str
    command: str
    device: str | None
    params: dict[str, Json]


@dataclass
class Script:
    """What one call does. `before` and `after` are raised before the request leaves, or instead of its answer;
    `acts`: whether the device did it; `slow_s`: how long the answer takes; `outcome`: what is answered."""

    before: Exception | None = None
    after: Exception | None = None
    acts: bool = True
    slow_before_s: float = 0.0
    slow_s: float = 0.0
    hangs: bool = False
    outcome: Outcome | None = None
    queues: Json = None
    """The name of a task that the vendor makes, whether or not its answer arrives; it bears the command's id."""


def lost(*, acted: bool) -> Script:
    """No answer, whether or not the device did it."""
    return Script(after=LostAnswer("no answer", native_code=504), acts=acted)


def not_sent() -> Script:
    """No connection: noticed when the journal already says that it leaves, as an HTTP client does."""
    return Script(after=NotSent("cannot connect"), acts=False)


def never_left(error: Exception | None = None) -> Script:
    """It fails before anything leaves."""
    return Script(before=error or NotSent("cannot connect"), acts=False)


def refused() -> Script:
    return Script(after=Refused("a schedule holds it", code="device_refused", native_code=2), acts=False)


def offline() -> Script:
    return Script(after=DeviceOffline("the device is off line", native_code=1002), acts=False)


def auth_failed() -> Script:
    return Script(after=AuthFailed("refused", native_code=1006), acts=False)


def rate_limited(retry_after_s: float) -> Script:
    error = RateLimited("too many", retry_after_s=retry_after_s, native_code=429)
    return Script(after=error, acts=False)


def hangs(*, acted: bool) -> Script:
    """The request is out and the answer never comes."""
    return Script(acts=acted, hangs=True)


def taken(ref: Json) -> Script:
    """The vendor takes it and works on it; `FakeVendor.tasks[ref]` is what a probe is told."""
    return Script(acts=False, outcome=Outcome(Status.SENT, vendor_ref=ref))


def queued(ref: Json, *, answered: bool) -> Script:
    """The vendor makes a task that does it; a probe finds it by the command's id."""
    if answered:
        return Script(queues=ref, outcome=Outcome(Status.SENT, vendor_ref=ref))
    return Script(queues=ref, after=LostAnswer("no answer", native_code=504))


@dataclass
class FakeVendor:
    """Implements `ports.VendorAdapter`. `will` scripts the next calls of a command, in order; without a script all
    goes well. A probe tells the truth unless `probe_error` or `answers_probes` is set."""

    clock: Clock
    devices: list[Device] = field(default_factory=list)
    effects: list[Done] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    answered: dict[str, Status] = field(default_factory=dict)
    probed: list[str] = field(default_factory=list)
    previewed: list[str] = field(default_factory=list)
    states: dict[str, dict[str, Value]] = field(default_factory=dict)
    tasks: dict[Json, Outcome | None] = field(default_factory=dict)
    task_of: dict[str, Json] = field(default_factory=dict)
    answers_probes: bool = True
    probe_error: Exception | None = None
    under_way: dict[str, int] = field(default_factory=dict)
    most_under_way: dict[str, int] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    scripts: dict[str, deque[Script]] = field(default_factory=dict)
    on_effect: Callable[[Done], None] = lambda _done: None
    push: PushDoor | None = None
    history: History | None = None
    polls: list[Batch | VendorError] = field(default_factory=list)

    def will(self, command: str, *scripts: Script) -> None:
        self.scripts.setdefault(command, deque()).extend(scripts)

    def times(self, command_id: str) -> int:
        """How often a command really took effect."""
        return sum(done.id == command_id for done in self.effects)

    def commands(self, device: Device | None) -> Mapping[str, CommandSpec]:
        if device is not None and self.history is not None:
            return {**DEVICE_COMMANDS, "history": HISTORY_COMMAND}
        return ACCOUNT_COMMANDS if device is None else DEVICE_COMMANDS

    async def execute(self, order: Order, effect: Effect) -> Outcome:
        self.executed.append(order.id)
        self.orders.append(order)
        lane = order.device.native_id if order.device else ""
        self.under_way[lane] = self.under_way.get(lane, 0) + 1
        self.most_under_way[lane] = max(self.most_under_way.get(lane, 0), self.under_way[lane])
        try:
            outcome = await self._play(order, effect, self._next_script(order.spec.name))
        finally:
            self.under_way[lane] -= 1
        if order.spec.name == "refresh_inventory" and outcome.status is Status.SUCCEEDED:
            outcome = replace(outcome, inventory=self.devices)
        self.answered[order.id] = outcome.status
        return outcome

    def _next_script(self, command: str) -> Script:
        waiting = self.scripts.get(command)
        return waiting.popleft() if waiting else Script()

    async def _play(self, order: Order, effect: Effect, script: Script) -> Outcome:
        if script.slow_before_s:
            await self.clock.sleep(script.slow_before_s)
        if script.before is not None:
            raise script.before
        if order.spec.writes or order.spec.name == "ask":
            await effect.leaving(
                {"method": "POST", "url": "https://vendor.example.invalid/send", "body": order.id}
            )
        if script.queues is not None:
            self.tasks.setdefault(script.queues, None)
            self.task_of[order.id] = script.queues
        if script.acts:
            self._act(order)
        if script.slow_s:
            await self.clock.sleep(script.slow_s)
        if script.hangs:
            await asyncio.get_running_loop().create_future()
        if script.after is not None:
            raise script.after
        if script.outcome is not None:
            if script.outcome.status is Status.SENT:
                self.tasks.setdefault(script.outcome.vendor_ref, None)
            return script.outcome
        return Outcome(Status.SUCCEEDED, vendor_code=0, observations=self._seen(order))

    def _act(self, order: Order) -> None:
        if not order.spec.writes:
            return
        device = order.device.native_id if order.device else None
        done = Done(order.id, order.spec.name, device, order.params.model_dump(exclude_unset=True))
        self.effects.append(done)
        if order.spec.name == "breaker" and device is not None:
            self.states.setdefault(device, {})["switch_state"] = order.params.state
        if order.spec.name == "valve" and device is not None:
            word = "open" if order.params.state == "open" else "closed"
            self.states.setdefault(device, {})["valve_state"] = word
        self.on_effect(done)

    def _seen(self, order: Order) -> Sequence[Observation]:
        if order.device is None:
            return ()
        device, now = order.device.native_id, self.clock.now()
        if order.spec.name == "breaker":
            return (Reading(device, now, Origin.COMMAND, {"switch_state": order.params.state}),)
        if order.spec.name == "read":
            known = dict(self.states.get(device, {})) or {"voltage": 230}
            return (Reading(device, now, Origin.COMMAND, known),)
        return ()

    async def probe(self, order: Order) -> Outcome | None:
        self.probed.append(order.id)
        if self.probe_error is not None:
            raise self.probe_error
        if not self.answers_probes:
            return None
        if order.vendor_ref is not None and order.vendor_ref in self.tasks:
            return self.tasks[order.vendor_ref]
        if order.id in self.task_of:
            ref = self.task_of[order.id]
            return self.tasks[ref] or Outcome(Status.SENT, vendor_ref=ref)
        if order.spec.name == "recharge":
            return Outcome(Status.SUCCEEDED) if self.times(order.id) else None
        if order.spec.name == "breaker" and order.device is not None:
            present = self.states.get(order.device.native_id, {}).get("switch_state")
            if present == order.params.state:
                return Outcome(Status.SUCCEEDED, observations=self._seen(order))
        return None

    def preview(self, order: Order) -> Preview:
        self.previewed.append(order.id)
        body = {"command": order.spec.name, "key": "***", **order.params.model_dump(mode="json")}
        return Preview("POST", "https://vendor.example.invalid/send", body=body)

    async def inventory(self) -> Sequence[Device]:
        return list(self.devices)

    def poll_tasks(self, devices: Sequence[Device]) -> Sequence[PollTask]:
        return [PollTask(f"read:{one.native_id}", 60.0, devices=(one.native_id,)) for one in devices]

    async def poll(self, task: PollTask) -> AsyncIterator[Batch]:
        while self.polls:
            batch = self.polls.pop(0)
            if isinstance(batch, VendorError):
                raise batch
            yield batch

    async def check(self) -> str:
        return "credentials accepted"


def device(native_id: str, **fields: Any) -> Device:
    """A breaker of the fake vendor."""
    given: dict[str, Any] = {"kind": DeviceKind.BREAKER, "metrics": ("switch_state", "voltage"), **fields}
    return Device(ACCOUNT, VENDOR, native_id, **given)
