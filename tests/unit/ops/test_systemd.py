"""What the service manager is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.ops.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's socket and its address as NOTIFY_SOCKET has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        name = f"meterbridge-test-{tmp_path.name}"
        address = str(tmp_path / "notify") if request.param == "path" else f"@{name}"
        listener.bind("\0" + name if request.param == "abstract" else address)
        listener.settimeout(2)
        yield address, listener


def test_each_message_is_one_datagram(manager: tuple[str, socket.socket]):
    address, listener = manager
    notifier = Notifier(address)
    notifier.ready()
    notifier.status("3 accounts, broker connected")
    notifier.alive()
    notifier.stopping()
    assert [listener.recv(200) for _ in range(4)] == [
        b"READY=1",
        b"STATUS=3 accounts, broker connected",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


def test_a_service_manager_that_does_not_read_holds_nobody_up(manager: tuple[str, socket.socket]):
    address, _listener = manager
    notifier = Notifier(address)

    def tell_much() -> None:
        for _ in range(5000):
            notifier.alive()
            notifier.status("broker lost")

    teller = threading.Thread(target=tell_much, daemon=True)
    teller.start()
    teller.join(60)
    assert not teller.is_alive()


def test_address_comes_from_the_environment(
    manager: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
):
    address, listener = manager
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    notifier = Notifier()
    notifier.ready()
    assert listener.recv(200) == b"READY=1"
    assert notifier.watchdog_s == 15


def test_without_a_service_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert Notifier().watchdog_s is None
    for notifier in (
        Notifier(),
        Notifier(""),
        Notifier(str(tmp_path / "nobody")),
        Notifier("@nobody-listens"),
    ):
        notifier.ready()
        notifier.stopping()


@pytest.mark.parametrize(
    ("usec", "seconds"),
    [
        ("20000000", 10.0),
        ("1000000", 0.5),
        ("", None),
        ("0", None),
        ("soon", None),
        ("-5", None),
        ("²", None),
    ],
)
def test_watchdog_is_due_at_half_its_time(usec: str, seconds: float | None):
    assert Notifier("", usec).watchdog_s == seconds
