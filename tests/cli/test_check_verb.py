"""`meterbridge check` and `meterbridge devices`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.cli import checking
from tests.cli.bench import APP_SECRET, Running, answers, configuration, free_port, meterbridge, until
from tests.cli.shelf import AT_MS, device, slot, stored


@contextmanager
def _cloud() -> Iterator[str]:
    """The simulated cloud as a process; its base URL."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge.simulators.wmj", "--port", str(port), "--devices", "W71E0000001,W71E0000002",
         "--app-id", "FAKE0000appid", "--app-secret", APP_SECRET],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: answers(port), "the cloud listens")
        yield f"http://127.0.0.1:{port}/deviceApi"
    finally:
        process.terminate()
        process.wait(5)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = configuration(tmp_path, poll="5", more="    color: red\n")
    result = meterbridge("check", "-c", str(path))
    assert result.exit_code == 2
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first.startswith(f"{path}:11:11: accounts[0].poll: expected a duration")
    assert second.startswith(f"{path}:13:5: accounts[0].color: ")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    result = meterbridge("check", "-c", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "none.yaml: expected a readable file: No such file" in result.stderr


def test_the_summary_shows_what_polling_will_ask(tmp_path: Path) -> None:
    result = meterbridge("check", "-c", str(configuration(tmp_path)))
    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if line.startswith("shop"))
    assert row.split()[:4] == ["shop", "wmj", "2", "1m"]
    assert "of 5 in 1s (1 %)" in row
    assert "(not there yet)" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"], "nothing was made"


def test_an_interval_that_the_limits_do_not_allow_is_named_with_its_line(tmp_path: Path) -> None:
    serials = [f"W71E{number:07d}" for number in range(1, 21)]
    path = configuration(tmp_path, poll="1s", devices=serials)
    result = meterbridge("check", "-c", str(path))
    assert result.exit_code == 0
    line = next(line for line in result.stdout.splitlines() if "more often" in line)
    assert line.startswith(f"{path}:11: accounts[0].poll: 1s is more often than")
    assert line.endswith("for 20 devices; they are read every 6s. Write poll: 6s")


def test_a_limit_of_single_devices_is_named_too_before_the_gateway_ever_ran(tmp_path: Path) -> None:
    path = configuration(tmp_path)
    account = "  - {id: home, vendor: iammeter, token: FAKE0000token, poll: 1m, devices: [A1B2C3D4]}\n"
    path.write_text(path.read_text() + account)
    result = meterbridge("check", "-c", str(path))
    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if line.startswith("home"))
    assert row.split()[:4] == ["home", "iammeter", "1", "1m"]
    assert "meterdata: 12 of 12 in 1h per device (100 %)" in row
    number = len(path.read_text().splitlines())
    line = next(line for line in result.stdout.splitlines() if "more often" in line)
    assert line.startswith(f"{path}:{number}: accounts[1].poll: 1m is more often than")
    assert line.endswith("for 1 devices; they are read every 302s. Write poll: 302s")


def test_a_push_that_will_never_hear_anything_is_named_with_its_line(tmp_path: Path) -> None:
    path = configuration(tmp_path)
    account = "  - {id: home, vendor: iammeter, token: FAKE0000token, push: {secret: FAKE-0000}}\n"
    path.write_text(path.read_text() + account)
    lines = meterbridge("check", "-c", str(path)).stdout.splitlines()
    assert f"{path}:12: accounts[0].push: without effect, for http.listen is off" in lines
    assert f"{path}:13: accounts[1].push: without effect, for iammeter does not push" in lines
    path.write_text(path.read_text().replace("listen: off", "listen: '127.0.0.1:0'"))
    result = meterbridge("check", "-c", str(path))
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if "without effect" in line] == lines[-1:]


def test_connect_tells_what_does_not_answer(tmp_path: Path) -> None:
    path = configuration(tmp_path, port=free_port(), cloud=f"http://127.0.0.1:{free_port()}/deviceApi")
    result = meterbridge("check", "--connect", "-c", str(path))
    assert result.exit_code == 1
    broker, account = result.stdout.splitlines()[-2:]
    assert broker.startswith("broker        FAILED  cannot connect to the broker at 127.0.0.1:")
    assert account.startswith("account shop  FAILED  the vendor's cloud cannot be reached")


def test_connect_logs_in_everywhere(tmp_path: Path, broker_port: int) -> None:
    with _cloud() as url:
        good = meterbridge(
            "check", "--connect", "-c", str(configuration(tmp_path, port=broker_port, cloud=url))
        )
        assert (good.exit_code, good.stderr) == (0, "")
        assert f"broker        ok  MQTT 5 at 127.0.0.1:{broker_port}" in good.stdout
        assert "account shop  ok  credentials accepted; W71E0000001 is on line" in good.stdout
        path = configuration(tmp_path, port=broker_port, cloud=url)
        path.write_text(path.read_text().replace(APP_SECRET, "FAKE0000wrong"))
        bad = meterbridge("check", "--connect", "-c", str(path))
        assert bad.exit_code == 1
        assert "broker        ok" in bad.stdout
        assert "account shop  FAILED" in bad.stdout
        assert "FAKE0000wrong" not in bad.output
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"], "nothing was made"


def test_connect_keeps_within_what_the_gateway_left_of_the_limits(
    tmp_path: Path, broker_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "NO_ROOM_S", 0.5)
    path = configuration(tmp_path, port=broker_port)
    stored(tmp_path, slot("requests", time.time() + 3600, blocked=True))
    result = meterbridge("check", "--connect", "-c", str(path))
    assert result.exit_code == 1
    assert "account shop  FAILED  the vendor's limit is used up" in result.stdout


def test_devices_come_from_the_state_database_where_they_are_known(tmp_path: Path) -> None:
    info = {"kind": "breaker", "name": "Cold store", "model": "W71", "metrics": []}
    stored(
        tmp_path,
        device("W71E0000001", info=info, available=True, clock_ms=AT_MS),
        device("W71E0000009", info=info),
    )
    path = configuration(tmp_path)
    rows = json.loads(meterbridge("devices", "--json", "-c", str(path)).stdout)
    assert rows == [
        {
            "account": "shop", "device": "W71E0000001", "vendor": "wmj", "kind": "breaker", "name": "Cold store",
            "model": "W71", "availability": "online", "last_record": "2026-01-01T00:00:00Z",
        },
        {
            "account": "shop", "device": "W71E0000002", "vendor": "wmj", "kind": "breaker", "name": None,
            "model": None, "availability": None, "last_record": None,
        },
    ]  # fmt: skip
    shown = meterbridge("devices", "-c", str(path)).stdout
    assert "shop     W71E0000001  wmj     breaker  Cold store  W71    online" in shown


def test_devices_are_listed_before_the_gateway_ever_ran(tmp_path: Path) -> None:
    result = meterbridge("devices", "-c", str(configuration(tmp_path)))
    assert result.exit_code == 0
    assert "W71E0000002" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"], "nothing was made"


def test_check_is_a_process_with_an_exit_status(tmp_path: Path) -> None:
    process = Running("check", "-c", str(tmp_path / "none.yaml"))
    assert process.status() == 2
