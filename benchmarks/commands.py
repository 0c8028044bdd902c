"""`python -m benchmarks.commands`: command → vendor → final acknowledgement, against a cloud that answers at once.

Mosquitto, the instant cloud and the gateway are processes of their own on 127.0.0.1; the gateway's journal is on disk
with full sync. Measured: one command outstanding, then 50 devices at once; the same with a slow disk. See README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from benchmarks.caller import Caller, Course, Mqtt
from benchmarks.processes import HOST, Process, free_port, python, start_broker

BASE = "bench"
SECRET = "FAKESECRET0000000000000000000000"
SLOW_US = 20_000
MOST_P50_MS = 5.0
LEAST_PER_S = 2000.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report."""

    who: str
    disk: str
    devices: int
    outstanding: int
    commands: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float

    def text(self) -> str:
        """As it is printed."""
        return (
            f"{self.who:8} {self.disk:14} {self.devices:4} devices {self.outstanding:5} outstanding "
            f"{self.per_s:8.0f}/s  p50 {self.p50_ms:8.2f} ms  p99 {self.p99_ms:8.2f} ms  {self.cpu_us:6.0f} us cpu each"
        )


def main() -> None:
    """Runs all and prints the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commands", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer commands: a look, not a measurement")
    parser.add_argument("--only", default="", help="gateway or naive")
    parser.add_argument("--json", default="", metavar="FILE")
    chosen = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="commands-") as folder:
        shim = _shim(Path(folder))
        for who in ("gateway", "naive"):
            if chosen.only not in ("", who):
                continue
            for disk, env in (("disk", {}), ("fsync +20 ms", shim)):
                place = Path(folder) / f"{who}-{len(rows)}"
                place.mkdir()
                for row in Trial(who, disk, env, place, quick=chosen.quick).run():
                    rows.append(row)
                    print(row.text(), flush=True)
    _compare(rows)
    if chosen.json:
        Path(chosen.json).write_text(
            json.dumps([{name: getattr(row, name) for name in Row.__slots__} for row in rows], indent=1)
        )


def _shim(folder: Path) -> Mapping[str, str]:
    library = folder / "slow_fsync.so"
    source = Path(__file__).with_name("slow_fsync.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "SLOW_FSYNC_US": str(SLOW_US)}


class Trial:
    """One gateway (or the naive reference) on one kind of disk."""

    def __init__(self, who: str, disk: str, env: Mapping[str, str], folder: Path, *, quick: bool) -> None:
        self._who = who
        self._disk = disk
        self._env = env
        self._folder = folder
        self._quick = quick
        self._slow = bool(env)

    def run(self) -> list[Row]:
        """All loads, one after the other."""
        loads = [(1, 1, 100 if self._slow else 1000), (50, 1, 1500 if self._slow else 10_000)]
        if self._who == "gateway":
            loads += [(50, 4, 3000 if self._slow else 10_000), (200, 1, 5000 if self._slow else 10_000)]
        elif self._slow:
            loads = [(1, 1, 30), (50, 1, 150)]
        with ExitStack() as stack:
            return asyncio.run(self._measure(stack, loads))

    async def _measure(self, stack: ExitStack, loads: list[tuple[int, int, int]]) -> list[Row]:
        serials = [f"W71C{number:07d}" for number in range(200)]
        port = free_port()
        broker = start_broker(self._folder, port)
        stack.callback(broker.end)
        cloud = Process("cloud", self._folder, python("-m", "benchmarks.instant"))
        stack.callback(cloud.end)
        url = cloud.wait_line("listening ")
        measured = self._start(port, url, serials)
        stack.callback(measured.end)
        if self._who == "gateway":
            await until_online(port)
        await Caller(port, BASE, serials).run(len(serials), "warm")
        rows = []
        for devices, each, whole in loads:
            count = whole // 10 if self._quick else whole
            before, calls = measured.usage(), _count(url)
            course = await Caller(port, BASE, serials[:devices]).run(count, f"{devices}x{each}", each)
            after = measured.usage()
            if before is None or after is None:
                raise RuntimeError(f"it has ended\n{measured.tail()}")
            self._verify(course, count, _count(url) - calls)
            cpu_us = (after.cpu_s - before.cpu_s) / count * 1e6
            rows.append(_row(self._who, self._disk, devices, each, course, cpu_us))
        return rows

    def _verify(self, course: Course, count: int, effects: int) -> None:
        """A figure of commands that were lost, doubled or failed would be worth nothing."""
        if course.not_succeeded or len(course.took_s) != count or effects != count:
            raise RuntimeError(f"{count} commands: {course.not_succeeded} failed, {effects} effects")

    def _start(self, port: int, url: str, serials: list[str]) -> Process:
        if self._who == "naive":
            arguments = [str(port), url, str(self._folder / "naive.db"), BASE]
            process = Process("naive", self._folder, python("-m", "benchmarks.naive", *arguments), self._env)
            process.wait_line("ready")
            return process
        return start_gateway(self._folder, port, url, serials, env=self._env)


def start_gateway(
    folder: Path,
    port: int,
    url: str,
    serials: Sequence[str],
    *,
    poll: str = "1d",
    limits: Mapping[str, str] = MappingProxyType({"requests": "100000/1s", "device": "100000/1s"}),
    env: Mapping[str, str] = MappingProxyType({}),
) -> Process:
    """The gateway with one wmj account `shop`, and no HTTP server."""
    file = folder / "gateway.yaml"
    account: dict[str, Any] = {
        "id": "shop",
        "vendor": "wmj",
        "base_url": url,
        "app_id": "FAKEAPPID00000000000000000000000",
        "app_secret": SECRET,
        "devices": list(serials),
        "poll": poll,
        "limits": dict(limits),
        "limits_unsafe": True,
    }
    settings = {
        "mqtt": {"url": f"mqtt://{HOST}:{port}", "base_topic": BASE},
        "http": {"listen": "off"},
        "state": {"url": f"sqlite://{folder}/state.db"},
        "accounts": [account],
    }
    file.write_text(yaml.safe_dump(settings))
    command = python("-m", "bridge", "run", "-c", str(file), "--log-level", "warning")
    return Process("gateway", folder, command, env)


async def until_online(port: int) -> None:
    """The gateway's subscriptions stand once it says `online`."""
    online = asyncio.Event()

    def heard(payload: bytes) -> None:
        if payload == b"online":
            online.set()

    loop = asyncio.get_running_loop()
    _, line = await loop.create_connection(lambda: Mqtt("waits", f"{BASE}/bridge/status", heard), HOST, port)
    async with asyncio.timeout(60):
        await online.wait()
    line.close()


def _count(url: str) -> int:
    with urllib.request.urlopen(url.removesuffix("/deviceApi") + "/count", timeout=5) as answer:
        return int(answer.read())


def _row(who: str, disk: str, devices: int, each: int, course: Course, cpu_us: float) -> Row:
    return Row(
        who,
        disk,
        devices,
        devices * each,
        len(course.took_s),
        course.per_s,
        course.percentile_ms(0.5),
        course.percentile_ms(0.99),
        cpu_us,
    )


def _compare(rows: list[Row]) -> None:
    """The targets, and the ratios to the naive reference."""
    by = {(row.who, row.disk, row.outstanding): row for row in rows}
    one, many = by.get(("gateway", "disk", 1)), by.get(("gateway", "disk", 50))
    if one and many:
        print(f"p50 with one outstanding: {one.p50_ms:.2f} ms (target {MOST_P50_MS})")
        print(f"50 devices at once: {many.per_s:.0f}/s (target {LEAST_PER_S:.0f})")
    for (who, disk, outstanding), row in by.items():
        other = by.get(("naive", disk, outstanding))
        if who == "gateway" and other is not None:
            print(
                f"{disk}, {outstanding} outstanding: {row.per_s / other.per_s:.1f} times the naive throughput, "
                f"{other.p50_ms / row.p50_ms:.1f} times shorter"
            )


if __name__ == "__main__":
    main()
