"""What the words of `meterbridge send` mean: the target, the payload, its properties. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import click

from bridge.contract.topics import Topics
from bridge.domain.ids import GATEWAY, is_command_id, topic_level
from bridge.domain.text import Json, dumps, loads
from bridge.domain.times import rfc3339

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """Who gets the command; `device` is None for an account's own commands and the gateway's."""

    account: str
    device: str | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """`shop/W71E0000001`, `shop` or `bridge`. Raises UsageError."""
        account, slash, device = text.partition("/")
        if not account or (slash and not device) or (device and account == GATEWAY):
            raise click.UsageError(
                f"{text!r}: expected ACCOUNT/DEVICE, ACCOUNT or {GATEWAY}, such as shop/W71E0000001"
            )
        return cls(account, device or None)

    def topic(self, topics: Topics, command: str) -> str:
        """Where the command goes."""
        if not command or set(command) & set("/+#"):
            raise click.UsageError(f"{command!r}: expected the name of a command, such as breaker or read")
        return f"{self._place(topics)}/cmd/{command}"

    def ack(self, topics: Topics) -> str:
        """Where its acknowledgements come."""
        return f"{self._place(topics)}/ack"

    def info(self, topics: Topics) -> str | None:
        """Where the device tells which commands it takes."""
        return f"{self._place(topics)}/info" if self.device else None

    def _place(self, topics: Topics) -> str:
        place = f"{topics.base}/{topic_level(self.account)}"
        return f"{place}/{topic_level(self.device)}" if self.device else place


@dataclass(frozen=True, slots=True)
class Offer:
    """What `info` says of the command: its required parameters, those of its parameters that are text, and whether
    the sender must choose an `id`."""

    required: tuple[str, ...]
    needs_id: bool
    texts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, info: Json, command: str) -> Offer | None:
        """From a device's `info`; None if that does not name the command."""
        known = info.get("commands", {}).get(command) if isinstance(info, dict) else None
        if not isinstance(known, dict):
            return None
        schema = known.get("params")
        if not isinstance(schema, dict):
            return cls((), known.get("needs_id") is True)
        kinds = schema.get("properties", {})
        texts = {
            name for name, kind in kinds.items() if isinstance(kind, dict) and kind.get("type") == "string"
        }
        return cls(tuple(schema.get("required", ())), known.get("needs_id") is True, frozenset(texts))


@dataclass(frozen=True, slots=True)
class Wish:
    """A command as it was typed. `bare` is a single value without a name (None: there is none)."""

    command: str
    params: Mapping[str, Json] = field(default_factory=dict)
    bare: str | None = None
    id: str | None = None
    timeout_s: float | None = None
    expires_in_s: float | None = None
    confirm: bool = False
    dry_run: bool = False
    requester: str = "meterbridge send"
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def can_be_named(self) -> bool:
        """Whether an `id` may be made up: never one that the sender had to choose."""
        return self.id is None and "id" not in self.params


@dataclass(frozen=True, slots=True)
class Letter:
    """What is published: `id` as the acknowledgements will bear it (None: the gateway makes one up)."""

    payload: bytes
    id: str | None
    expiry_s: int | None = None


def typed(words: Sequence[str]) -> dict[str, str]:
    """Key → value of the assignments, as they were typed."""
    return {match[1]: match[2] for word in words if (match := _ASSIGNMENT.match(word)) is not None}


def read_words(words: Sequence[str]) -> tuple[dict[str, Json], str | None]:
    """The words behind the command as parameters or as one bare value. Raises UsageError."""
    if len(words) == 1 and not _ASSIGNMENT.match(words[0]):
        value = value_of(words[0])
        return (dict(value), None) if isinstance(value, dict) else ({}, words[0])
    params: dict[str, Json] = {}
    for word in words:
        match = _ASSIGNMENT.match(word)
        if match is None:
            raise click.UsageError(f"{word!r}: expected key=value; a value alone must be the only one")
        if match[1] in params:
            raise click.UsageError(f"{match[1]}: given twice")
        params[match[1]] = value_of(match[2])
    return params, None


def value_of(text: str) -> Json:
    """JSON if it is JSON, else the text itself."""
    try:
        return loads(text)
    except ValueError:
        return text


def write(wish: Wish, offer: Offer | None, protocol: int, made_up: str, now: datetime) -> Letter:
    """The payload. `made_up` becomes the `id` where the sender gave none, the command is known and does not ask
    the sender to choose one. Raises UsageError where a bare value would need its name."""
    identity = wish.id
    if identity is not None and not is_command_id(identity):
        raise click.UsageError("--id: expected 1 to 50 printable characters")
    if wish.can_be_named and offer is not None and not offer.needs_id:
        identity = made_up
    if wish.bare is not None:
        named = _named(wish, offer)
        if named is None:
            return _bare_letter(wish, wish.bare, identity, protocol)
        return _object_letter(wish, named, identity, now)
    return _object_letter(wish, _texts_kept(wish, offer), identity, now)


def _texts_kept(wish: Wish, offer: Offer | None) -> dict[str, Json]:
    """The parameters; a text that looks like a number stays a text, as it was typed."""
    texts = offer.texts if offer is not None else frozenset()
    return {
        name: wish.words[name]
        if name in texts and name in wish.words and not isinstance(value, str)
        else value
        for name, value in wish.params.items()
    }


def _named(wish: Wish, offer: Offer | None) -> dict[str, Json] | None:
    """The bare value under its name, where that is known. A text that looks like a number stays a text."""
    if offer is None or len(offer.required) != 1 or wish.bare is None:
        return None
    name, value = offer.required[0], value_of(wish.bare)
    return {name: wish.bare if name in offer.texts and not isinstance(value, str) else value}


def _bare_letter(wish: Wish, bare: str, identity: str | None, protocol: int) -> Letter:
    only_in_objects = wish.confirm or wish.dry_run or wish.timeout_s is not None
    only_in_mqtt_5 = wish.id is not None or wish.expires_in_s is not None
    if only_in_objects or (only_in_mqtt_5 and protocol != 5):
        raise click.UsageError(
            f"the name of the parameter {bare!r} is not known here: with options, write NAME={bare}"
        )
    expiry_s = None if wish.expires_in_s is None else max(1, int(wish.expires_in_s))
    return Letter(bare.encode(), identity if protocol == 5 else None, expiry_s)


def _object_letter(wish: Wish, params: Mapping[str, Json], identity: str | None, now: datetime) -> Letter:
    body: dict[str, Any] = dict(params)
    if identity is not None:
        body["id"] = identity
    if wish.timeout_s is not None:
        body["timeout_s"] = int(wish.timeout_s) if wish.timeout_s == int(wish.timeout_s) else wish.timeout_s
    if wish.expires_in_s is not None:
        body["expires_at"] = rfc3339(now + timedelta(seconds=wish.expires_in_s))
    body |= {name: True for name in ("confirm", "dry_run") if getattr(wish, name)}
    given = body.get("id")
    return Letter(dumps(body), given if isinstance(given, str) else None)
