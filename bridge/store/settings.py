"""The section `state` of the configuration."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ValidationInfo, field_validator

from bridge.domain.quantity import Size
from bridge.domain.settings import Settings, in_folder

_URL = re.compile(r"sqlite:(?://(?=/)|(?!//))(?P<path>[^?#\x00-\x1f\x7f]+)\Z")


def _path(url: str) -> Path:
    if re.match(r"postgres(ql)?(\+\w+)?:", url):
        raise ValueError(
            "expected sqlite:///…: this version keeps its state in SQLite, not yet in PostgreSQL"
        )
    if url.startswith("sqlite:///./"):
        raise ValueError("expected sqlite:./… for a relative path; three slashes begin an absolute one")
    match = _URL.match(url)
    if match is None or match["path"] == ":memory:" or match["path"].rpartition("/")[2] in ("", ".", ".."):
        raise ValueError("expected a URL such as sqlite:///var/lib/meterbridge/state.db or sqlite:./state.db")
    return Path(re.sub(r"\A/+", "/", match["path"]))


class StateSettings(Settings):
    """Where the journal, the spool and what else must survive are kept. `spool_max` and
    `min_free` in bytes; `min_free` 0: the disk may be filled to the last byte."""

    url: str = "sqlite:///var/lib/meterbridge/state.db"
    spool_max: Size = 512 * 1024**2
    min_free: Size = 64 * 1024**2

    @field_validator("url")
    @classmethod
    def _located(cls, value: str, info: ValidationInfo) -> str:
        path = in_folder(_path(value), info)
        return f"sqlite://{path}" if path.is_absolute() else f"sqlite:{path}"

    @field_validator("spool_max")
    @classmethod
    def _some(cls, value: int) -> int:
        if value < 1:
            raise ValueError("expected a size above 0")
        return value

    @property
    def path(self) -> Path:
        """The database file. Absolute where the settings come from a file."""
        return _path(self.url)
