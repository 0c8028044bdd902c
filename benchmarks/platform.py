"""The gas platform as a load: many connections, each pushing the readings of its own meters one after the other.

A push that is not answered with success is kept and sent again, as the vendor does; so per meter the order holds.
`python -m benchmarks.platform URL --seconds 10` pushes as fast as it is answered and prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import paho.mqtt.client as paho

PATH = "/api/Data/MeterData/Add"
RETRY_S = 0.25
FIRST = datetime(2024, 1, 1, tzinfo=UTC)

_BODY = (
    '{"meter_comm_no":"%s","device_type":1,"device_type_name":"iot meter","factory_code":"F001","meter_area_no":"A01",'
    '"meter_define_no1":"U-0001","meter_define_no2":"","meter_define_no3":"","meter_define_no4":"","data_type":0,'
    '"data_type_name":"real time","acquisition_time":"%s","receive_time":"%s","std_sum":%d.000,"work_sum":1234.567,'
    '"std_flow":0.5,"work_flow":0.5,"temperature":18.5,"pressure":101.325,"magatt_times":0,"this_month_sum":12.3,'
    '"last_month_sum":45.6,"this_cycle_sum":57.9,"last_cycle_sum":120.0,"remain_money":88.5,"remain_volume":0.0,'
    '"curr_price":2.63,"meter_state":0,"meter_stat_emsg":"normal","rssi":21,"battery_voltage":3.6,"battery_level":95,'
    '"ext_data":{"rtu_state":0,"rtu_state_msg":"","base_volume":0,"total_buy_value":500,"open_state":true,'
    '"valve_open":true,"power_level":0,"remote_valve_off":false,"apart_valve_off":false,"max_flow_valve_off":false,'
    '"min_flow_valve_off":false,"dead_valve_off":false,"magnetic_attack":false,"ext_power":false,"calc_type":0,'
    '"pulse_fault":false,"battery_cut":false,"force_valve_on":false,"rtu_door_open":false,"rtu_power":false,'
    '"rtu_fence_alarm":false,"rtu_vibrate_alarm":false}}'
)


def reading(meter: str, number: int) -> bytes:
    """The body of a meter's n-th reading: `gas_volume` is n, and its time grows with n (UTC+8, the platform's)."""
    at = FIRST + timedelta(milliseconds=number)
    text = at.isoformat(" ", "milliseconds").partition("+")[0]
    return (_BODY % (meter, text, text, number)).encode()


def meters(count: int) -> list[str]:
    """Communication numbers."""
    return [f"{number:014d}" for number in range(1, count + 1)]


@dataclass(slots=True)
class Pushed:
    """What became of the pushes. `taken`: per meter the numbers that were answered with success, in order."""

    taken: dict[str, list[int]] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    sent_at: dict[tuple[str, int], float] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0

    @property
    def count(self) -> int:
        """How many were answered with success."""
        return sum(len(numbers) for numbers in self.taken.values())

    @property
    def rate(self) -> float:
        """Answered with success per second."""
        return self.count / (self.ended - self.began)


class _Lane(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, load: Load, mine: Sequence[str], offset_s: float) -> None:
        self._load = load
        self._mine = mine
        self._due = load.began + offset_s
        self._turn = 0
        self._sent_at: float | None = None
        self._wire: asyncio.Transport | None = None
        self._buffer = b""
        self._request = b""
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = transport  # type: ignore[assignment] # uvloop's are no subclass
        self._buffer = b""
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.lower().find(b"content-length:", 0, head)
        size = int(self._buffer[at + 15 : self._buffer.index(b"\r\n", at)]) if at >= 0 else 0
        if len(self._buffer) < head + 4 + size:
            return
        status, body = self._buffer[9:12], self._buffer[head + 4 :]
        self._buffer = b""
        if status == b"200" and b"success" in body:
            self._taken()
        else:
            self._load.pushed.others[status.decode(errors="replace")] += 1
            self._timer = self._loop.call_later(RETRY_S, self._send)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire = None
        if self._timer is not None:
            self._timer.cancel()
        if self._load.over() and not self._request:
            self._load.done(self)
            return
        self._load.pushed.others["connection lost"] += 1
        self._timer = self._loop.call_later(RETRY_S, self._connect)

    def open(self) -> None:
        """Connects, and again until it is connected."""
        self._connect()

    def rest(self) -> None:
        """Ends it if nothing is under way."""
        if not self._request:
            self._load.done(self)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.abort()

    def _connect(self) -> None:
        self._load.spawn(self._connecting())

    async def _connecting(self) -> None:
        while not self._load.over() or self._request:
            try:
                await self._loop.create_connection(lambda: self, self._load.host, self._load.port)
            except OSError:
                self._load.pushed.others["not connected"] += 1
                if time.monotonic() > self._load.gives_up_at:
                    return self._load.done(self)
                await asyncio.sleep(RETRY_S)
            else:
                return None
        return self._load.done(self)

    def _next(self) -> None:
        """The push that is under way goes again; else the next one, when it is due."""
        if self._request:
            self._send()
            return
        if self._load.over():
            self._load.done(self)
            return
        wait_s = self._due - time.monotonic()
        if wait_s > 0:
            self._timer = self._loop.call_later(wait_s, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        if self._load.over():
            self._load.done(self)
            return
        meter, number = (
            self._mine[self._turn % len(self._mine)],
            self._turn // len(self._mine) + self._load.first,
        )
        body = self._load.body(meter, number)
        self._request = self._load.head % len(body) + body
        self._sent_at = time.monotonic()
        if self._load.keep_times:
            self._load.pushed.sent_at[meter, number] = self._sent_at
        self._due = self._due + self._load.step_s if self._load.step_s else self._sent_at
        self._send()

    def _send(self) -> None:
        if self._wire is not None:
            self._wire.write(self._request)

    def _taken(self) -> None:
        meter, number = (
            self._mine[self._turn % len(self._mine)],
            self._turn // len(self._mine) + self._load.first,
        )
        pushed = self._load.pushed
        pushed.taken[meter].append(number)
        if self._sent_at is not None:
            pushed.latencies_s.append(time.monotonic() - self._sent_at)
        self._turn += 1
        self._request = b""
        self._next()


class Load:
    """Pushes to one base URL until `stop`, or for so many seconds. `rate` 0: as fast as it is answered."""

    def __init__(
        self,
        url: str,
        meters: Sequence[str],
        *,
        connections: int = 64,
        rate: float = 0.0,
        seconds: float = 0.0,
        first: int = 1,
        body: Callable[[str, int], bytes] = reading,
    ) -> None:
        """`first`: the number of each meter's first reading."""
        parts = urlsplit(url)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)
        self.body = body
        lines = (f"POST {parts.path}{PATH} HTTP/1.1", f"Host: {self.host}", "Content-Type: application/json")
        self.head = ("\r\n".join(lines) + "\r\nContent-Length: %d\r\n\r\n").encode()
        self.first = first
        self._connections = min(connections, len(meters))
        self._meters = list(meters)
        self.step_s = self._connections / rate if rate else 0.0
        self._seconds = seconds
        self._stopped = False
        self._lanes: set[_Lane] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished = asyncio.Event()
        self.began = 0.0
        self.gives_up_at = float("inf")
        self.keep_times = False
        self.pushed = Pushed({meter: [] for meter in meters})

    def over(self) -> bool:
        """Whether no new push begins."""
        return self._stopped or (self._seconds > 0 and time.monotonic() >= self.began + self._seconds)

    def stop(self) -> None:
        """Begins no new push; what is under way is brought to its answer."""
        self._stopped = True

    def spawn(self, work: object) -> None:
        """Runs a coroutine of a lane."""
        task = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type] # a coroutine
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def done(self, lane: _Lane) -> None:
        """A lane has brought its last push to an end."""
        self._lanes.discard(lane)
        lane.close()
        if not self._lanes:
            self._finished.set()

    async def run(self, last_answers_s: float = 30.0) -> Pushed:
        """Until it is over and every push that was begun is answered, at most so long after the end."""
        self.began = self.pushed.began = time.monotonic()
        count = self._connections
        for number in range(count):
            offset_s = self.step_s * number / count
            lane = _Lane(self, self._meters[number::count], offset_s)
            self._lanes.add(lane)
            lane.open()
        while not self.over():
            await asyncio.sleep(0.05)
        self.pushed.ended = time.monotonic()
        self.gives_up_at = time.monotonic() + last_answers_s
        for lane in list(self._lanes):
            lane.rest()
        try:
            async with asyncio.timeout(last_answers_s):
                await self._finished.wait()
        finally:
            for lane in list(self._lanes):
                lane.close()
            for task in list(self._tasks):
                task.cancel()
        return self.pushed


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which this part of the values lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


class _Arrivals:
    """When the messages of the readings came to a subscriber."""

    def __init__(self, port: int) -> None:
        self._came: list[tuple[float, bytes]] = []
        ready = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("+/gas/+/telemetry", qos=0)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = lambda _client, _data, message: self._came.append(
            (time.monotonic(), message.payload)
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        ready.wait(10)

    def latencies_s(self, pushed: Pushed) -> list[float]:
        """From the sending of a push to the arrival of its message, of all that have arrived."""
        time.sleep(1)
        self._client.disconnect()
        self._client.loop_stop()
        found = []
        for at, payload in self._came:
            record = json.loads(payload)
            sent_at = pushed.sent_at.get((record["device"], int(record["metrics"]["gas_volume"])))
            if sent_at is not None:
                found.append(at - sent_at)
        return found


def main() -> None:
    """See the module's first lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.platform", description=__doc__)
    parser.add_argument("url", help="the base URL that the platform is given")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--meters", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="pushes a second; 0: as fast as it is answered"
    )
    parser.add_argument("--first", type=int, default=1, help="the number of each meter's first reading")
    parser.add_argument(
        "--subscribe", type=int, default=0, metavar="PORT", help="also measure the arrival at this broker"
    )
    chosen = parser.parse_args()
    arrivals = _Arrivals(chosen.subscribe) if chosen.subscribe else None

    async def go() -> Pushed:
        load = Load(
            chosen.url,
            meters(chosen.meters),
            connections=chosen.connections,
            rate=chosen.rate,
            seconds=chosen.seconds,
            first=chosen.first,
        )
        load.keep_times = arrivals is not None
        return await load.run()

    try:
        import uvloop

        pushed = uvloop.run(go())
    except ImportError:
        pushed = asyncio.run(go())
    latencies = pushed.latencies_s
    told = {
        "taken": pushed.count,
        "rate": round(pushed.rate, 1),
        "p50_ms": round(percentile(latencies, 0.5) * 1000, 2),
        "p99_ms": round(percentile(latencies, 0.99) * 1000, 2),
        "others": dict(pushed.others),
    }
    if arrivals is not None:
        told["arrival_p99_ms"] = round(percentile(arrivals.latencies_s(pushed), 0.99) * 1000, 2)
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
