"""Topic ↔ parts (CONTRACT section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.domain.ids import GATEWAY, topic_level


@dataclass(frozen=True, slots=True)
class CommandTopic:
    """A command topic taken apart. `device_level` is the topic level as sent, None for account and gateway."""

    account: str
    device_level: str | None
    command: str


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics below one base topic."""

    base: str

    def bridge(self, leaf: str) -> str:
        """`status`, `info`, `event`, `ack` of the gateway."""
        return f"{self.base}/{GATEWAY}/{leaf}"

    def account(self, account: str, leaf: str) -> str:
        """`status`, `budget`, `ack` of an account."""
        return f"{self.base}/{account}/{leaf}"

    def device(self, account: str, native_id: str, leaf: str) -> str:
        """`info`, `availability`, `telemetry`, `state`, `history`, `alarm`, `event`, `ack` of a device."""
        return f"{self.base}/{account}/{topic_level(native_id)}/{leaf}"

    def device_level(self, account: str, level: str, leaf: str) -> str:
        """As `device`, for a level that is taken as it was sent (the ack to a command for an unknown device)."""
        return f"{self.base}/{account}/{level}/{leaf}"

    def ack(self, account: str, device_level: str | None) -> str:
        """Where the acknowledgements of a command go."""
        if device_level is None:
            return self.account(account, "ack")
        return self.device_level(account, device_level, "ack")

    def commands(self, account: str) -> tuple[str, ...]:
        """The subscriptions for an account's commands (its own and its devices'), or for the gateway's."""
        own = f"{self.base}/{account}/cmd/+"
        return (own,) if account == GATEWAY else (own, f"{self.base}/{account}/+/cmd/+")

    def command(self, account: str, native_id: str | None, command: str) -> str:
        """Where a command of a device is sent; `native_id` None: one of the account (or the gateway)."""
        own = f"cmd/{command}"
        return self.account(account, own) if native_id is None else self.device(account, native_id, own)

    def parse_command(self, topic: str) -> CommandTopic | None:
        """The parts of a command topic, or None if it is none of ours."""
        prefix = self.base + "/"
        if not topic.startswith(prefix):
            return None
        levels = topic[len(prefix) :].split("/")
        if len(levels) == 3 and levels[1] == "cmd" and all(levels):
            return CommandTopic(levels[0], None, levels[2])
        if len(levels) == 4 and levels[2] == "cmd" and all(levels):
            return CommandTopic(levels[0], levels[1], levels[3])
        return None

    def is_command(self, topic: str) -> bool:
        """Whether a message on this topic would be a command to some gateway below the same base."""
        return self.parse_command(topic) is not None
