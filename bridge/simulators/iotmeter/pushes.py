"""Pushes to the customer's receivers: in order per device, kept for seven days, repeated until they succeed."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from bridge.domain import text
from bridge.simulators.deliveries import Carrier
from bridge.simulators.process import cancelled
from bridge.simulators.simtime import SimTime

METER_DATA = "/api/Data/MeterData/Add"
DEVICE_ALARM = "/api/Data/DeviceAlarm/Add"
DEVICE_EVENT = "/api/Data/DeviceEvent/Add"
REPORT = "/api/Conf/CtrlData/Report"

_KEPT = 200_000
_KEEP_S = 7 * 86_400.0
_GUID = re.compile(r"[A-Za-z0-9+/]{22}==\Z")


@dataclass(slots=True)
class Push:
    """One push. `status` 0: no answer came, `answer` says why. `accepted`: HTTP 200 and `State` success.
    `well_formed`: `Data` is what the page wants from this receiver."""

    n: int
    at: float
    device: str
    path: str
    body: str
    burst: int = 0
    attempts: int = 0
    status: int = 0
    answer: str = ""
    accepted: bool = False
    well_formed: bool = False
    done_at: float | None = None


class Pushes:
    """Sent and waiting pushes. Without a URL nothing is sent and nothing recorded. `retry_s`: pause before a failed
    push is repeated; until then the device's later pushes wait behind it."""

    def __init__(
        self,
        time: SimTime,
        headers: dict[str, str],
        *,
        url: str = "",
        retry_s: float = 2.0,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self.url = url
        self.retry_s = retry_s
        self.report_headers = False
        self.sent: deque[Push] = deque(maxlen=_KEPT)
        self._headers = headers
        self._time = time
        self._carrier = Carrier(client)
        self._count = 0
        self._lanes: dict[str, deque[Push]] = {}
        self._due: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def post(self, device: str, path: str, page: Any, *, lane: str = "", burst: int = 0) -> Push | None:
        """Queues a push behind those of its lane (default: the device); returns its record at once."""
        if not self.url or self._closed:
            return None
        self._count += 1
        push = Push(self._count, self._time.real(), device, path, text.dumps(page).decode(), burst=burst)
        self.sent.append(push)
        lane = lane or device
        self._lanes.setdefault(lane, deque()).append(push)
        if lane not in self._due:
            self._start(lane)
        return push

    def tick(self) -> None:
        """Repeats what failed and is due."""
        now = self._time.real()
        for lane in [lane for lane, due in self._due.items() if due <= now]:
            self._start(lane)

    def repush(self) -> None:
        """Repeats what failed, due or not."""
        for lane in list(self._due):
            self._start(lane)

    def waiting(self) -> int:
        """How many pushes have not succeeded yet."""
        return sum(len(lane) for lane in self._lanes.values())

    async def settled(self) -> None:
        """Returns when nothing is under way; what failed may still wait for its repetition."""
        while self._tasks:
            await asyncio.wait(set(self._tasks.values()))

    async def aclose(self) -> None:
        """Drops what waits and closes the client, unless it was passed in."""
        self._closed = True
        await cancelled(self._tasks.values())
        await self._carrier.aclose()

    def clear(self) -> None:
        self.sent.clear()

    def as_json(self) -> dict[str, Any]:
        return {
            "total": len(self.sent),
            "accepted": sum(push.accepted for push in self.sent),
            "waiting": self.waiting(),
            "deliveries": [asdict(push) for push in self.sent],
        }

    def _start(self, lane: str) -> None:
        if lane in self._tasks:
            return
        self._due.pop(lane, None)
        task = asyncio.create_task(self._drain(lane), name=f"simulator:pushes:{lane}")
        self._tasks[lane] = task
        task.add_done_callback(lambda _task: self._ended(lane))

    def _ended(self, lane: str) -> None:
        self._tasks.pop(lane, None)
        # posted while the drain was ending
        if self._lanes.get(lane) and lane not in self._due and not self._closed:
            self._start(lane)

    async def _drain(self, lane: str) -> None:
        waiting = self._lanes[lane]
        while waiting:
            push = waiting[0]
            await self._attempt(push)
            if not push.accepted and self._time.real() - push.at < _KEEP_S:
                self._due[lane] = self._time.real() + self.retry_s
                return
            push.done_at = self._time.real()
            waiting.popleft()
        self._lanes.pop(lane, None)

    async def _attempt(self, push: Push) -> None:
        headers = self._headers if push.path != REPORT or self.report_headers else {}
        answer = await self._carrier.attempt(push, self.url.rstrip("/") + push.path, headers)
        state, data = _read(answer)
        push.accepted = push.status == 200 and state == "success"
        push.well_formed = push.accepted and _fits(push, data)


def _read(body: bytes) -> tuple[object, Any]:
    try:
        value = text.loads(body)
    except ValueError:
        return None, None
    if not isinstance(value, dict) or set(value) != {"Data", "State", "Message"}:
        return None, None
    return value["State"], value["Data"]


def _fits(push: Push, data: Any) -> bool:
    """Whether `Data` is as 9.1 to 9.4 want it."""
    if push.path == METER_DATA:
        return isinstance(data, str) and bool(_GUID.match(data))
    if push.path != REPORT:
        return type(data) is int and 0 < data < 2**31
    items = text.loads(push.body)
    return (
        isinstance(data, list)
        and [item.get("ctrl_id") for item in data] == [item["ctrl_id"] for item in items]
        and all(set(item) == {"ctrl_id", "meter_comm_no", "result", "message"} for item in data)
    )
