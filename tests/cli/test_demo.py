"""`meterbridge demo`: the whole thing, as a newcomer meets it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.demonstration import HIDDEN
from bridge.demo.daylight import sunny_offset_hours
from tests.cli.bench import Running, children, is_alive, meterbridge, until
from tests.cli.conftest import Demo

BREAKER = "shop/W71E0000001"
ACCOUNTS = ("shop", "home", "flats", "roof", "gas")
RTU = "gas/R000000001"


def devices(demo: Demo, account: str) -> list[str]:
    """The ids that the demo says that an account has."""
    line = demo.process.shows(f"  account      {account} (")
    return [words.split()[-1] for words in line.partition(": ")[2].split(", ")]


def test_it_says_what_to_look_at_and_what_to_try(demo: Demo) -> None:
    demo.process.shows("-t 'meterbridge/#'")
    text = demo.process.text
    assert text.count("mosquitto_pub -h 127.0.0.1 -p ") == text.count(f" send --url {demo.url} ") >= 6
    assert f"{BREAKER}/cmd/breaker -m 'off'" in text
    with urllib.request.urlopen(demo.page, timeout=5) as page:
        assert "<title>meterbridge</title>" in page.read().decode()
    with urllib.request.urlopen(f"{demo.page}page/devices", timeout=5) as listed:
        assert "Cold store" in listed.read().decode()


def test_every_account_is_online_and_tells_of_all_its_devices(demo: Demo) -> None:
    accounts = {account: devices(demo, account) for account in ACCOUNTS}
    asked = ("watch", "--url", demo.url, "--json", "--for", "300ms", "--filter")

    def retained(topics: str) -> dict[str, Any]:
        lines = map(json.loads, meterbridge(*asked, topics).stdout.splitlines())
        return {line["topic"].removeprefix("meterbridge/"): line["payload"] for line in lines}

    def are_online() -> bool:
        words = retained("+/status")
        return all(words[f"{account}/status"]["state"] == "online" for account in accounts)

    def have_told() -> bool:
        measured = {topic for topic, state in retained("+/+/state").items() if state["metrics"]}
        known = {f"{account}/{one}/state" for account, ids in accounts.items() for one in ids}
        return known - {f"{RTU}/state"} <= measured

    until(are_online, "every account is online")
    until(have_told, "every device has told its values")
    until(
        lambda: retained(f"{RTU}/availability"), "the RTU, which measures nothing, has told that it is there"
    )


def test_the_sun_shines_on_the_roof(demo: Demo) -> None:
    plant = devices(demo, "roof")[0]
    name = f"roof/{plant} Barn roof".ljust(34)
    told = demo.process.shows(f"{name}  telemetry     poll: active_power ")
    assert float(told.partition("active_power ")[2].split()[0]) > 0


@pytest.mark.parametrize("hour", range(24))
def test_it_is_late_morning_where_the_roofs_stand(hour: int) -> None:
    now = datetime(2026, 12, 31, hour, 59, 59, tzinfo=UTC)
    assert now.astimezone(timezone(timedelta(hours=sunny_offset_hours(now)))).hour == 11


def test_telemetry_passes_and_is_shown_shortened(demo: Demo) -> None:
    line = demo.process.shows("poll: switch_state on  active_power")
    assert "more" in line
    kinds = {line[46:58].strip() for line in demo.process.lines if line[2:3] == ":"}
    assert "telemetry" in kinds
    assert not kinds & HIDDEN


def test_a_command_is_accepted_done_and_seen(demo: Demo) -> None:
    sent = meterbridge("send", "--url", demo.url, BREAKER, "breaker", "off", "--json")
    assert sent.exit_code == 0
    assert [json.loads(line)["status"] for line in sent.stdout.splitlines()] == ["accepted", "succeeded"]
    demo.process.shows("breaker succeeded")

    def is_off() -> bool:
        words = ("--filter", f"{BREAKER}/state", "--json", "--for", "300ms")
        lines = meterbridge("watch", "--url", demo.url, *words).stdout.splitlines()
        return any(json.loads(line)["payload"]["metrics"]["switch_state"] == "off" for line in lines)

    until(is_off, "the state says off")
    assert meterbridge("send", "--url", demo.url, BREAKER, "breaker", "on").exit_code == 0


def test_every_suggestion_works_as_it_is_printed(demo: Demo) -> None:
    marker = f" send --url {demo.url} "
    suggested = [line.partition(marker)[2] for line in demo.process.lines if marker in line]
    for words in suggested:
        if "pulse" not in words:  # takes its time
            result = meterbridge("send", "--url", demo.url, *shlex.split(words), "--wait", "10s")
            assert result.exit_code == 0, (words, result.output)


def test_the_other_verbs_work_beside_it(demo: Demo) -> None:
    path = str(demo.config)
    assert meterbridge("send", "-c", path, BREAKER, "read", "--id", "look-1").exit_code == 0
    assert (
        json.loads(meterbridge("journal", "show", "look-1", "--json", "-c", path).stdout)["status"]
        == "succeeded"
    )
    assert "Cold store" in meterbridge("devices", "-c", path).stdout
    checked = meterbridge("check", "--connect", "-c", path)
    assert checked.exit_code == 0, checked.output
    unknown = meterbridge("send", "--url", demo.url, "shoop", "read")
    assert (unknown.exit_code, "known are: " in unknown.stderr and "shop" in unknown.stderr) == (2, True)


def test_taken_ports_are_named_with_what_is_used_instead(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for port in (1883, 8080):
            taker = stack.enter_context(socket.socket())
            taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taker.bind(("127.0.0.1", port))
                taker.listen(1)
            except OSError:
                continue  # somebody else has it: taken all the same
        demo = Running("demo", "--for", "4s", temporary=tmp_path)
        try:
            demo.shows("Port 1883 is taken on this machine: the broker uses ")
            demo.shows("Port 8080 is taken on this machine: the status page uses ")
            assert demo.status() == 0
        finally:
            demo.end()
    assert "everything is stopped" in demo.lines[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything(tmp_path: Path, number: int) -> None:
    demo = Running("demo", temporary=tmp_path)
    try:
        demo.shows("What passes now")
        started = children(demo.pid)
        assert started, "the broker is a child"
    finally:
        status = demo.end(number)
    assert status == 0
    assert not any(is_alive(pid) for pid in started)
    assert list(tmp_path.iterdir()) == [], "no temporary files stay"


def broker_of(demo: Running) -> int:
    """The process id of its Mosquitto."""
    (broker,) = [pid for pid in children(demo.pid) if "mosquitto" in Path(f"/proc/{pid}/comm").read_text()]
    return broker


def test_a_demo_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    demo = Running("demo", temporary=tmp_path)
    try:
        demo.shows("What passes now")
        started = children(demo.pid)
        assert broker_of(demo) in started
    finally:
        demo.end(signal.SIGKILL)
    until(lambda: not any(is_alive(pid) for pid in started), "the broker has ended, too")


def test_it_ends_without_a_traceback_when_nobody_reads_any_more() -> None:
    """`make demo | head`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge", "demo", "--broker", "amqtt"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    while not process.stdout.readline().startswith("What passes now"):
        assert process.poll() is None
    process.stdout.close()
    try:
        told = process.stderr.read()
        assert process.wait(60) == 1
    finally:
        process.kill()
    assert "Traceback" not in told


def test_it_stops_with_a_message_when_its_broker_dies(tmp_path: Path) -> None:
    demo = Running("demo", temporary=tmp_path)
    try:
        demo.shows("(retained)")  # it looks on
        os.kill(broker_of(demo), signal.SIGKILL)
        assert demo.status() == 1
    finally:
        demo.end()
    assert demo.lines[-1].startswith("meterbridge: the broker ")
    assert "Traceback" not in demo.text, demo.text[-6000:]
    assert list(tmp_path.iterdir()) == []


def test_without_mosquitto_a_small_broker_serves(tmp_path: Path) -> None:
    demo = Running("demo", "--broker", "amqtt", "--for", "40s", temporary=tmp_path)
    try:
        line = demo.shows("  broker  ")
        assert line.endswith("(amqtt)")
        demo.shows("What passes now")
        result = meterbridge("send", "--url", line.split()[1], BREAKER, "breaker", "off")
        assert result.exit_code == 0, result.output
        demo.shows("breaker succeeded")
        started = children(demo.pid)
    finally:
        status = demo.end()
    assert status == 0
    assert not any(is_alive(pid) for pid in started)


def test_a_breaker_trips_and_comes_back(demo: Demo) -> None:
    # the last one here: it takes half a minute, in which the tests above run
    demo.process.shows("overcurrent raised (critical)", within_s=25)
    demo.process.shows("overcurrent cleared", within_s=25)
