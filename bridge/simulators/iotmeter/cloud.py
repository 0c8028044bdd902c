"""The simulated platform: a fleet that wakes up now and then, its queue, its pushes, what a test may do to it.

Single-threaded: every method runs to its end inside the event loop. Pushes leave by `pushes`, later.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from bridge.domain import text
from bridge.simulators.faults import FaultPlan
from bridge.simulators.iotmeter import wire
from bridge.simulators.iotmeter.ctrlapi import Account, ControlDesk, Sessions
from bridge.simulators.iotmeter.dataapi import DataStore
from bridge.simulators.iotmeter.meter import Meter
from bridge.simulators.iotmeter.pushes import DEVICE_ALARM, DEVICE_EVENT, METER_DATA, REPORT, Push, Pushes
from bridge.simulators.iotmeter.tasks import Task, TaskQueue
from bridge.simulators.ledger import CallLog, Ledger
from bridge.simulators.process import cancelled
from bridge.simulators.simtime import SimTime, paced

__all__ = ["Account", "IotMeterCloud"]

_BURST_STEP_M3 = 0.001


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: `endpoint` as `MeterData/GetRealModel`, `name` what follows it in the path."""

    endpoint: str
    name: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What an alarm or an event tells, when it was (None: now), and whether it is pushed."""

    code: Any
    content: str = ""
    data: Any = None
    at_s: float | None = None
    push: bool = True


@dataclass(slots=True)
class Burst:
    """Readings pushed at a rate. Each `std_sum` is above the last one of its device: every body is unique."""

    n: int
    planned: int
    pushes: list[tuple[str, float, Push]] = field(default_factory=list)
    done: bool = False

    def as_json(self) -> dict[str, Any]:
        rows = [
            {"device": device, "std_sum": total, "accepted": push.accepted, "status": push.status}
            for device, total, push in self.pushes
        ]
        return {"burst": self.n, "planned": self.planned, "done": self.done, "readings": rows}


class IotMeterCloud:
    """State of the platform. Tokens live `token_life_s`. `reports`: the end of each task is pushed."""

    def __init__(
        self,
        account: Account,
        devices: Iterable[str],
        *,
        time: SimTime,
        rng: random.Random,
        rtus: Iterable[str] = (),
        push_url: str = "",
        retry_s: float = 2.0,
        wake_every_s: float = 60.0,
        token_life_s: float = 7200.0,
        reports: bool = True,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self.account = account
        self.time = time
        self.reports = reports
        self.refuse_by_body = False
        self.fleet: dict[str, Meter] = {}
        for number, device_type in [*((n, 1) for n in devices), *((n, 2) for n in rtus)]:
            meter = Meter(number, time.now(), device_type)
            meter.options.wake_every_s = wake_every_s
            meter.next_wake_s = time.now() + wake_every_s
            self.fleet[number] = meter
        self.ledger = Ledger()
        self.calls = CallLog()
        self.faults = FaultPlan(rng)
        self.queue = TaskQueue(account.company_no)
        self.data = DataStore(account.company_no, self.fleet)
        self.desk = ControlDesk(self.queue, self._note_task)
        self.sessions = Sessions(rng, token_life_s)
        headers = {"company_no": account.company_no, "data_api_key": account.api_key}
        self.pushes = Pushes(time, headers, url=push_url, retry_s=retry_s, client=client)
        self.bursts: list[Burst] = []
        self._running: set[asyncio.Task[None]] = set()
        for meter in self.fleet.values():
            if meter.device_type == 1:
                meter.take_reading(time.now())

    # answering ----------------------------------------------------------------------------------------------------

    def answer(self, ask: Ask, request: int) -> tuple[int, dict[str, Any]]:
        """Does what call number `request` asks; HTTP status and JSON answer."""
        self.tick()
        is_data = ask.endpoint in self.data.endpoints()
        try:
            if ask.endpoint == "Account/Login":
                return 200, self._login(ask, request)
            if not (self._has_key(ask) if is_data else self._has_token(ask)):
                return self._denied()
            body = wire.body_of(ask.headers.get("content-type", ""), ask.body)
            if is_data:
                return 200, self.data.answer(ask.endpoint, ask.name, ask.query, body)
            return 200, self.desk.answer(ask.endpoint, ask.name, ask.query, body, request)
        except wire.Malformed as error:
            return 200, wire.bad(None, f"参数错误: {error}")

    def _login(self, ask: Ask, request: int) -> dict[str, Any]:
        if set(ask.query) != {"loginName", "pwd"} or ask.body not in (b"", b"{}"):
            raise wire.Malformed("login takes loginName and pwd in the query, and no body")
        if (ask.query["loginName"], ask.query["pwd"]) != (self.account.login_name, self.account.digest):
            return wire.bad(None, "用户名或密码错误")
        token, ends_s = self.sessions.open(self.time.real())
        self.ledger.add(self.time.real(), "", "login", "", request)
        return wire.good(
            {
                "token": token,
                "expiration": wire.seven_digits(ends_s),
                "admin_id": 1,
                "company_no": self.account.company_no,
                "admin_name": self.account.login_name,
                "admin_remark": "test",
                "admin_ext_data": '{"a": "b"}',
            }
        )

    def _has_key(self, ask: Ask) -> bool:
        sent = (ask.headers.get("company_no"), ask.headers.get("data_api_key"))
        return sent == (self.account.company_no, self.account.api_key)

    def _has_token(self, ask: Ask) -> bool:
        return self.sessions.knows(ask.headers.get("token", ""), self.time.real())

    def _denied(self) -> tuple[int, dict[str, Any]]:
        page = wire.bad(None, "token或密钥无效，请重新登录")
        return (200 if self.refuse_by_body else 401), page

    def _note_task(self, task: Task, effect: str, request: int) -> None:
        detail = f"{task.ctrl_id} {task.fields['ctrl_define_no']} {task.suffix}"
        self.ledger.add(self.time.real(), task.target, effect, detail, request)
        if effect == "task_cancelled":
            self._report(task)

    # what happens by itself ---------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Lets simulated time take effect: wake-ups, time-outs, repeated pushes."""
        now_s = self.time.now()
        for meter in self.fleet.values():
            if now_s < meter.next_wake_s:
                continue
            missed = (now_s - meter.next_wake_s) // max(0.001, meter.options.wake_every_s)
            meter.next_wake_s += (missed + 1) * meter.options.wake_every_s
            if not meter.options.asleep:
                self._wake(meter)
        for task in self.queue.overdue(now_s):
            self._end(task, 6, "{}", "任务超时")
        self.pushes.tick()

    def _wake(self, meter: Meter) -> None:
        """The meter executes what waits for it, then tells its reading."""
        now_s = self.time.now()
        meter.advance(now_s)
        for task in list(self.queue.open_for(meter.comm_no)):
            if now_s < task.ends_s:
                self._execute(meter, task)
        if meter.device_type == 1:
            self.pushes.post(meter.comm_no, METER_DATA, meter.take_reading(now_s))

    def _execute(self, meter: Meter, task: Task) -> None:
        done = meter.execute(task.suffix, text.loads(task.fields["ctrl_data"]))
        if done.effect:
            detail = f"{done.detail} task {task.ctrl_id}".strip()
            self.ledger.add(self.time.real(), meter.comm_no, done.effect, detail, 0)
        if meter.options.deaf:
            task.state = 1
            return
        self._end(task, done.state, text.dumps(dict(done.returned)).decode(), "")

    def _end(self, task: Task, state: int, returned: str, feedback: str) -> None:
        task.state, task.returned, task.feedback = state, returned, feedback
        self._report(task)

    def _report(self, task: Task) -> None:
        if self.reports:
            self.pushes.post(task.target, REPORT, [task.report()])

    # What a test or a demo does to the platform. An unknown device or task is a KeyError. ---------

    def wake(self, device: str) -> None:
        """The device wakes up now."""
        self._wake(self.fleet[device])

    def wake_all(self) -> None:
        for device in self.fleet:
            self.wake(device)

    def settle(self, ctrl_id: int, state: int, returned: str = "{}", *, report: bool = True) -> None:
        """A task gets this state, whatever it was: a late success, a state that the page does not list."""
        task = self.queue.get(ctrl_id)
        if task is None:
            raise KeyError(ctrl_id)
        task.state, task.returned = state, returned
        if report:
            self._report(task)

    def foreign(self, device: str, suffix: str, data: Mapping[str, Any] | None = None) -> int:
        """Somebody else queues a task at the platform."""
        now_s = self.time.now()
        fields = {
            "processor_name": "iotmeterv1",
            "ctrl_define_no": "by-hand",
            "target_comm_no": self.fleet[device].comm_no,
            "target_devtype": 1,
            "ctrl_time": wire.spaced(now_s),
            "ctrl_timeout": wire.spaced(now_s + 86_400),
            "ctrl_type": f"iotmeterv1.{suffix}",
            "ctrl_data": text.dumps(dict(data or {})).decode(),
        }
        task = self.queue.add(wire.task_of(fields, self.desk.processors))
        self._note_task(task, "task_queued", 0)
        return task.ctrl_id

    def alarm(self, device: str, code: Any, content: str = "", data: Any = None, **how: Any) -> None:
        """The device raises an alarm; `at_s`: when (default now); `push` False: only the list knows it."""
        self._occur("alarm", DEVICE_ALARM, device, Occurrence(code, content, data, **how))

    def event(self, device: str, code: Any, content: str = "", data: Any = None, **how: Any) -> None:
        """As `alarm`."""
        self._occur("event", DEVICE_EVENT, device, Occurrence(code, content, data, **how))

    def _occur(self, word: str, path: str, device: str, told: Occurrence) -> None:
        now_s = self.time.now()
        fields = {"received_s": now_s, "code": told.code, "content": told.content, "data": told.data or {}}
        at_s = now_s if told.at_s is None else told.at_s
        message = self.data.note(word, self.fleet[device], at_s, fields)
        if told.push:
            self.pushes.post(device, path, message)

    def configure(self, device: str, **options: Any) -> None:
        """Sets fields of `Options`. Raises ValueError for another name or type."""
        for name, value in options.items():
            self.fleet[device].options.set(name, value)

    def set_state(self, device: str, **state: Any) -> None:
        """Sets what the device is: `valve_open`, `account_open`, `remain`, `battery_v`, `forced`, `remote_times`,
        `remote_total`; anything else goes into its `ext_data`."""
        meter = self.fleet[device]
        for name, value in state.items():
            kinds = {"valve_open": bool, "account_open": bool, "forced": bool, "remote_times": int}
            if name in kinds:
                if type(value) is not kinds[name]:
                    raise ValueError(f"{name} has the wrong type")
                setattr(meter, name, value)
            elif name in ("remain", "battery_v", "remote_total"):
                setattr(meter, name, float(value))
            else:
                meter.flags[name] = value

    def start_burst(
        self, rate: float, seconds: float, *, devices: Iterable[str] | None = None
    ) -> tuple[Burst, asyncio.Task[None]]:
        """Pushes `rate` × `seconds` readings, taking the meters in turn; the task ends when all were tried."""
        meters = [number for number, meter in self.fleet.items() if meter.device_type == 1]
        chosen = [self.fleet[number] for number in (meters if devices is None else devices)]
        if rate <= 0 or seconds <= 0:
            raise ValueError("rate and seconds must be positive")
        if not self.pushes.url:
            raise ValueError("there is no URL to push to")
        burst = Burst(len(self.bursts) + 1, max(1, round(rate * seconds)))
        self.bursts.append(burst)
        task = asyncio.create_task(self._run_burst(burst, rate, chosen), name=f"simulator:burst:{burst.n}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return burst, task

    async def aclose(self) -> None:
        """Ends the bursts and drops the pushes that wait."""
        await cancelled(self._running)
        await self.pushes.aclose()

    async def _run_burst(self, burst: Burst, rate: float, chosen: list[Meter]) -> None:
        async for index in paced(self.time, rate, burst.planned if chosen else 0):
            meter = chosen[index % len(chosen)]
            meter.std_sum = round(meter.std_sum + _BURST_STEP_M3, 3)
            record = meter.take_reading(self.time.now())
            lane = f"{meter.comm_no}#{burst.n}"
            push = self.pushes.post(meter.comm_no, METER_DATA, record, lane=lane, burst=burst.n)
            if push is not None:
                burst.pushes.append((meter.comm_no, record["std_sum"], push))
        await self.pushes.settled()
        burst.done = True
