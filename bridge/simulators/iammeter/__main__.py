"""`python -m bridge.simulators.iammeter`: the simulated cloud as a process of its own, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import random

from bridge.simulators.iammeter.app import app
from bridge.simulators.iammeter.cloud import Account, IammeterCloud, Site, household
from bridge.simulators.iammeter.meter import Meter, Phase
from bridge.simulators.process import until_stopped
from bridge.simulators.simtime import RunningTime

_THREE = ":3"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bridge.simulators.iammeter", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument(
        "--devices",
        default="",
        help="serial numbers, comma separated; SN:3 has three phases. Default: a household",
    )
    parser.add_argument("--username", default="demo-user")
    parser.add_argument("--password", default="demo-password")
    parser.add_argument("--token", default="0" * 32)
    parser.add_argument("--utc-offset", type=int, default=60, metavar="MIN", help="of the sites")
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds per second")
    parser.add_argument("--no-limits", action="store_true", help="an exceeded limit is answered all the same")
    parser.add_argument("--missing", default="", help="endpoints that are not there, comma separated")
    parser.add_argument("--seed", type=int, default=1, help="of tokens and of fault probabilities")
    return parser.parse_args()


def _sites(chosen: argparse.Namespace, now_s: float) -> list[Site]:
    names = [text.strip() for text in chosen.devices.split(",") if text.strip()]
    if not names:
        return household(now_s, chosen.utc_offset)
    meters = []
    for number, text in enumerate(names, start=1):
        phases = tuple(
            Phase("house", 0.0, number + index) for index in range(3 if text.endswith(_THREE) else 1)
        )
        sn = text.removesuffix(_THREE)
        meters.append(Meter(sn, f"Meter {number}", phases, offset_min=chosen.utc_offset, now_s=now_s))
    return [Site(12345, "Demo site", meters, chosen.utc_offset)]


def _cloud(chosen: argparse.Namespace) -> IammeterCloud:
    time = RunningTime(chosen.speed)
    return IammeterCloud(
        Account(chosen.username, chosen.password, chosen.token),
        _sites(chosen, time.now()),
        time=time,
        rng=random.Random(chosen.seed),
        enforce=not chosen.no_limits,
        missing=[name.strip() for name in chosen.missing.split(",") if name.strip()],
    )


async def _run(chosen: argparse.Namespace) -> None:
    await until_stopped(app(_cloud(chosen)), chosen.port, "/api/v1")


if __name__ == "__main__":
    asyncio.run(_run(_arguments()))
