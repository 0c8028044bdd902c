"""`python -m benchmarks.soak --minutes 15`: one gateway under steady pushes, with a broker that goes and comes back.

Prints samples of memory, and says whether it stays flat: the median of the last fifth of the samples must not lie more
than a tenth above that of the second fifth. Every push that was answered must have been published in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import yaml

from benchmarks.platform import Load, Pushed, meters
from benchmarks.processes import HOST, Process, free_port, python, start_broker, usage
from benchmarks.throughput import SECRET, class_counts, gateway_configuration, wait_http

SAMPLE_S = 10.0
GROWTH = 1.10


class Soak:
    """The processes of a soak, and what was seen."""

    def __init__(self, folder: Path, *, minutes: float, rate: float, away_s: float) -> None:
        self.folder = folder
        self.seconds = minutes * 60
        self.rate = rate
        self.away_s = away_s
        self.samples: list[tuple[float, int]] = []

    async def run(self) -> bool:
        """Whether memory stayed flat and nothing is missing."""
        port, broker_port = free_port(), free_port()
        with ExitStack() as stack:
            broker = start_broker(self.folder, broker_port)
            file = self.folder / "config.yaml"
            file.write_text(yaml.safe_dump(gateway_configuration(self.folder, port, broker_port)))
            gateway = Process("gateway", self.folder, python("-m", "bridge", "run", "-c", str(file)))
            stack.callback(gateway.end)
            wait_http(port)
            load = Load(
                f"http://{HOST}:{port}/push/gas/{SECRET}", meters(500), connections=32, rate=self.rate
            )
            pushing = asyncio.create_task(load.run())
            broker = await self._watch(gateway, broker, broker_port)
            load.stop()
            pushed = await pushing
            stack.callback(broker.end)
            missing = await self._missing(port, pushed)
        return self._verdict(pushed, missing)

    async def _watch(self, gateway: Process, broker: Process, broker_port: int) -> Process:
        """Samples; in the middle of every fifth of the time the broker is away for a while."""
        began = time.monotonic()
        outages = [self.seconds * (part + 0.5) / 5 for part in range(5)]
        while (now_s := time.monotonic() - began) < self.seconds:
            used = usage(gateway.child.pid)
            if used is None:
                raise RuntimeError(f"the gateway has ended\n{gateway.tail()}")
            self.samples.append((now_s, used.rss_bytes))
            print(
                f"{now_s:6.0f} s  {used.rss_bytes / 1e6:6.1f} MB  {used.cpu_s:7.1f} s CPU  {used.threads} threads",
                flush=True,
            )
            if outages and now_s >= outages[0]:
                outages.pop(0)
                await asyncio.to_thread(broker.end)
                await asyncio.sleep(self.away_s)
                broker = await asyncio.to_thread(start_broker, self.folder, broker_port)
            await asyncio.sleep(SAMPLE_S)
        return broker

    async def _missing(self, port: int, pushed: Pushed) -> int:
        """Answered pushes whose record was not published."""
        counts: dict[str, float] = {}
        for _ in range(60):
            counts = await asyncio.to_thread(class_counts, port, "telemetry")
            if counts["messages"] == 0:
                break
            await asyncio.sleep(1)
        return pushed.count - int(counts["published_total"])

    def _verdict(self, pushed: Pushed, missing: int) -> bool:
        early, late = flatness([size for _, size in self.samples])
        flat = late <= early * GROWTH
        print(
            f"{pushed.count} pushes answered, {missing} not published, other answers {dict(pushed.others)};"
            f" memory {early / 1e6:.1f} MB early, {late / 1e6:.1f} MB late: {'flat' if flat else 'NOT FLAT'}"
        )
        return flat and missing == 0


def flatness(sizes: Sequence[int]) -> tuple[float, float]:
    """The medians of the second and of the last fifth."""
    fifth = max(1, len(sizes) // 5)
    return statistics.median(sizes[fifth : 2 * fifth] or sizes), statistics.median(sizes[-fifth:])


def main() -> None:
    """Exit status 0 where memory stayed flat and nothing is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--rate", type=float, default=100.0, help="pushes a second")
    parser.add_argument("--away", type=float, default=5.0, help="seconds without a broker, five times")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(Path(folder), minutes=chosen.minutes, rate=chosen.rate, away_s=chosen.away)
        good = asyncio.run(soak.run())
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
