"""`meterbridge backfill` as a process: killed, interrupted, beside a gateway; what a subscriber has in the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.fixtures import MakeListener
from tests.system.polling import until
from tests.system.stage import Broker, Gateway, Listener, Process

METERS = [f"M{number:03d}" for number in range(1, 5)]
DAYS = 13
TOKEN = "0" * 32


class Iammeter(Process):
    """The simulated cloud with its control surface, every history answered a little late."""

    def __init__(self, folder: Path) -> None:
        super().__init__("iammeter", folder)
        self.base_url = ""

    def start(self, late_s: float) -> Iammeter:
        program = (sys.executable, "-m", "bridge.simulators.iammeter")
        self.launch([*program, "--devices", ",".join(METERS), "--utc-offset", "0"])
        found = until(
            lambda: re.search(r"listening (\S+)", self.output.read_text()), 20, "it listens", self.tail
        )
        self.base_url = found.group(1)
        self.do("fault", kind="slow", endpoint="meterdatalist2", seconds=late_s, count=None)
        return self

    def do(self, deed: str, /, **body: Any) -> None:
        answer = httpx.post(self._sim(deed), json=body, trust_env=False, timeout=30)
        assert answer.is_success, answer.text

    def asked(self) -> list[dict[str, Any]]:
        """The histories that were asked for."""
        query = {"endpoint": "meterdatalist2"}
        answer = httpx.get(self._sim("requests"), params=query, trust_env=False, timeout=30)
        calls: list[dict[str, Any]] = answer.json()["calls"]
        return calls

    def answered(self) -> int:
        return sum(call["done_at"] is not None for call in self.asked())

    def _sim(self, what: str) -> str:
        return f"{self.base_url.removesuffix('/api/v1')}/_sim/{what}"


class Verb(Process):
    """`meterbridge backfill` as a process."""

    def run(self, file: Path, *words: str) -> Verb:
        end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        times = [(end - timedelta(days=DAYS)).isoformat(), end.isoformat()]
        self.launch(
            [
                *(sys.executable, "-m", "bridge", "backfill", "-c", str(file)),
                *("--from", times[0], "--to", times[1], *words),
            ],
            TZ="UTC",
        )
        return self

    @property
    def told(self) -> str:
        return self.output.read_text()


@pytest.fixture
def cloud(ending: ExitStack, tmp_path: Path) -> Iterator[Iammeter]:
    made = Iammeter(tmp_path)
    ending.callback(made.end)
    return made.start(0.25)


@pytest.fixture
def verb(ending: ExitStack, tmp_path: Path) -> Callable[[], Verb]:
    def make() -> Verb:
        made = Verb(f"backfill-{os.urandom(3).hex()}", tmp_path)
        ending.callback(made.end)
        return made

    return make


@pytest.fixture
def gateway_of(ending: ExitStack, broker: Broker, cloud: Iammeter, tmp_path: Path) -> Callable[[], Gateway]:
    """A gateway with its configuration, not started."""

    def make() -> Gateway:
        made = Gateway(tmp_path, settings(broker, cloud, tmp_path))
        ending.callback(made.end)
        return made

    return make


def settings(broker: Broker, cloud: Iammeter, folder: Path) -> dict[str, Any]:
    return {
        "mqtt": {"url": broker.url},
        "http": {"listen": "off"},
        "state": {"url": f"sqlite://{folder}/state.db"},
        "accounts": [
            {
                "id": "home",
                "vendor": "iammeter",
                "base_url": cloud.base_url,
                "token": TOKEN,
                "timezone": "UTC",
                "poll": "5m",
            }
        ],
    }


def history(listener: Listener) -> dict[str, list[str]]:
    """The times of the records per meter, in the order in which they came."""
    found: dict[str, list[str]] = {meter: [] for meter in METERS}
    for message in listener.all("meterbridge/home/+/history"):
        document = message.json
        if not message.dup:
            found[document["device"]].append(document["ts"])
    return found


def expected_count() -> int:
    return DAYS * 288


def complete(listener: Listener) -> bool:
    return all(len(set(times)) == expected_count() for times in history(listener).values())


def test_killed_three_times_it_goes_on_and_ends_with_every_record(
    broker: Broker,
    cloud: Iammeter,
    verb: Callable[[], Verb],
    make_listener: MakeListener,
    gateway_of: Callable[[], Gateway],
) -> None:
    listener = make_listener(broker)
    file = gateway_of().file
    deaths = 0
    for calls in (3, 6, 9):
        killed = verb().run(file)
        until(lambda calls=calls: cloud.answered() >= calls, 60, f"{calls} calls", killed.tail)
        assert killed.alive, killed.tail()
        killed.signal(signal.SIGKILL)
        killed.wait(10)
        deaths += 1
    last = verb().run(file)
    assert last.wait(90) == 0, last.tail()
    until(lambda: complete(listener), 30, "every record has come")
    for meter, times in history(listener).items():
        # what was in flight when the process was killed may come twice, and nothing else
        once = [time for number, time in enumerate(times) if time not in times[:number][-2000:]]
        assert once == sorted(set(times)), meter
    asked = Counter(call["device"] for call in cloud.asked())
    windows = 3
    # of each meter only the call that was under way when it was killed is made again
    assert sum(asked.values()) <= len(METERS) * windows + deaths * len(METERS)
    assert all(windows <= count <= windows + deaths for count in asked.values())
    assert "12 of about 12 calls, 4 of 4 devices" in last.told

    again = verb().run(file)
    assert again.wait(60) == 0
    assert f"complete already: {len(METERS) * expected_count()} records" in again.told
    assert Counter(call["device"] for call in cloud.asked()) == asked


def test_interrupted_it_stops_in_order_and_makes_no_call_twice(
    broker: Broker,
    cloud: Iammeter,
    verb: Callable[[], Verb],
    make_listener: MakeListener,
    gateway_of: Callable[[], Gateway],
) -> None:
    listener = make_listener(broker)
    file = gateway_of().file
    for more, number in ((3, signal.SIGINT), (2, signal.SIGTERM)):
        calls = cloud.answered() + more  # those that were under way are answered too
        stopped = verb().run(file, *METERS)
        until(lambda calls=calls: cloud.answered() >= calls, 60, f"{calls} calls", stopped.tail)
        stopped.signal(number)
        assert stopped.wait(60) == 130, stopped.tail()
        assert "the same command goes on where it stopped" in stopped.told
    last = verb().run(file, *METERS)
    assert last.wait(90) == 0, last.tail()
    until(lambda: complete(listener), 30, "every record has come")
    assert all(times == sorted(set(times)) for times in history(listener).values())
    assert len(cloud.asked()) == len(METERS) * 3


def test_a_running_gateway_is_asked_and_watched(
    broker: Broker,
    cloud: Iammeter,
    verb: Callable[[], Verb],
    make_listener: MakeListener,
    gateway_of: Callable[[], Gateway],
) -> None:
    listener = make_listener(broker)
    gateway = gateway_of().start()
    listener.wait("meterbridge/home/M004/info", timeout_s=30)
    watching = verb().run(gateway.file)
    until(lambda: cloud.answered() >= 3, 60, "calls", watching.tail)
    watching.signal(signal.SIGINT)
    assert watching.wait(30) == 130, watching.tail()
    assert "the gateway goes on" in watching.told
    gateway.kill9()
    gateway.start()
    follower = verb().run(gateway.file)
    assert follower.wait(90) == 0, follower.tail()
    assert "a gateway has this state database" in follower.told
    ack = "meterbridge/bridge/ack"
    listener.wait(ack, lambda one: one.json["final"], timeout_s=30)
    acks = [one.json for one in listener.all(ack)]
    assert [ack["status"] for ack in acks if not ack["duplicate"]] == ["accepted", "succeeded"]
    until(lambda: complete(listener), 30, "every record has come")
    late = verb().run(gateway.file, "M009")
    assert late.wait(30) == 2, late.tail()
    assert "there is no 'M009'" in late.told
    gateway.terminate()


def test_without_a_broker_nothing_is_read(
    cloud: Iammeter, broker: Broker, verb: Callable[[], Verb], gateway_of: Callable[[], Gateway]
) -> None:
    file = gateway_of().file
    broker.stop()
    failed = verb().run(file)
    assert failed.wait(60) == 1, failed.tail()
    assert "cannot connect to the broker" in failed.told
    assert cloud.asked() == []


def test_a_broker_that_refuses_is_told_as_such(
    cloud: Iammeter, broker: Broker, verb: Callable[[], Verb], gateway_of: Callable[[], Gateway]
) -> None:
    file = gateway_of().file
    broker.stop()
    broker.lines.append("allow_anonymous false")
    broker.start()
    failed = verb().run(file)
    assert failed.wait(60) == 1, failed.tail()
    assert "refuses a client without user and password: Not authorized" in failed.told
    assert cloud.asked() == []


def test_arguments_that_make_no_sense_are_refused_with_what_was_expected(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("accounts: []\n")
    for words, expected in (
        (["--from", "soon", "--to", "2026-01-01"], "--from: 'soon': expected YYYY-MM-DD"),
        (["--from", "2026-01-02", "--to", "2026-01-01T00:00:00Z"], "--to: expected a time after --from"),
        (["--from", "2026-01-02"], "Missing option '--to'"),
    ):
        told = subprocess.run(
            [sys.executable, "-m", "bridge", "backfill", "-c", str(file), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (told.returncode, expected in told.stderr) == (2, True), told.stderr
