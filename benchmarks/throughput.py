"""`python -m benchmarks.throughput` (`make bench`): pushes through the gateway and through other ways, side by side.

Each contender is a process of its own, the load and Mosquitto are others; only 127.0.0.1. See README.md here.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.contenders import nodered
from benchmarks.processes import HOST, Process, bytes_written, free_port, python, start_broker, usage

SECRET = "FAKE-push-secret-0000"
CONTENDERS = ("gateway", "reference", "naive", "node-red")


@dataclass(slots=True)
class Run:
    """What one contender did in one round."""

    rate: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_us: float = 0.0
    paced_answer_p99_ms: float = 0.0
    paced_arrival_p99_ms: float = 0.0
    others: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Outage:
    """What the gateway did without its broker, and after."""

    rate: float = 0.0
    cpu_us: float = 0.0
    waiting: int = 0
    drain_rate: float = 0.0
    drain_cpu_us: float = 0.0
    bytes_per_push: float = 0.0


class Bench:
    """One broker, and contenders one after the other."""

    def __init__(self, folder: Path, seconds: float, paced_seconds: float, meters: int) -> None:
        self.folder = folder
        self.seconds = seconds
        self.paced_seconds = paced_seconds
        self.meters = meters
        self._count = 0

    def run(self, name: str) -> Run:
        """One round of a contender. Raises nodered.Unavailable."""
        folder = self._folder(name)
        with ExitStack() as stack:
            port, broker_port = free_port(), free_port()
            stack.callback(start_broker(folder, broker_port).end)
            process = self._start(name, folder, port, broker_port)
            stack.callback(process.end)
            url = f"http://{HOST}:{port}/push/gas/{SECRET}"
            wait_http(port)
            self._load(url, seconds=1)
            before = usage(process.child.pid)
            told = self._load(url, seconds=self.seconds)
            after = usage(process.child.pid)
            assert before is not None
            assert after is not None
            paced = self._load(
                url, seconds=self.paced_seconds, rate=200, extra=["--subscribe", str(broker_port)]
            )
            return Run(
                told["rate"],
                told["p50_ms"],
                told["p99_ms"],
                (after.cpu_s - before.cpu_s) * 1e6 / max(1, told["taken"]),
                paced["p99_ms"],
                paced["arrival_p99_ms"],
                told["others"] | paced["others"],
            )

    def outage(self) -> Outage:
        """The gateway without its broker: to disk, and the draining afterwards."""
        folder = self._folder("outage")
        with ExitStack() as stack:
            port, broker_port = free_port(), free_port()
            process = self._start("gateway", folder, port, broker_port)
            stack.callback(process.end)
            wait_http(port)
            url = f"http://{HOST}:{port}/push/gas/{SECRET}"
            self._load(url, seconds=1)
            pid = process.child.pid
            cpu_s, written = cpu_of(pid), bytes_written(pid)
            told = self._load(url, seconds=self.seconds)
            out = Outage(told["rate"], (cpu_of(pid) - cpu_s) * 1e6 / max(1, told["taken"]))
            out.bytes_per_push = (bytes_written(pid) - written) / max(1, told["taken"])
            out.waiting = int(waiting(port))
            cpu_s = cpu_of(pid)
            stack.callback(start_broker(folder, broker_port).end)
            samples = list(draining(port))
            out.drain_cpu_us = (cpu_of(pid) - cpu_s) * 1e6 / max(1, out.waiting)
            out.drain_rate = steepest(samples, out.waiting)
            return out

    def written(self, rate: float, seconds: float) -> float:
        """Bytes that the process gives to the disk per push, at a rate, with a connected broker."""
        folder = self._folder("written")
        with ExitStack() as stack:
            port, broker_port = free_port(), free_port()
            stack.callback(start_broker(folder, broker_port).end)
            process = self._start("gateway", folder, port, broker_port)
            stack.callback(process.end)
            wait_http(port)
            url = f"http://{HOST}:{port}/push/gas/{SECRET}"
            self._load(url, seconds=2)  # now every meter is known
            time.sleep(3)
            before = bytes_written(process.child.pid)
            told = self._load(url, seconds=seconds, rate=rate)
            time.sleep(1)
            return (bytes_written(process.child.pid) - before) / max(1, told["taken"])

    def _folder(self, name: str) -> Path:
        self._count += 1
        folder = self.folder / f"{self._count}-{name}"
        folder.mkdir(parents=True)
        return folder

    def _start(self, name: str, folder: Path, port: int, broker_port: int) -> Process:
        if name == "gateway":
            file = folder / "config.yaml"
            file.write_text(yaml.safe_dump(gateway_configuration(folder, port, broker_port)))
            return Process(name, folder, python("-m", "bridge", "run", "-c", str(file)))
        if name == "node-red":
            return Process(name, folder, nodered.command(folder, port, broker_port))
        return Process(
            name, folder, python("-m", f"benchmarks.contenders.{name}", str(port), str(broker_port))
        )

    def _load(
        self, url: str, *, seconds: float, rate: float = 0.0, extra: Sequence[str] = ()
    ) -> dict[str, Any]:
        arguments = ["-m", "benchmarks.platform", url, "--seconds", str(seconds), "--rate", str(rate)]
        self._count += 1
        arguments += ["--meters", str(self.meters), "--first", str(self._count * 10_000_000), *extra]
        load = Process(f"load-{self._count}", self.folder, python(*arguments))
        try:
            return dict(json.loads("{" + load.wait_line("{", seconds + 90)))
        finally:
            load.end()


def gateway_configuration(folder: Path, port: int, broker_port: int) -> dict[str, Any]:
    """One account, everything as it comes."""
    return {
        "mqtt": {"url": f"mqtt://{HOST}:{broker_port}"},
        "http": {"listen": f"{HOST}:{port}"},
        "state": {"url": f"sqlite://{folder}/state.db"},
        "log": {"level": "warning"},
        "accounts": [
            {
                "id": "gas",
                "vendor": "iotmeter",
                "data": {
                    "base_url": f"http://{HOST}:{free_port()}",
                    "company_no": "1001",
                    "api_key": "FAKE-key",
                },
                "push": {"secret": SECRET},
                "poll": "1d",
            }
        ],
    }


def wait_http(port: int, timeout_s: float = 60.0) -> None:
    """Until somebody listens there. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nobody listens on port {port}")


def cpu_of(pid: int) -> float:
    """CPU seconds so far."""
    used = usage(pid)
    return used.cpu_s if used else 0.0


def waiting(port: int) -> float:
    """Messages in the gateway's outbox."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("meterbridge_outbox_messages{"))


def class_counts(port: int, klass: str) -> dict[str, float]:
    """The gateway's account of one class: `messages` that wait, `taken_total`, `published_total` and so on."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    mark = f'{{class="{klass}"}}'
    return {
        line.partition(mark)[0].removeprefix("meterbridge_outbox_"): float(line.split()[-1])
        for line in lines
        if line.startswith("meterbridge_outbox_") and mark in line
    }


def draining(port: int) -> Iterator[tuple[float, float]]:
    """(time, messages that wait), a few times a second until none do."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        left = waiting(port)
        yield time.monotonic(), left
        if left == 0:
            return
        time.sleep(0.2)


def steepest(samples: Sequence[tuple[float, float]], total: int) -> float:
    """Messages a second from the first look that saw fewer to the last."""
    moving = [index for index, (_, left) in enumerate(samples) if left < total]
    if not moving:
        return 0.0
    begin = max(0, moving[0] - 1)
    seconds = samples[-1][0] - samples[begin][0]
    return (samples[begin][1] - samples[-1][1]) / seconds if seconds else 0.0


@contextmanager
def _folder(chosen: str) -> Iterator[Path]:
    if chosen:
        Path(chosen).mkdir(parents=True, exist_ok=True)
        yield Path(chosen)
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        yield Path(made)


def main() -> None:
    """Runs and prints; `--json FILE` keeps the numbers."""
    chosen = _arguments()
    names = [name for name in CONTENDERS if name in chosen.only.split(",")]
    runs: dict[str, list[Run]] = {name: [] for name in names}
    report: dict[str, Any] = {}
    with _folder(chosen.folder) as folder:
        bench = Bench(folder, chosen.seconds, chosen.paced_seconds, chosen.meters)
        for number in range(chosen.rounds):
            for name in list(runs):
                try:
                    runs[name].append(bench.run(name))
                except nodered.Unavailable as reason:
                    print(f"node-red is left out: {reason}", flush=True)
                    del runs[name]
                else:
                    print(f"round {number + 1}: {name}: {runs[name][-1]}", flush=True)
        if "gateway" in names and not chosen.no_outage:
            report["outage"] = bench.outage()
            report["written"] = {rate: bench.written(rate, 10) for rate in (1, 10, 100, 1000)}
    _print(runs, report)
    if chosen.json:
        Path(chosen.json).write_text(json.dumps({"runs": runs, **report}, default=_plain, indent=1))


def _plain(value: Any) -> Any:
    return {name: getattr(value, name) for name in value.__slots__}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--paced-seconds", type=float, default=10.0)
    parser.add_argument("--meters", type=int, default=256)
    parser.add_argument("--only", default=",".join(CONTENDERS), help="contenders, with commas")
    parser.add_argument("--no-outage", action="store_true")
    parser.add_argument("--folder", default="")
    parser.add_argument("--json", default="", metavar="FILE")
    return parser.parse_args()


def _print(runs: dict[str, list[Run]], report: dict[str, Any]) -> None:
    medians = {
        name: {
            column: statistics.median(getattr(run, column) for run in mine)
            for column in Run.__slots__
            if column != "others"
        }
        for name, mine in runs.items()
        if mine
    }
    print("\npush → durable or PUBACK → answer, 64 connections, medians")
    heads = ("pushes/s", "p50 ms", "p99 ms", "CPU µs", "at 200/s: answer p99", "arrival p99 ms")
    print(f"{'':12}" + "".join(f"{head:>22}" for head in heads))
    for name, values in medians.items():
        print(f"{name:12}" + "".join(f"{value:22.1f}" for value in values.values()))
    mine = medians.get("gateway")
    for name, values in medians.items():
        if mine and name != "gateway":
            print(
                f"gateway / {name}: {mine['rate'] / values['rate']:.2f} × the rate;"
                f" {mine['paced_arrival_p99_ms'] / max(0.001, values['paced_arrival_p99_ms']):.2f} × the p99 of arrival"
                f" and {mine['paced_answer_p99_ms'] / max(0.001, values['paced_answer_p99_ms']):.2f} × of the answer"
            )
    if "outage" in report:
        out = report["outage"]
        print(
            f"\nbroker away: {out.rate:.0f} pushes/s to disk ({out.cpu_us:.0f} µs CPU, {out.bytes_per_push:.0f} bytes"
            f" written per push); {out.waiting} messages drained at {out.drain_rate:.0f}/s"
            f" ({out.drain_cpu_us:.0f} µs CPU each)"
        )
        for rate, size in report["written"].items():
            print(f"bytes written per push at {rate}/s, broker connected: {size:.0f}")


if __name__ == "__main__":
    main()
