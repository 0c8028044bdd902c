"""The section `commands` of the configuration."""

from __future__ import annotations

from bridge.domain.quantity import Duration
from bridge.domain.settings import Settings


class CommandSettings(Settings):
    """For how long commands are remembered and the broker keeps them for us, and which ones are taken:
    `allow` holds names or patterns, `confirm` names that need a confirmation beyond the dangerous ones."""

    remember: Duration = 7 * 86400.0
    session_expiry: Duration = 300.0
    allow: tuple[str, ...] = ("*",)
    confirm: tuple[str, ...] = ()
