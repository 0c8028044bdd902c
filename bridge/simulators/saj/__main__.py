"""`python -m bridge.simulators.saj`: the simulated cloud as a process of its own, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import random

from bridge.simulators.process import until_stopped
from bridge.simulators.saj.app import app
from bridge.simulators.saj.cloud import Application, SajCloud
from bridge.simulators.saj.fleet import demo_fleet
from bridge.simulators.simtime import RunningTime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bridge.simulators.saj", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--app-id", default="15000")
    parser.add_argument("--app-key", default="0" * 32)
    parser.add_argument("--grant-type", default="client_credentials")
    parser.add_argument("--read-only", action="store_true", help="the scope write is not granted")
    parser.add_argument("--plants", type=int, default=2)
    parser.add_argument("--inverters", type=int, default=2, help="per plant")
    parser.add_argument("--age", type=int, default=400, metavar="DAYS", help="of the plants")
    parser.add_argument("--offset", type=float, default=8.0, metavar="HOURS", help="the plants' UTC offset")
    parser.add_argument("--hourly", type=int, default=0, metavar="CALLS", help="10003 above; 0: no limit")
    parser.add_argument("--daily", type=int, default=0, metavar="CALLS", help="10004 above; 0: no limit")
    parser.add_argument("--expires-in", type=int, default=604800, metavar="S", help="of tokens")
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds per second")
    parser.add_argument("--seed", type=int, default=1, help="of the plants and of fault probabilities")
    return parser.parse_args()


def _cloud(chosen: argparse.Namespace) -> SajCloud:
    time = RunningTime(chosen.speed)
    rng = random.Random(chosen.seed)
    scopes = frozenset({"read"} if chosen.read_only else {"read", "write"})
    fleet = demo_fleet(
        time.now(),
        plants=chosen.plants,
        inverters=chosen.inverters,
        offset_hours=chosen.offset,
        rng=rng,
        age_days=chosen.age,
    )
    return SajCloud(
        Application(chosen.app_id, chosen.app_key, grant_type=chosen.grant_type, scopes=scopes),
        fleet,
        time=time,
        rng=rng,
        hourly_calls=chosen.hourly,
        daily_calls=chosen.daily,
        expires_in=chosen.expires_in,
    )


async def _run(chosen: argparse.Namespace) -> None:
    await until_stopped(app(_cloud(chosen)), chosen.port)


if __name__ == "__main__":
    asyncio.run(_run(_arguments()))
