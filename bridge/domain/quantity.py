"""Durations (`30s`, `5m`, `1h`, `7d`) and sizes (`1MiB`) as the configuration writes them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_DURATION = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|d|w)\s*\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LONGEST_S = 5200 * 604800.0  # a century: what is longer does not fit into dates
_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(B|kB|KiB|MB|MiB|GB|GiB)?\s*\Z")
_BYTES = {
    None: 1,
    "B": 1,
    "kB": 1000,
    "KiB": 1024,
    "MB": 1000**2,
    "MiB": 1024**2,
    "GB": 1000**3,
    "GiB": 1024**3,
}


def duration_s(value: Any) -> float:
    """Seconds of a duration text. Raises ValueError that says what was expected; a bare number is refused."""
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a duration with its unit, such as 500ms, 30s, 5m, 1h or 7d")
    seconds = float(match.group(1)) * _SECONDS[match.group(2)]
    if seconds > _LONGEST_S:
        raise ValueError("expected a duration of at most 5200w")
    return seconds


def duration_text(seconds: float) -> str:
    """The shortest exact text of a duration: 300 → `5m`."""
    for unit in ("w", "d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    exact = Decimal(f"{seconds:.9f}")  # as many digits as `duration_s` reads
    return f"{exact.normalize():f}s" if seconds >= 1 else f"{(exact * 1000).normalize():f}ms"


def size_bytes(value: Any) -> int:
    """Bytes of a size text or a plain number of bytes. Raises ValueError that says what was expected."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a size such as 65536, 512KiB, 1MiB or 2GiB")
    return int(float(match.group(1)) * _BYTES[match.group(2)])


def _in_seconds(value: Any) -> float:
    return value if isinstance(value, float) else duration_s(value)


Duration = Annotated[
    float,
    BeforeValidator(_in_seconds, json_schema_input_type=str),
    PlainSerializer(duration_text, return_type=str),
]
"""A settings field that is written as a duration and read as seconds."""

Size = Annotated[int, BeforeValidator(size_bytes, json_schema_input_type=int | str)]
"""A settings field that is written as a size and read as bytes."""
