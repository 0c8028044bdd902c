"""The command line as tests use it: in this process, or as a process of its own; and a real broker."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner, Result

from bridge.cli.main import cli

APP_SECRET = "FAKE0000appsecret"
PUSH_SECRET = "FAKE0000pushsecret"
DEVICES = ("W71E0000001", "W71E0000002")


def meterbridge(*words: str) -> Result:
    """Runs a verb in this process."""
    return CliRunner().invoke(cli, list(words), prog_name="meterbridge")


def configuration(
    folder: Path,
    *,
    port: int = 1,
    cloud: str = "http://127.0.0.1:1/deviceApi",
    poll: str = "1m",
    devices: Sequence[str] = DEVICES,
    more: str = "",
) -> Path:
    """A configuration file with one wmj account `shop`, whose state database lies beside it."""
    path = folder / "config.yaml"
    path.write_text(
        f"mqtt: {{url: 'mqtt://127.0.0.1:{port}', username: operator, password: FAKE0000brokerpassword}}\n"
        "http: {listen: off}\n"
        "state: {url: 'sqlite:./state.db'}\n"
        "accounts:\n"
        "  - id: shop\n"
        "    vendor: wmj\n"
        f"    base_url: {cloud}\n"
        "    app_id: FAKE0000appid\n"
        f"    app_secret: {APP_SECRET}\n"
        f"    devices: {{include: [{', '.join(devices)}], names: {{{devices[0]}: Cold store}}}}\n"
        f"    poll: {poll}\n"
        f"    push: {{secret: {PUSH_SECRET}}}\n" + more
    )
    return path


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mosquitto(folder: Path, lines: Sequence[str] = ("allow_anonymous true",)) -> Iterator[int]:
    """A broker on a free port, which is given."""
    port = free_port()
    path = folder / "mosquitto.conf"
    user = ["user root"] if os.geteuid() == 0 else []  # else it could not read files in the tests' folders
    path.write_text("\n".join([f"listener {port} 127.0.0.1", "persistence false", *user, *lines, ""]))
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    process = subprocess.Popen([program, "-c", str(path)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(port), "the broker listens")
        yield port
    finally:
        process.terminate()
        process.wait(5)


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(look: Callable[[], object], what: str, within_s: float = 10.0) -> None:
    """Waits for something."""
    deadline = time.monotonic() + within_s
    while not look():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


class Running:
    """A verb that runs as a process of its own; its lines are read as they come."""

    def __init__(self, *words: str, temporary: Path | None = None) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if temporary is not None:
            environment["TMPDIR"] = str(temporary)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bridge", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def shows(self, words: str, within_s: float = 15.0) -> str:
        """Waits for a line that contains these words, and gives it."""
        until(
            lambda: any(words in line for line in self.lines) or self._process.poll() is not None,
            words,
            within_s,
        )
        found = [line for line in self.lines if words in line]
        assert found, f"it ended without a word of {words!r}:\n{self.text}"
        return found[0]

    def status(self, within_s: float = 20.0) -> int:
        """Waits for its end; the exit status."""
        status = self._process.wait(within_s)
        self._reader.join(5)
        return status

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it by a signal; the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self.status()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.status()
            raise

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self.lines.append(line.rstrip("\n"))


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
