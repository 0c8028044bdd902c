"""The parameters of the commands (METRICS 4.1, jrhsz), and the times in them."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Literal

from pydantic import Field, field_validator

from bridge.domain.command import Params
from bridge.vendorkit.moments import moment, named_moment


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
        return named_moment("start", self.start, zone), named_moment("end", self.end, zone)
