"""The gateway, as a process, stands still for an hour: what the vendors kept arrives on `history`, each record once.

Four clouds and one gateway whose time is 240 times as fast as ours (`tests.system.quick`, `--speed` of the simulators).
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.times import parse_rfc3339
from tests.crash.household import Simulator
from tests.system.polling import until
from tests.system.stage import HOST, Broker, Gateway, Listener, free_port

SPEED = 240.0
EVERY_S = 300.0
HOUR_S = 3600.0
LIVE = 4
"""Records of each device before the stop and after it."""


class Quick(Gateway):
    """A gateway in whose time everything is SPEED times as fast, from `epoch_s` on."""

    epoch_s = 0.0

    def launch(self, command: Sequence[str], **env: str) -> None:
        at = command.index("bridge")
        program = [sys.executable, "-m", "tests.system.quick", str(SPEED), str(self.epoch_s)]
        super().launch([*program, *command[at + 1 :]], **env)

    def now_s(self) -> float:
        """What its clock says."""
        return self.epoch_s + (time.time() - self.epoch_s) * SPEED


def clouds(folder: Path, ending: ExitStack) -> dict[str, Simulator]:
    """All in the same time; where it is noon for the solar plants."""
    noon = 12 - datetime.now(UTC).hour
    options = {
        "iammeter": ["--devices", "A1B2C3D4,C9D0E1F2", "--no-limits", "--utc-offset", "0"],
        "jrhsz": ["--past", "7200", "--read-every", str(int(EVERY_S)), "--spacing", "0", "--meters", "4"],
        "saj": ["--plants", "1", "--inverters", "2", "--offset", str(noon)],
        "iotmeter": ["--devices", "00000000000001,00000000000002", "--rtus", "", "--wake", str(EVERY_S)],
    }
    made = {}
    for vendor, chosen in options.items():
        made[vendor] = Simulator(folder, vendor, [*chosen, "--speed", str(SPEED)])
        ending.callback(made[vendor].end)
    with ThreadPoolExecutor() as pool:  # a second between them is four minutes of theirs
        list(pool.map(Simulator.start, made.values()))
    return made


def settings(broker: Broker, made: dict[str, Simulator], folder: Path) -> dict[str, Any]:
    own: dict[str, dict[str, Any]] = {
        "iammeter": {"token": "0" * 32, "timezone": "UTC"},
        "jrhsz": {"username": "demo_user", "password": "not-a-real-password"},
        "saj": {"app_id": "15000", "app_key": "0" * 32},
        "iotmeter": {
            "data": {"base_url": made["iotmeter"].base_url, "company_no": "1001", "api_key": "0" * 32}
        },
    }
    accounts = []
    for vendor, keys in own.items():
        where = {} if "data" in keys else {"base_url": made[vendor].base_url}
        accounts.append({"id": vendor, "vendor": vendor, "poll": "5m", **where, **keys})
    return {
        "mqtt": {"url": broker.url},
        "http": {"listen": f"{HOST}:{free_port()}"},
        "state": {"url": f"sqlite://{folder}/state.db"},
        "accounts": accounts,
    }


def series(listener: Listener, leaf: str = "+") -> dict[str, list[float]]:
    """The times of the records of each device that measures by itself, in the order of arrival."""
    found: dict[str, list[float]] = {}
    for message in listener.all(f"meterbridge/+/+/{leaf}"):
        kind = message.topic.rpartition("/")[2]
        if kind in ("telemetry", "history") and not message.dup:
            document = message.json
            if document["kind"] != "solar_plant":  # a plant's follow from its inverters'
                name = f"{document['account']}/{document['device']}"
                found.setdefault(name, []).append(parse_rfc3339(document["ts"]).timestamp())
    return found


def holes(times: Sequence[float], since: float, until_s: float) -> list[tuple[float, float]]:
    """Where two neighbours of a stretch are farther from each other than a record and a half."""
    within = sorted(at for at in times if since <= at <= until_s)
    return [(a, b) for a, b in itertools.pairwise(within) if b - a > 1.5 * EVERY_S]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_hour_without_the_gateway_is_filled_from_what_the_vendors_kept(
    broker: Broker, listener: Listener, tmp_path: Path, ending: ExitStack
) -> None:
    epoch_s = time.time()
    made = clouds(tmp_path, ending)
    gateway = Quick(tmp_path, settings(broker, made, tmp_path))
    gateway.epoch_s = epoch_s
    ending.callback(gateway.end)
    gateway.start(60)

    def measuring() -> list[str]:
        """The devices that have told something so often."""
        return [name for name, times in series(listener, "telemetry").items() if len(times) >= LIVE]

    def all_there() -> bool:
        return {name.partition("/")[0] for name in measuring()} == set(made) and len(measuring()) >= 9

    until(all_there, 90, "devices of every vendor are read", lambda: str(measuring()), gateway.tail)
    devices = measuring()
    assert gateway.terminate(20)[0] == 0
    last = {name: max(times) for name, times in series(listener, "telemetry").items()}
    stopped_s = gateway.now_s()
    until(lambda: gateway.now_s() >= stopped_s + HOUR_S, 60, "an hour passes")
    back_s = gateway.now_s()
    gateway.start(60)

    def first_after(name: str) -> float | None:
        after = [at for at in series(listener, "telemetry")[name] if at > back_s - EVERY_S]
        return min(after, default=None)

    def filled() -> bool:
        times, firsts = series(listener), {name: first_after(name) for name in devices}
        return all(
            first is not None and not holes(times[name], last[name], first) for name, first in firsts.items()
        )

    def lacking() -> str:
        times = series(listener)
        return str({name: holes(times[name], last[name], back_s) for name in devices})

    until(filled, 120, "the hour is there", lacking, gateway.tail, pause_s=0.3)
    told = Counter(
        (one["account"], one["device"], one["ts"], str(one["metrics"]))
        for message in listener.all("meterbridge/+/+/+")
        if message.topic.endswith(("/telemetry", "/history")) and not message.dup
        for one in [message.json]
    )
    assert [record for record, count in told.items() if count > 1] == [], "a record came twice"
    past = series(listener, "history")
    for name in devices:
        missed = [at for at in past[name] if last[name] < at < back_s]
        assert len(missed) >= HOUR_S / EVERY_S * 0.7, f"{name}: {missed}"
