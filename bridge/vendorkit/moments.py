"""Times in the parameters of commands, as vendors without a zone of their own in their requests take them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo

from bridge.domain.errors import Rejection
from bridge.domain.times import parse_rfc3339

_LOCAL = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?\Z", re.ASCII)


def moment(text: str, zone: tzinfo) -> datetime:
    """RFC 3339, or `YYYY-MM-DD[ HH:MM:SS]` in `zone`, as UTC. Raises ValueError that says what was expected."""
    if not _LOCAL.match(text):
        return parse_rfc3339(text)
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected a time: {error}") from None


def named_moment(name: str, text: str, zone: tzinfo) -> datetime:
    """As `moment`, of this parameter. Raises Rejection that names it."""
    try:
        return moment(text, zone)
    except ValueError as error:
        raise Rejection("invalid_params", f"{name}: {error}") from None
