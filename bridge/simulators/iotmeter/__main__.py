"""`python -m bridge.simulators.iotmeter`: the simulated platform as a process of its own, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import random

from bridge.simulators.iotmeter.app import app
from bridge.simulators.iotmeter.cloud import Account, IotMeterCloud
from bridge.simulators.process import until_stopped
from bridge.simulators.simtime import RunningTime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bridge.simulators.iotmeter", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one; both APIs are there")
    parser.add_argument("--devices", default="12345678901234,0012345678", help="meters, comma separated")
    parser.add_argument("--rtus", default="R000000001", help="RTUs, comma separated")
    parser.add_argument("--company-no", default="1001")
    parser.add_argument("--api-key", default="0" * 32)
    parser.add_argument("--login-name", default="demo_admin")
    parser.add_argument("--password", default="FAKE0000")
    parser.add_argument("--push", default="", metavar="URL", help="where pushes go; none: nowhere")
    parser.add_argument(
        "--retry", type=float, default=2.0, metavar="S", help="pause before a failed push again"
    )
    parser.add_argument(
        "--wake", type=float, default=60.0, metavar="S", help="simulated time between wake-ups"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds per second")
    parser.add_argument("--token-life", type=float, default=7200.0, metavar="S")
    parser.add_argument("--no-reports", action="store_true", help="the ends of tasks are not pushed")
    parser.add_argument("--seed", type=int, default=1, help="of tokens and of fault probabilities")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _cloud(chosen: argparse.Namespace) -> IotMeterCloud:
    return IotMeterCloud(
        Account(chosen.company_no, chosen.api_key, chosen.login_name, chosen.password),
        _names(chosen.devices),
        time=RunningTime(chosen.speed),
        rng=random.Random(chosen.seed),
        rtus=_names(chosen.rtus),
        push_url=chosen.push,
        retry_s=chosen.retry,
        wake_every_s=chosen.wake,
        token_life_s=chosen.token_life,
        reports=not chosen.no_reports,
    )


async def _run(chosen: argparse.Namespace) -> None:
    await until_stopped(app(_cloud(chosen)), chosen.port)


if __name__ == "__main__":
    asyncio.run(_run(_arguments()))
