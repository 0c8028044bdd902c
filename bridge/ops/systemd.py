"""Telling the service manager: ready, reloading, stopping, alive (sd_notify protocol over a datagram socket)."""

from __future__ import annotations

import os
import socket

PATIENCE_S = 1.0
"""How long what the service manager must not miss waits for a place in its queue."""


class Notifier:
    """Does nothing where no service manager listens (`NOTIFY_SOCKET` is not set)."""

    def __init__(self, address: str | None = None, watchdog_usec: str | None = None) -> None:
        self._address = address if address is not None else os.environ.get("NOTIFY_SOCKET", "")
        self._watchdog_usec = (
            watchdog_usec if watchdog_usec is not None else os.environ.get("WATCHDOG_USEC", "")
        )

    @property
    def watchdog_s(self) -> float | None:
        """How often `alive` is due: half of what the service manager waits for; None without a watchdog."""
        usec = int(self._watchdog_usec) if self._watchdog_usec.isdecimal() else 0
        return usec / 2_000_000 if usec else None

    def ready(self) -> None:
        """The broker is connected and the subscriptions stand."""
        self._send("READY=1", PATIENCE_S)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """The stop has begun."""
        self._send("STOPPING=1", PATIENCE_S)

    def alive(self) -> None:
        """The event loop turns and the store writes."""
        self._send("WATCHDOG=1")

    def _send(self, message: str, patience_s: float = 0.0) -> None:
        """The event loop waits meanwhile, so it is not long, whatever the service manager does."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(patience_s)
                channel.connect(address)
                channel.sendall(message.encode())
        except OSError:
            return  # nobody listens: the service manager's matter, not a reason to stop
