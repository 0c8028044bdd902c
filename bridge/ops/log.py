"""Logs as JSON lines or as text, with every secret masked.

Calls give a constant event name and fields in `extra`: `log.info("mqtt.connected", extra={"protocol": "5"})`.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "message",
    "asctime",
    "taskName",
}
MASK = "***"
SHORTEST_SECRET = 4


class Redactor:
    """Masks known secrets, also URL-encoded, JSON-escaped or as Python shows them. Secrets shorter than four
    characters are left alone: masking them would make every line unreadable without hiding anything."""

    def __init__(self) -> None:
        self._forms: list[str] = []

    def add(self, secrets: Iterable[str]) -> None:
        """More secrets (after a reload, or a token that was fetched)."""
        forms = set(self._forms)
        for secret in secrets:
            if len(secret) >= SHORTEST_SECRET:
                once = {secret, quote(secret, safe=""), quote_plus(secret), quote(secret), *_escaped(secret)}
                forms |= once.union(*map(_escaped, once))  # a dictionary in an error in a log line
        self._forms = sorted(forms, key=len, reverse=True)

    def clean(self, text: str) -> str:
        """The text without any of them."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def clean_value(self, value: object) -> Any:
        """A field as a JSON value without any of them. Values, not JSON text, are masked: a secret such as `true`
        or `1234` would break the line."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Mapping):
            return {self.clean(str(key)): self.clean_value(part) for key, part in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.clean_value(part) for part in value]
        text = str(value)
        cleaned = self.clean(text)
        plain_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
        return value if plain_number and cleaned == text else cleaned


class _JsonFormatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": self._redactor.clean(record.getMessage()),
            **self._redactor.clean_value(_fields(record)),
        }
        if record.exc_info:
            document["exception"] = self._redactor.clean(self.formatException(record.exc_info))
        return json.dumps(document, ensure_ascii=False)


class _TextFormatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = self._redactor.clean_value(_fields(record))
        shown = " ".join(f"{key}={_short(value)}" for key, value in fields.items())
        text = f"{at} {record.levelname.lower():7} {record.getMessage()} {shown}".rstrip()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return self._redactor.clean(text)


def set_up(level: str, style: str, redactor: Redactor, stream: TextIO | None = None) -> None:
    """Sends all logs to one stream (stderr), `style` is `json` or `text`, `level` a name such as `info`."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter(redactor) if style == "json" else _TextFormatter(redactor))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("bridge").setLevel(level.upper())
    # paho logs packets, and so payloads, at DEBUG; httpx logs URLs, and so some vendors' secrets, at INFO
    for quiet in ("bridge.mqtt.client", "httpx", "httpcore"):
        logging.getLogger(quiet).setLevel(logging.ERROR)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def _escaped(text: str) -> set[str]:
    """The text as it stands inside JSON strings and Python's own writing."""
    return {
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
        repr(text.encode())[2:-1],
    }


def _short(value: object) -> str:
    text = str(value)
    if not text.isprintable():  # what a vendor wrote must neither begin a line nor move the cursor
        return json.dumps(text).replace("\x7f", "\\u007f")
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text
