"""The parameters of the commands (METRICS 4.1, jrhsz), and the times in them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import Literal

from pydantic import Field, field_validator

from bridge.domain.command import Params
from bridge.domain.errors import Rejection
from bridge.domain.times import parse_rfc3339

_LOCAL = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?\Z", re.ASCII)


class Breaker(Params):
    """`breaker`."""

    state: Literal["on", "off"] = Field(description="on: supply on; off: supply cut")


class Valve(Params):
    """`valve`."""

    state: Literal["open", "close"] = Field(description="what the valve is to do")


class History(Params):
    """`history`."""

    start: str = Field(description="RFC 3339, or YYYY-MM-DD[ HH:MM:SS] in the platform's time zone")
    end: str = Field(description="likewise, after start")
    interval_s: int = Field(
        default=3600, ge=1, description="no effect: the platform gives the readings that there are"
    )

    @field_validator("start", "end")
    @classmethod
    def _time(cls, value: str) -> str:
        moment(value, UTC)
        return value

    def moments(self, zone: tzinfo) -> tuple[datetime, datetime]:
        """`start` and `end` as UTC. Raises Rejection where one is not possible in `zone`."""
        return _named("start", self.start, zone), _named("end", self.end, zone)


def moment(text: str, zone: tzinfo) -> datetime:
    """A time of a parameter as UTC. Raises ValueError that says what was expected."""
    if not _LOCAL.match(text):
        return parse_rfc3339(text)
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected a time: {error}") from None


def _named(name: str, text: str, zone: tzinfo) -> datetime:
    try:
        return moment(text, zone)
    except ValueError as error:
        raise Rejection("invalid_params", f"{name}: {error}") from None
