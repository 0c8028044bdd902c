"""Ports of this machine: the usual one if it is free, else any other."""

from __future__ import annotations

import socket
from dataclasses import dataclass

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Port:
    """A port that was free a moment ago. `wanted` is the usual one."""

    number: int
    wanted: int

    @property
    def is_usual(self) -> bool:
        """Whether it is the one that people expect."""
        return self.number == self.wanted


def free_port(wanted: int) -> Port:
    """The wanted port if nobody listens there, else a free one."""
    return Port(wanted if _is_free(wanted) else any_port(), wanted)


def any_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        number: int = probe.getsockname()[1]
        return number


def _is_free(number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, number))
            probe.listen(1)
        except OSError:
            return False
    return True
