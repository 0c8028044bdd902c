"""The demo's broker: Mosquitto where it is installed, else amqtt; a child process that ends with the demo."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.demo.addresses import HOST, Port, any_port, free_port
from bridge.domain.errors import BridgeError

USUAL_PORT = 1883
START_S = 10.0
STOP_S = 3.0
ATTEMPTS = 3
_SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"


class DemoError(BridgeError):
    """The demo cannot go on; the message says what would help."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that runs. `protocol` is the newest MQTT that it speaks: 5, or 4 for 3.1.1."""

    kind: str
    port: Port
    protocol: int
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        """As `mqtt.url` and `--url` take it."""
        return f"mqtt://{HOST}:{self.port.number}"


@contextlib.asynccontextmanager
async def running_broker(choice: str, folder: Path) -> AsyncIterator[Broker]:
    """A broker for the length of the block. `choice`: `auto`, `mosquitto` or `amqtt`. Raises DemoError."""
    kind = _kind(choice)
    port = free_port(USUAL_PORT)
    for attempt in range(1, ATTEMPTS + 1):
        process = await _started(kind, port, folder)
        try:
            if await _listens(process, port):
                async with _watched(process):
                    yield Broker(kind, port, 5 if kind == "mosquitto" else 4, process)
                return
        finally:
            await _ended(process)
        if attempt == ATTEMPTS:
            break
        port = Port(any_port(), USUAL_PORT)  # somebody took it in between
    raise DemoError(f"the broker {kind} does not start: {_last_words(folder)}")


def _kind(choice: str) -> str:
    if choice in ("auto", "mosquitto") and _mosquitto() is not None:
        return "mosquitto"
    if choice == "mosquitto":
        raise DemoError("Mosquitto is not installed: `apt-get install mosquitto`, or leave --broker out")
    if importlib.util.find_spec("amqtt") is not None:
        return "amqtt"
    raise DemoError(
        "no broker is installed: `apt-get install mosquitto`, or `pip install 'meterbridge[demo]'` for a small one"
    )


def _mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_SYSTEM_FOLDERS)


async def _started(kind: str, port: Port, folder: Path) -> asyncio.subprocess.Process:
    with (folder / "broker.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *_command(kind, port, folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the demo only: the gateway still has to say good-bye
        )


def _command(kind: str, port: Port, folder: Path) -> Sequence[str]:
    if kind == "amqtt":
        return sys.executable, "-m", "bridge.demo.amqtt_broker", str(port.number)
    path = folder / "mosquitto.conf"
    path.write_text(
        f"listener {port.number} {HOST}\nallow_anonymous true\npersistence false\n"
        "log_dest stderr\nlog_type error\nlog_type warning\n",
        encoding="utf-8",
    )
    return _mosquitto() or "mosquitto", "-c", str(path)


@contextlib.asynccontextmanager
async def _watched(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """A demo that is killed (-9) can end nothing: a shell, whose input then ends, does it in its place."""
    watcher = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", 'read -r _; kill "$0"', str(process.pid)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            watcher.kill()  # before its input ends: the demo ends the broker itself
        await watcher.wait()


async def _listens(process: asyncio.subprocess.Process, port: Port) -> bool:
    """Whether it takes connections before it ends or the time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_S
    while process.returncode is None and loop.time() < deadline:
        try:
            _, writer = await asyncio.open_connection(HOST, port.number)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        # if another process took the port, ours ends within a moment
        await asyncio.sleep(0.1)
        return process.returncode is None
    return False


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _last_words(folder: Path) -> str:
    lines = (folder / "broker.log").read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "it says nothing"
