"""The configuration: the sections of the file, each of the settings class of the package that uses it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, SecretStr

from bridge.config.yamltree import Mark
from bridge.domain.settings import Settings
from bridge.flow.settings import AuditSettings, CommandSettings
from bridge.mqtt.settings import MqttSettings
from bridge.push.settings import HttpSettings
from bridge.store.settings import StateSettings
from bridge.vendorkit.settings import AccountSettings


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class LogSettings(Settings):
    """`log`: what is written to standard error, and how."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    format: Literal["text", "json"] = "text"


class Sections(Settings):
    """The file as a whole. Each account is validated by the settings class of its vendor."""

    mqtt: MqttSettings = MqttSettings()
    http: HttpSettings = HttpSettings()
    state: StateSettings = StateSettings()
    commands: CommandSettings = CommandSettings()
    audit: AuditSettings = AuditSettings()
    log: LogSettings = LogSettings()
    accounts: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration without mistakes. `accounts` holds instances of their vendors' settings classes."""

    mqtt: MqttSettings
    http: HttpSettings
    state: StateSettings
    commands: CommandSettings
    audit: AuditSettings
    log: LogSettings
    accounts: tuple[AccountSettings, ...]
    source: Path
    marks: Mapping[str, Mark] = field(default_factory=dict, repr=False, compare=False)

    def position(self, key_path: str) -> str:
        """`file:line` of a key such as `accounts[0].poll`, or of the nearest one above it in the file."""
        while key_path and key_path not in self.marks:
            key_path = re.sub(r"(\A|\.)[^.\[\]]*\Z|\[[^\[\]]*\]\Z|(?s:.)\Z", "", key_path, count=1)
        mark = self.marks.get(key_path)
        return f"{self.source}:{mark.line}" if mark else str(self.source)

    def secrets(self) -> tuple[str, ...]:
        """The text of every secret, longest first, so that a log may mask them in this order."""
        parts = (self.mqtt, self.http, self.state, self.commands, self.audit, self.log, *self.accounts)
        return tuple(
            sorted({text for part in parts for text in _secrets(part)}, key=lambda text: (-len(text), text))
        )


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        if value.get_secret_value():
            yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for _name, part in value:
            yield from _secrets(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _secrets(part)
    elif isinstance(value, tuple | list | set | frozenset):
        for part in value:
            yield from _secrets(part)
