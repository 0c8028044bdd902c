"""JSON text to values and back with every digit kept: numbers with a point are `Decimal`, never binary floats."""

from __future__ import annotations

import json
import re
from decimal import MAX_PREC, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import msgspec

Json = Any
"""A JSON value as `loads` returns it: dict, list, str, int, Decimal, bool or None."""

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")
_sorted_encoder = msgspec.json.Encoder(decimal_format="number", order="sorted")
_EXACT = Context(prec=MAX_PREC)
_LARGEST = 10**31
_DEEPEST = 100
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)",
    re.DOTALL,
)
_HALF = len(r"\ud800")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?\Z")


def loads(raw: bytes | str) -> Json:
    """Strict JSON to values. Raises ValueError with a short reason; `NaN`, comments, trailing commas are errors, and
    so is a nesting of more than 100 levels: what comes in must fit into what goes out, whatever calls whom."""
    value = restored(raw)
    brackets = raw.count("[") + raw.count("{") if isinstance(raw, str) else raw.count(b"[") + raw.count(b"{")
    if brackets > _DEEPEST and _is_deeper(value, _DEEPEST):
        raise ValueError("nested too deeply")
    return value


def loads_sent(raw: bytes | str) -> Json:
    """As `loads`, for what vendors send: of a character's two halves (`\\ud83d\\ude00`) one alone, as is left where a
    text was cut by its length, becomes U+FFFD. Not for commands: two ids must not become one."""
    try:
        return loads(raw)
    except ValueError:
        text = raw if isinstance(raw, str) else raw.decode(errors="surrogateescape")
        mended = _ESCAPE.sub(_whole, text)
        if mended == text:
            raise
        return loads(mended.encode(errors="surrogateescape"))


def restored(raw: bytes | str) -> Json:
    """As `loads`, for what `dumps` wrote: at most as deep as the interpreter's stack allows."""
    try:
        return _decoder.decode(raw)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidOperation) as error:
        raise ValueError(_reason(raw, error)) from None


def verify_unique(raw: bytes | str) -> None:
    """Raises ValueError if a key stands twice in an object of this JSON text (which `loads` took): what it means then
    depends on who reads it."""
    json.loads(raw, object_pairs_hook=_unique, parse_int=str, parse_float=str)


def dumps(value: Json) -> bytes:
    """Values to compact UTF-8 JSON; a `Decimal` becomes a number with the same digits."""
    return _encoder.encode(value)


def canonical(value: Json) -> bytes:
    """As `dumps`, with sorted keys: equal values give equal bytes."""
    return _sorted_encoder.encode(value)


def number(value: object) -> int | Decimal | None:
    """A vendor's number, sent as number or as text, or None where it is none (`""`, `null`, words, bool, NaN)."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value if abs(value) < _LARGEST else None
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, str) and _NUMBER.match(value.strip()):
        return plain(Decimal(value.strip()))
    return None


def plain(value: Decimal) -> int | Decimal | None:
    """The same number without trailing zeros and exponent (346.90 → 346.9, 1E+2 → 100); None for NaN, infinity
    and magnitudes (beyond 10^±30) that no meter has and whose digits would only fill memory."""
    return _plain(value) if value.is_finite() else None


@lru_cache(maxsize=8192)
def _plain(value: Decimal) -> int | Decimal | None:
    """Kept: meters send the same numbers again and again."""
    if value == 0:
        return 0
    if not -30 <= value.adjusted() <= 30:
        return None
    if value == value.to_integral_value():
        return int(value)
    return value.normalize(_EXACT)


def flag(value: object) -> bool | None:
    """A vendor's truth (`true`, `"true"`, 1, `"1"` and their opposites), or None where it is none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower())
    if isinstance(value, int):
        return {1: True, 0: False}.get(value)
    return None


def word_of(code: object) -> str:
    """A vendor's code as part of a name: lower case, every run of other characters than a–z, 0–9 a single `_`.

    `bit1` → `bit1`, `E-21` → `e_21`, 3 → `3`. Source: METRICS.md section 2.
    """
    return re.sub(r"[^a-z0-9]+", "_", str(code).lower()).strip("_")


def _unique(pairs: list[tuple[str, Json]]) -> Json:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise ValueError(f"the key {twice[:50]!r} stands there twice")
    return None


def _reason(raw: bytes | str, error: Exception) -> str:
    text = raw if isinstance(raw, str) else raw.decode(errors="surrogateescape")
    if _ESCAPE.sub(_whole, text) != text:  # msgspec may call it truncated
        return "one half of a character stands alone (\\ud800 to \\udfff)"
    return str(error)


def _whole(escape: re.Match[str]) -> str:
    return r"\ufffd" if len(escape[0]) == _HALF else escape[0]


def _is_deeper(value: Json, levels: int) -> bool:
    """Level by level, because recursion is what must not happen here."""
    level = [value]
    for _ in range(levels):
        level = [
            part
            for outer in level
            if isinstance(outer, dict | list)
            for part in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(part, dict | list)
        ]
        if not level:
            return False
    return True
