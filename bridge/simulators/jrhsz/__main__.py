"""`python -m bridge.simulators.jrhsz`: the simulated platform as a process of its own, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import random

from bridge.simulators.jrhsz.app import app
from bridge.simulators.jrhsz.cloud import Account, JrhszCloud
from bridge.simulators.jrhsz.meter import Meter, Options, fleet
from bridge.simulators.process import until_stopped
from bridge.simulators.simtime import RunningTime, SimTime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bridge.simulators.jrhsz", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--meters", type=int, default=6, help="how many, of mixed types")
    parser.add_argument(
        "--devices", default="", metavar="NO:TYPE[:camera],…", help="these meters instead, by number and type"
    )
    parser.add_argument("--username", default="demo_user")
    parser.add_argument("--password", default="not-a-real-password")
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds per second")
    parser.add_argument(
        "--past", type=int, default=172_800, metavar="S", help="seconds of records to begin with"
    )
    parser.add_argument("--read-every", type=int, default=3600, metavar="S", help="a meter's own interval")
    parser.add_argument("--delay", type=float, default=3.0, metavar="S", help="until an instruction is done")
    parser.add_argument("--spacing", type=float, default=2.0, metavar="S", help="0: no limit")
    parser.add_argument("--encoding", default="json", choices=("json", "form", "both"))
    parser.add_argument("--seed", type=int, default=1, help="of fault probabilities")
    return parser.parse_args()


def _meters(chosen: argparse.Namespace, time: SimTime) -> list[Meter]:
    options = {"read_every_s": chosen.read_every, "delay_s": chosen.delay}
    if not chosen.devices:
        return fleet(chosen.meters, time.now(), chosen.past, **options)
    meters = []
    for entry in chosen.devices.split(","):
        number, code, *more = entry.strip().split(":")
        since_s = int(time.now()) - chosen.past
        meter = Meter(number, int(code), since_s, camera=more == ["camera"], options=Options(**options))
        meter.advance(int(time.now()))
        meters.append(meter)
    return meters


async def _run(chosen: argparse.Namespace) -> None:
    time = RunningTime(chosen.speed)
    cloud = JrhszCloud(
        Account(chosen.username, chosen.password),
        _meters(chosen, time),
        time=time,
        rng=random.Random(chosen.seed),
        spacing_s=chosen.spacing,
        encoding=chosen.encoding,
    )
    await until_stopped(app(cloud), chosen.port)


if __name__ == "__main__":
    asyncio.run(_run(_arguments()))
