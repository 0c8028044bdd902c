"""What the demo asks of a simulated vendor cloud. Each is a module of its own, and an entry in `demo.fleet`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Protocol

from bridge.domain.text import Json

Tell = Callable[[str], None]
"""Says something to the spectators."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A command worth trying: what it shows, its target (`account/device`, `account`), name and payload: its
    parameters, or the value of its only one."""

    shows: str
    target: str
    command: str
    payload: dict[str, Json] | str = field(default_factory=dict)


class DemoCloud(Protocol):
    """One simulated cloud with one account at it."""

    @property
    def account(self) -> str:
        """The account's id in the configuration."""
        ...

    @property
    def vendor(self) -> str:
        """The vendor's name."""
        ...

    async def start(self, stack: AsyncExitStack, gateway_url: str) -> str:
        """Begins to serve on 127.0.0.1 until the stack closes. `gateway_url` is where the gateway will take pushes.
        Returns the account's entry in the list `accounts` of the configuration, YAML that begins with `- id:`."""
        ...

    def devices(self) -> Sequence[tuple[str, str]]:
        """(id, name) of its devices."""
        ...

    def suggestions(self) -> Sequence[Suggestion]:
        """What to try, the best first."""
        ...

    async def story(self, tell: Tell) -> None:
        """What happens by itself while people look on; begins when the gateway is ready, runs until it is
        cancelled."""
        ...
