"""The processes of a trial, each of its own: Mosquitto, the simulated clouds, the gateway. Only on 127.0.0.1.

Only processes started here are signalled, by their id.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
MOSQUITTO = "/usr/sbin/mosquitto"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Process:
    """A child process whose output goes to `folder/name.log`."""

    def __init__(
        self, name: str, folder: Path, command: Sequence[str], env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.output = folder / f"{name}.log"
        with self.output.open("wb") as sink:
            self.child = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(env or {})},
            )

    def wait_line(self, prefix: str, timeout_s: float = 60.0) -> str:
        """What follows `prefix` in the first line of its output that begins so. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        alive = True
        while time.monotonic() < deadline and alive:
            alive = self.child.poll() is None  # what it wrote as its last is read all the same
            for line in self.output.read_text(errors="replace").splitlines():
                if line.startswith(prefix):
                    return line.removeprefix(prefix)
            time.sleep(0.05)
        raise TimeoutError(f"{self.name} does not say {prefix!r}\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        """The last lines of its output."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])

    def usage(self) -> Usage | None:
        """What it uses now; None once it has ended."""
        return usage(self.child.pid) if self.child.poll() is None else None

    def end(self, timeout_s: float = 12.0) -> float:
        """SIGTERM, and SIGKILL where that does not help; the seconds it took."""
        began = time.monotonic()
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait(5)
        return time.monotonic() - began


@dataclass(frozen=True, slots=True)
class Usage:
    """Resident memory now and at most, CPU time since the start, threads."""

    rss_bytes: int
    peak_bytes: int
    cpu_s: float
    threads: int


def usage(pid: int) -> Usage | None:
    """From `/proc`; None if there is no such process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    told = dict(line.split(":", 1) for line in status.splitlines())
    if "VmRSS" not in told:
        return None
    return Usage(
        rss_bytes=int(told["VmRSS"].split()[0]) * 1024,
        peak_bytes=int(told["VmHWM"].split()[0]) * 1024,
        cpu_s=(int(ticks[11]) + int(ticks[12])) / _TICKS_PER_S,
        threads=int(told["Threads"]),
    )


def bytes_written(pid: int) -> int:
    """Bytes that the process has caused to be sent to the disk, from `/proc/PID/io`; 0 where that may not be read."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def start_broker(folder: Path, port: int) -> Process:
    """A Mosquitto that keeps nothing and listens when this returns."""
    file = folder / "mosquitto.conf"
    file.write_text(
        f"user root\nlog_dest stderr\nlog_type error\nlistener {port} {HOST}\nallow_anonymous true\n"
        "max_queued_messages 200000\nmax_inflight_messages 2000\n"
    )
    broker = Process("mosquitto", folder, [MOSQUITTO, "-c", str(file)])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return broker
        time.sleep(0.05)
    broker.end()
    raise TimeoutError(f"mosquitto does not listen\n{broker.tail()}")


def python(*arguments: str) -> list[str]:
    """A command for this interpreter."""
    return [sys.executable, *arguments]
