"""`python -m bridge.simulators.wmj`: the simulated cloud as a process of its own, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import random

from bridge.simulators.process import until_stopped
from bridge.simulators.simtime import RunningTime
from bridge.simulators.wmj.app import app
from bridge.simulators.wmj.cloud import Account, WmjCloud


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bridge.simulators.wmj", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument(
        "--devices", default="W7100000001,W7200000001", help="serial numbers, comma separated"
    )
    parser.add_argument("--app-id", default="0" * 32)
    parser.add_argument("--app-secret", default="0" * 32)
    parser.add_argument("--callback", default="", metavar="URL", help="where callbacks go; none: nowhere")
    parser.add_argument("--retry", action="store_true", help="repeat failed callbacks")
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds per second")
    parser.add_argument("--unbound", action="store_true", help="devices must be registered first")
    parser.add_argument("--enforce", default="", metavar="N/SECONDS", help="answer 429 above this rate")
    parser.add_argument("--report-every", type=float, default=0.0, metavar="S", help="power_report interval")
    parser.add_argument("--seed", type=int, default=1, help="of the noise and of fault probabilities")
    return parser.parse_args()


def _cloud(chosen: argparse.Namespace) -> WmjCloud:
    most, _, window_s = chosen.enforce.partition("/")
    cloud = WmjCloud(
        Account(chosen.app_id, chosen.app_secret),
        [sn.strip() for sn in chosen.devices.split(",") if sn.strip()],
        time=RunningTime(chosen.speed),
        rng=random.Random(chosen.seed),
        callback_url=chosen.callback,
        retry=chosen.retry,
        bound=not chosen.unbound,
        enforce=(int(most), float(window_s)) if chosen.enforce else None,
    )
    for sn in cloud.fleet:
        cloud.configure(sn, report_every_s=chosen.report_every)
    return cloud


async def _run(chosen: argparse.Namespace) -> None:
    await until_stopped(app(_cloud(chosen)), chosen.port, "/deviceApi")


if __name__ == "__main__":
    asyncio.run(_run(_arguments()))
