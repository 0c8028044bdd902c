"""What an account allows and how its observations are treated: the part of its settings that every vendor shares."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from bridge.domain.interlocks import Interlocks

_PATTERN = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class AccountPolicy:
    """Frozen rules of one account (CONTRACT section 10). `expire_after_s`: a measurement older than this says nothing
    about now (None where devices report so seldom that it would)."""

    account: str
    vendor: str
    allow: tuple[str, ...] = ("*",)
    confirm: frozenset[str] = frozenset()
    customer_data: bool = False
    alarm_clear_after_s: float = 86400.0
    alarm_backlog_s: float = 86400.0
    counter_guard: str = "publish"
    severities: Mapping[str, str] = field(default_factory=dict)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    interlocks: Interlocks = field(default_factory=Interlocks)
    expire_after_s: int | None = None

    def allows(self, command: str) -> bool:
        """Whether the allow-list lets this command pass; its entries are names or patterns such as `*` or `set_*`."""
        return any(fnmatchcase(command, pattern) for pattern in self.allow)

    def exposes(self, native_id: str) -> bool:
        """Whether the configuration wants this device."""
        if any(fnmatchcase(native_id, pattern) for pattern in self.exclude):
            return False
        if not self.include or native_id in self.include:
            return True
        return any(fnmatchcase(native_id, pattern) for pattern in self.include)

    def unlisted(self, listed: Collection[str]) -> tuple[str, ...]:
        """The devices that the configuration names one by one and that are not among these."""
        named = (name for name in self.include if not _PATTERN & set(name))
        return tuple(name for name in named if name not in listed and self.exposes(name))
