"""What goes to the cloud, and what comes, read tolerantly: answers, callbacks (page wmj 4.4, 4.6, 11).

Pure. Nothing here decides what a value means; text that has none of the known shapes is a ValueError.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from bridge.domain.text import Json, loads_sent, number

SCHEDULE_HOLDS = 2
"""The device code of a switch that a schedule controls (section 5)."""

_FORM_FIELDS = 50


@dataclass(frozen=True, slots=True)
class CloudRequest:
    """A request before it gets its credentials. `command` and `info` are `cmd_type` and `info` of `/send`."""

    path: str
    serial: str
    command: str = ""
    info: Mapping[str, Json] = field(default_factory=dict)

    @property
    def operation(self) -> str:
        """Its name in metrics and errors."""
        return self.command or self.path.lstrip("/")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the cloud.

    `code` is the cloud's code, None where the answer has none (Q2). `inner` is `data`, or the whole answer
    where there is no `data`. `device_code` is what the device says: 0, another number, a text, or None where
    it says nothing.
    """

    code: int | None
    message: str
    inner: Mapping[str, Json]
    info: Mapping[str, Json]
    device_code: Json = None
    device_message: str = ""


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback. `info` is empty where the vendor sent something else, which is then `raw_info` (9.1)."""

    serial: str
    word: str
    info: Mapping[str, Json]
    raw_info: Json = None


def answer_of(body: bytes) -> Answer:
    """An answer as `{code, data: {info}}`, `{data: {info}}` or `{info}` (Q2). Raises ValueError."""
    root = loads_sent(body.removeprefix(BOM_UTF8))  # PHP may send one
    if not isinstance(root, dict):
        raise ValueError("expected a JSON object")
    code = _whole(root.get("code"))
    if code is None and root.get("code") is not None:
        raise ValueError("expected a number as code")
    data = root.get("data")
    inner = data if isinstance(data, dict) else root
    raw = inner.get("info")
    info = raw if isinstance(raw, dict) else {}
    device_code, device_message = _listed(raw) if isinstance(raw, list) else _told(info)
    return Answer(code, _text(root.get("msg")), inner, info, device_code, device_message)


def _told(info: Mapping[str, Json]) -> tuple[Json, str]:
    """The device's code and text. `status`, where it is sent, must be 1 (4.4.2)."""
    code = _whole(info.get("code"))
    status = _whole(info.get("status"))
    told: Json = code if code is not None else (_text(info.get("code")) or None)
    if status == 1 and told is None:
        told = 0
    if status is not None and status != 1 and told in (None, 0):
        told = f"status {status}"
    return told, _text(info.get("msg"))


def _listed(items: list[Json]) -> tuple[Json, str]:
    """The device's code and text where `info` is an array (Q17)."""
    words = [item for item in items if isinstance(item, str) and _whole(item) is None]
    text = ", ".join(words)
    if any(_whole(item) == SCHEDULE_HOLDS for item in items) or "schedule" in text.lower():
        return SCHEDULE_HOLDS, text
    first = items[0] if items else None
    code = _whole(first)
    return (code if code is not None else _text(first) or None), text


def _whole(value: Json) -> int | None:
    found = number(value)
    return found if isinstance(found, int) else None


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def callback_fields(body: bytes) -> Json:
    """The body of a callback: JSON whatever its type says, else a form whose `info` is JSON text (9.1).

    Raises ValueError where it is neither. What comes back need not be an object.
    """
    body = body.removeprefix(BOM_UTF8)
    try:
        return loads_sent(body)
    except ValueError as error:
        reason = str(error)
    try:
        pairs = dict(
            parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FORM_FIELDS, errors="strict")
        )
    except ValueError:
        raise ValueError(f"neither JSON nor a form: {reason}") from None
    if not pairs.keys() & {"device_sn", "cmd", "cmd_type", "info"}:
        raise ValueError(f"neither JSON nor a form: {reason}")
    return {name: _form_info(text) if name == "info" else text for name, text in pairs.items()}


def _form_info(text: str) -> Json:
    try:
        return loads_sent(text)
    except ValueError:
        return text


def callback_of(fields: Json) -> Callback:
    """The parts of a callback. Raises ValueError where the serial number or the kind is missing."""
    if not isinstance(fields, dict):
        raise ValueError("expected a JSON object")
    raw = fields.get("info")
    info = raw if isinstance(raw, dict) else {}
    serial = (_text(fields.get("device_sn")) or _text(info.get("device_sn"))).strip().upper()
    if not serial:
        raise ValueError("expected a serial number as device_sn")
    word = (_text(fields.get("cmd")) or _text(fields.get("cmd_type"))).strip()
    if not word:
        raise ValueError("expected the kind of message as cmd or cmd_type")
    return Callback(serial, word, info, None if isinstance(raw, dict) else raw)
