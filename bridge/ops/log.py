"""Logs as JSON lines or as text, with every secret masked.

Calls give a constant event name and fields in `extra`: `log.info("mqtt.connected", extra={"protocol": "5"})`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterable
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
    """Masks known secrets, also in their URL-encoded forms. Secrets shorter than four characters are left alone:
    masking them would make every line unreadable without hiding anything."""

    def __init__(self) -> None:
        self._forms: list[str] = []

    def add(self, secrets: Iterable[str]) -> None:
        """More secrets (after a reload, or a token that was fetched)."""
        forms = set(self._forms)
        for secret in secrets:
            if len(secret) >= SHORTEST_SECRET:
                forms |= {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
        self._forms = sorted(forms, key=len, reverse=True)

    def clean(self, text: str) -> str:
        """The text without any of them."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text


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
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return self._redactor.clean(json.dumps(document, default=str, ensure_ascii=False))


class _TextFormatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = " ".join(f"{key}={_short(value)}" for key, value in _fields(record).items())
        text = f"{at} {record.levelname.lower():7} {record.getMessage()} {fields}".rstrip()
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


def _short(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text
