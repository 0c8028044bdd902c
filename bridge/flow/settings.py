"""The section `commands` of the configuration."""

from __future__ import annotations

from pydantic import Field, field_validator

from bridge.domain.command_names import CommandName, CommandPattern
from bridge.domain.quantity import Duration
from bridge.domain.settings import LocalPath, Settings


class CommandSettings(Settings):
    """For how long commands are remembered and the broker keeps them for us, and which ones are taken:
    `allow` holds names or patterns, `confirm` names that need a confirmation beyond the dangerous ones. `requester`:
    who counts as having asked where the message does not say."""

    remember: Duration = 7 * 86400.0
    session_expiry: Duration = 300.0
    allow: tuple[CommandPattern, ...] = ("*",)
    confirm: tuple[CommandName, ...] = ()
    requester: str | None = Field(default=None, min_length=1, max_length=200)

    @field_validator("remember")
    @classmethod
    def _long_enough(cls, value: float) -> float:
        if value < 60:
            raise ValueError("expected at least 1m: a command that comes twice must be known again")
        return value


class AuditSettings(Settings):
    """The section `audit`: the file to which every step of every command is appended."""

    file: LocalPath | None = None
