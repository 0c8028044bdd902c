"""Command payloads: bytes and MQTT 5 properties to a request, or a Rejection that says what is wrong (section 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from bridge.domain.command import CommandSpec, Params
from bridge.domain.errors import Rejection
from bridge.domain.ids import id_from_correlation, is_command_id
from bridge.domain.text import Json, dumps, loads, verify_unique
from bridge.domain.times import parse_rfc3339

RESERVED = ("id", "expires_at", "timeout_s", "confirm", "dry_run")
MOST_FLOAT_DIGITS = 15
MAX_TIMEOUT_S = 30 * 86400


@dataclass(frozen=True, slots=True)
class CommandMessage:
    """A command as it came over MQTT. `expiry_s` is the rest of the Message Expiry Interval at `received_at`;
    `mid` and `dup` are the packet's, to recognise a redelivery."""

    topic: str
    payload: bytes
    received_at: datetime
    retained: bool = False
    dup: bool = False
    mid: int = 0
    response_topic: str | None = None
    correlation: bytes | None = None
    expiry_s: int | None = None
    requester: str | None = None

    @property
    def digest(self) -> bytes:
        """Equal for the same bytes on the same topic: what a redelivery has in common with its original."""
        parts = (self.topic.encode(), self.payload, self.correlation or b"")
        return hashlib.sha256(b"\x00".join(parts)).digest()


@dataclass(frozen=True, slots=True)
class Envelope:
    """The reserved keys of a command, and the rest. `bare` holds a payload that is no object (then `params` is
    empty); `id` is None where the sender gave none."""

    id: str | None
    expires_at: datetime | None
    timeout_s: float | None
    confirm: bool
    dry_run: bool
    params: Mapping[str, Json]
    bare: Json
    is_bare: bool


def readable_id(message: CommandMessage) -> str | None:
    """The id that an acknowledgement of this message should bear, as far as one can be read from it."""
    try:
        value = loads(message.payload) if message.payload.strip() else {}
    except ValueError:
        value = None
    if isinstance(value, dict) and isinstance(value.get("id"), str):
        return str(value["id"])[:200]
    return id_from_correlation(message.correlation) if message.correlation is not None else None


def open_envelope(message: CommandMessage) -> Envelope:
    """Raises Rejection `invalid_payload` (no JSON object, no bare value) or `invalid_params` (a reserved key)."""
    value, is_bare = _value(message.payload)
    fields: dict[str, Json] = {} if is_bare else dict(value)
    expires_at = _expires_at(fields.pop("expires_at", None))
    if message.expiry_s is not None:
        by_message = message.received_at + timedelta(seconds=message.expiry_s)
        expires_at = min(expires_at, by_message) if expires_at else by_message
    return Envelope(
        id=_id(fields, message.correlation),
        expires_at=expires_at,
        timeout_s=_timeout_s(fields.pop("timeout_s", None)),
        confirm=_bool(fields, "confirm"),
        dry_run=_bool(fields, "dry_run"),
        params=fields,
        bare=value if is_bare else None,
        is_bare=is_bare,
    )


def validate(spec: CommandSpec, envelope: Envelope) -> Params:
    """The parameters as the spec's model. Raises Rejection `invalid_payload` or `invalid_params`."""
    given: dict[str, Json] = dict(envelope.params)
    if envelope.is_bare:
        key = spec.bare_key()
        if key is None:
            raise Rejection(
                "invalid_payload",
                f"expected a JSON object with the parameters of {spec.name!r}"
                + (
                    f" ({', '.join(spec.params.model_fields)})" if spec.params.model_fields else " (none: {})"
                ),
            )
        given = {key: _bare_for(spec, key, envelope.bare)}
    if nulls := _nulls(spec, given):
        texts = [f"{path}: expected a value, got null (leave out what is not meant)" for path in nulls[:5]]
        raise Rejection("invalid_params", "; ".join(texts))
    try:
        return spec.params.model_validate_json(dumps(_as_python(given)))
    except ValidationError as error:
        raise Rejection("invalid_params", _mistakes(spec, error, given)) from None


def fingerprint_of(command: str, params: Params) -> dict[str, Any]:
    """What makes two commands with the same `id` the same: the command and its parameters, as given."""
    return {"command": command, "params": params.model_dump(mode="json", exclude_unset=True)}


def _value(payload: bytes) -> tuple[Json, bool]:
    if not payload.strip():
        return {}, False
    try:
        value = loads(payload)
    except ValueError as error:
        try:
            text = payload.decode().strip()
        except UnicodeDecodeError:
            raise Rejection("invalid_payload", "the payload is neither JSON nor UTF-8 text") from None
        if not text:  # white space that JSON does not know
            return {}, False
        if text.lstrip("\ufeff")[:1] in ("{", "[", '"'):
            raise Rejection("invalid_payload", f"the payload is no valid JSON: {error}") from None
        return _Text(text), True
    if isinstance(value, dict):
        try:
            verify_unique(payload.decode())
        except ValueError as error:
            raise Rejection("invalid_payload", f"the payload is ambiguous: {error}") from None
        return value, False
    if isinstance(value, list) or value is None:
        raise Rejection(
            "invalid_payload", "expected a JSON object, got " + ("null" if value is None else "a list")
        )
    return (value if isinstance(value, str) else _Raw(value, payload.decode().strip())), True


class _Text(str):
    """A bare payload that is no JSON: text as it stands."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Raw:
    """A bare JSON number or truth value with its text, because a text parameter may look like a number."""

    value: Json
    text: str


def _bare_for(spec: CommandSpec, key: str, bare: Json) -> Json:
    if not isinstance(bare, _Raw):
        return str(bare)
    kinds = spec.schema()["properties"][key].get("type")
    return bare.text if kinds == "string" else bare.value


def _nulls(spec: CommandSpec, given: Mapping[str, Json]) -> Sequence[str]:
    """Parameters, and fields of those that are lists of objects, that are null: the models mean "not given" by it, a
    sender may well have meant something."""
    found = [name for name in spec.params.model_fields if name in given and given[name] is None]
    for name, value in given.items():
        items = enumerate(value) if isinstance(value, list) else ()
        found += [
            f"{name}.{index}.{key}"
            for index, item in items
            if isinstance(item, dict)
            for key, field in item.items()
            if field is None
        ]
    return found


def _as_python(value: Json) -> Json:
    """Numbers as pydantic's strict mode takes them: 15.0 is the integer 15 (JSON Schema says so)."""
    if isinstance(value, Decimal):
        if value == value.to_integral_value() and abs(value) < 10**18:
            return int(value)
        # pydantic reads JSON numbers by way of floats; as text a decimal parameter gets every digit
        return str(value) if len(value.as_tuple().digits) > MOST_FLOAT_DIGITS else value
    if isinstance(value, dict):
        return {key: _as_python(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_python(item) for item in value]
    return value


def _mistakes(spec: CommandSpec, error: ValidationError, given: Json) -> str:
    items = error.errors(include_url=False, include_context=False)
    # of an optional parameter pydantic tells one mistake for each type that it may have, null included
    optional = {item["loc"][:-1] for item in items if item["type"] == "none_required"}
    texts = []
    for item in [item for item in items if item["type"] != "none_required"][:5]:
        place = _without_type(item["loc"], optional)
        path = ".".join(str(part) for part in place) or "parameters"
        if _has_too_many_digits(given, place):
            texts.append(f"{path}: expected a number of at most {MOST_FLOAT_DIGITS} digits")
        elif item["type"] == "extra_forbidden":
            known = ", ".join((*spec.params.model_fields, *RESERVED))
            texts.append(f"{path}: no such parameter (known: {known})")
        elif item["type"] == "missing":
            texts.append(f"{path}: is required")
        else:
            texts.append(f"{path}: {_reworded(item['msg'])}")
    return "; ".join(texts)


def _reworded(message: str) -> str:
    return (
        message.removeprefix("Value error, ")
        .replace("Input should be", "expected")
        .replace("String should have", "expected text with")
    )


def _has_too_many_digits(given: Json, place: Sequence[int | str]) -> bool:
    for part in place:
        known = range(len(given)) if isinstance(given, list) else given
        if not isinstance(given, dict | list) or part not in known:
            return False
        given = given[part]  # type: ignore[index] # of a list, a number by the line above
    return isinstance(given, Decimal) and isinstance(_as_python(given), str)


def _without_type(path: tuple[int | str, ...], optional: Set[tuple[int | str, ...]]) -> Sequence[int | str]:
    """A mistake's place without pydantic's name of the type that was tried: people know the parameter only."""
    return [part for index, part in enumerate(path) if path[:index] not in optional]


def _id(fields: dict[str, Json], correlation: bytes | None) -> str | None:
    value = fields.pop("id", None)
    if value is None:
        return id_from_correlation(correlation) if correlation is not None else None
    if not is_command_id(value):
        raise Rejection("invalid_params", "id: expected text of 1 to 50 printable characters")
    return str(value)


def _expires_at(value: Json) -> datetime | None:
    if value is None:
        return None
    try:
        return parse_rfc3339(value)
    except ValueError as error:
        raise Rejection("invalid_params", f"expires_at: {error}") from None


def _timeout_s(value: Json) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if (
        not is_number or not 0 < value <= MAX_TIMEOUT_S or float(value) == 0
    ):  # 1e-400 is above 0, and a float of 0
        raise Rejection(
            "invalid_params", f"timeout_s: expected a number of seconds above 0, up to {MAX_TIMEOUT_S}"
        )
    return float(value)


def _bool(fields: dict[str, Json], key: str) -> bool:
    value = fields.pop(key, False)
    if not isinstance(value, bool):
        raise Rejection("invalid_params", f"{key}: expected true or false")
    return value
