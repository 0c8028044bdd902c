"""Signals to `meterbridge run` before it runs, and output that finds no room."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.bench import Running, until

CONFIGURATION = """\
mqtt: {{url: "mqtt://127.0.0.1:1"}}
http: {{listen: off}}
state: {{url: "sqlite://{folder}/state.db", min_free: 0}}
"""


class Slow:
    """A configuration file that the gateway has begun to read, and that says nothing yet."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.yaml"
        os.mkfifo(self.path)
        self.gateway = Running("run", "-c", str(self.path))
        self._end = -1
        until(self._is_read, "the gateway reads its configuration", 30)

    def _is_read(self) -> bool:
        try:
            self._end = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads
            return False
        return True

    def says(self, text: str) -> None:
        os.write(self._end, text.encode())
        os.close(self._end)


def sleeps(pid: int) -> bool:
    """Whether a process waits for something, at ten looks one after the other."""
    for _ in range(10):
        if ") S " not in Path(f"/proc/{pid}/stat").read_text():
            return False
        time.sleep(0.03)
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_gateway_that_is_told_to_stop_while_it_begins_ends_well(tmp_path: Path, number: int) -> None:
    begun = Slow(tmp_path)
    # told before it reads, Python looks at it only after the read, which here would never end
    until(lambda: sleeps(begun.gateway.pid), "it reads", 30)
    assert begun.gateway.end(number) == 0
    assert begun.gateway.lines == []
    assert not (tmp_path / "state.db").exists()


def test_a_reload_that_is_asked_for_while_it_begins_follows_the_start(tmp_path: Path) -> None:
    begun = Slow(tmp_path)
    os.kill(begun.gateway.pid, signal.SIGHUP)
    other = tmp_path / "other.yaml"
    other.write_text("mqtt: {colour: red}\n")
    other.replace(begun.path)
    begun.says(CONFIGURATION.format(folder=tmp_path))
    begun.gateway.shows("reload.refused", 30)
    assert "mqtt.colour" in begun.gateway.text
    assert begun.gateway.end() == 0
    assert "Traceback" not in begun.gateway.text


def test_output_that_finds_no_room_is_told_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bridge", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "meterbridge: cannot write the output: No space left on device\n"
