"""`python -m benchmarks.crowd`: a thousand commands to a thousand breakers in one moment, while they are polled.

The cloud answers at once, the account may make 100 requests a second and polls take a third of them. Told: how much
longer the last command took than the limit demands, how many polls came before commands that waited, and how long
polling rested. See README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from benchmarks.caller import Caller
from benchmarks.commands import BASE, start_gateway, until_online
from benchmarks.processes import Process, free_port, python, start_broker

DEVICES, PER_S, POLL_S = 1000, 100, 30
MOST_IN_A_SECOND_S = 1.0


def main() -> None:
    """Runs it and prints the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowd", description=__doc__)
    parser.add_argument("--devices", type=int, default=DEVICES)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crowd-") as folder, ExitStack() as stack:
        asyncio.run(_measure(stack, Path(folder), chosen.devices))


async def _measure(stack: ExitStack, folder: Path, count: int) -> None:
    serials = [f"W71C{number:07d}" for number in range(count)]
    port = free_port()
    stack.callback(start_broker(folder, port).end)
    cloud = Process("cloud", folder, python("-m", "benchmarks.instant"))
    stack.callback(cloud.end)
    url = cloud.wait_line("listening ")
    limits = {"requests": f"{PER_S}/1s", "device": "10/1s"}
    gateway = start_gateway(folder, port, url, serials, poll=f"{POLL_S}s", limits=limits)
    stack.callback(gateway.end)
    await until_online(port)
    await asyncio.sleep(POLL_S)  # a whole round of polling, so that it is in its rhythm
    before = gateway.usage()
    began = time.time()
    course = await Caller(port, BASE, serials).run(count, "crowd")
    after = gateway.usage()
    await asyncio.sleep(POLL_S / 2)
    if before is None or after is None or course.not_succeeded or len(course.took_s) != count:
        raise RuntimeError(f"{course.not_succeeded} commands failed\n{gateway.tail()}")
    _report(_log(url), began, count, course.whole_s, after.cpu_s - before.cpu_s)


def _log(url: str) -> list[tuple[float, str]]:
    address = url.removesuffix("/deviceApi") + "/log"
    with urllib.request.urlopen(address, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return [(float(at), kind) for at, kind in (line.split() for line in lines)]


def _report(log: list[tuple[float, str]], began: float, count: int, took_s: float, cpu_s: float) -> None:
    commands = [at for at, kind in log if kind == "command"]
    reads = [at for at, kind in log if kind == "read"]
    first, last = commands[0], commands[-1]
    if len(commands) != count:
        raise RuntimeError(f"{count} commands had {len(commands)} effects")
    times = sorted(at for at, _ in log)
    busiest = max(sum(1 for at in times if start <= at < start + MOST_IN_A_SECOND_S) for start in times)
    rests = [later - earlier for earlier, later in pairwise(at for at in reads if at > began - POLL_S / 2)]
    demanded_s = (count - PER_S) / PER_S  # the first second's calls leave at once
    each_us = cpu_s / count * 1e6
    print(
        f"{count} commands to {count} devices at {PER_S} requests a second (polls take {count / POLL_S:.0f}):"
    )
    print(
        f"  last acknowledgement after {took_s:.2f} s, the limit demands {demanded_s:.2f} s; {cpu_s / count * 1e6:.0f} us cpu each"
    )
    print(
        f"  polls that came between the first and the last command: {sum(first < at < last for at in reads)}"
    )
    print(
        f"  longest rest of polling {max(rests):.1f} s; requests in the busiest second at the cloud: {busiest}"
    )


if __name__ == "__main__":
    main()
