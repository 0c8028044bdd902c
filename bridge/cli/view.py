"""MQTT messages as lines for people: time, who, what, the essential values. Pure, but for what it learns of names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import click

from bridge.cli.tables import padded, printable, shortened, width
from bridge.domain.ids import GATEWAY
from bridge.domain.metrics import METRICS
from bridge.domain.quantity import duration_text
from bridge.domain.text import Json, dumps, loads
from bridge.domain.times import rfc3339

FIRST = (
    "switch_state", "valve_state", "plant_status", "active_power", "voltage", "current", "import_energy",
    "water_volume", "gas_volume", "gas_flow", "yield_today", "yield_total", "balance_money", "temperature",
)  # fmt: skip
"""The metrics that people look for first."""

_WHERE_COLUMNS = 34
_KIND_COLUMNS = 12
_MOST_CHARS = 300
_SEVERITY = {"critical": "red", "warning": "yellow", "info": "cyan"}
_STATUS = {"succeeded": "green", "accepted": "blue", "sent": "blue"}
_WORD = {"online": "green", "offline": "red"}


@dataclass(frozen=True, slots=True)
class Seen:
    """One message as it came."""

    topic: str
    payload: bytes
    retained: bool
    at: datetime

    def value(self) -> Json:
        """The payload as JSON, else as text."""
        try:
            return loads(self.payload)
        except ValueError:
            return self.payload.decode(errors="replace")

    def as_json(self) -> str:
        """One JSON line."""
        document = {
            "received_ts": rfc3339(self.at),
            "topic": self.topic,
            "retained": self.retained,
            "payload": self.value(),
        }
        return dumps(document).decode()


@dataclass(frozen=True, slots=True)
class Place:
    """A topic below the base: whose it is, its kind, and what follows (a command's or a metric's name)."""

    account: str
    device: str | None
    kind: str
    rest: str = ""

    @classmethod
    def of(cls, topic: str, base: str) -> Place | None:
        """None for a topic that is none of the contract's."""
        if not topic.startswith(base + "/"):
            return None
        match topic[len(base) + 1 :].split("/"):
            case [account, "cmd", command]:
                return cls(account, None, "cmd", command)
            case [account, device, "cmd", command]:
                return cls(account, device, "cmd", command)
            case [account, device, "state", metric]:
                return cls(account, device, "state", metric)
            case ["bridge", "reply", _]:
                return cls(GATEWAY, None, "reply")
            case [account, kind]:
                return cls(account, None, kind)
            case [account, device, kind]:
                return cls(account, device, kind)
        return None


@dataclass(slots=True)
class View:
    """Makes lines. `most`: values shown of a record. `hidden`: kinds that are not shown (but learnt from)."""

    base: str
    most: int = 12
    hidden: frozenset[str] = frozenset()
    _names: dict[tuple[str, str], str] = field(default_factory=dict)

    def line(self, seen: Seen) -> str | None:
        """The line of a message, with colours; None for one that is hidden."""
        place = Place.of(seen.topic, self.base)
        if place is None:
            return self._laid_out(seen, seen.topic, "", _short(seen.value()))
        value = seen.value()
        self._learn(place, value)
        if place.kind in self.hidden or place.kind == "reply":
            return None
        text = self._text(place, value, seen.payload)
        return self._laid_out(seen, self._where(place), place.kind, text)

    def _learn(self, place: Place, value: Json) -> None:
        if place.kind == "info" and place.device and isinstance(value, dict) and value.get("name"):
            self._names[place.account, place.device] = str(value["name"])

    def _where(self, place: Place) -> str:
        if place.device is None:
            return place.account
        name = self._names.get((place.account, place.device))
        where = f"{place.account}/{place.device}"
        return f"{where} {name}" if name else where

    def _text(self, place: Place, value: Json, payload: bytes) -> str:
        if not payload:
            return click.style("cleared", dim=True)
        if place.kind == "cmd":
            return f"{printable(place.rest)} {_short(value) if value != {} else ''}".rstrip()
        if place.kind == "state" and place.rest:
            return f"{printable(place.rest)} {_short(value)}"
        write = _WRITERS.get(place.kind)
        if write is None or not isinstance(value, dict):
            word = _short(value)
            return click.style(word, fg=_WORD[word]) if word in _WORD else word
        try:
            return write(value, self.most)
        except (KeyError, TypeError, ValueError):
            return _short(value)  # of another make than ours: as it is

    def _laid_out(self, seen: Seen, where: str, kind: str, text: str) -> str:
        where = shortened(where, _WHERE_COLUMNS * 2)
        gap = padded(where, max(_WHERE_COLUMNS, width(where)))
        mark = click.style(" (retained)", dim=True) if seen.retained else ""
        at = seen.at.astimezone().strftime("%H:%M:%S")
        return f"{click.style(at, dim=True)}  {gap}  {padded(printable(kind), _KIND_COLUMNS)}  {text}{mark}"


def values(metrics: Mapping[str, Json], most: int) -> str:
    """Metrics with their units, the essential ones first."""
    order = [name for name in FIRST if name in metrics] + [name for name in metrics if name not in FIRST]
    shown = [f"{printable(name)} {_measured(name, metrics[name])}" for name in order[:most]]
    more = len(order) - len(shown)
    return "  ".join(shown) + (f"  … {more} more" if more > 0 else "")


def _measured(name: str, value: Json) -> str:
    text = value if isinstance(value, str) else dumps(value).decode()
    unit = METRICS[name].unit if name in METRICS else ""
    return f"{shortened(text, 40)} {unit}".rstrip()


def _record(document: dict[str, Any], most: int) -> str:
    late = "  clock suspect" if document.get("clock_suspect") is True else ""
    metrics = document.get("metrics")
    shown = values(metrics, most) if isinstance(metrics, dict) else ""
    return f"{_short(document.get('source', ''))}: {shown}{late}"


def _state(document: dict[str, Any], most: int) -> str:
    metrics, alarms = document.get("metrics"), document.get("alarms")
    shown = values(metrics, most) if isinstance(metrics, dict) else ""
    words = ", ".join(map(str, alarms)) if isinstance(alarms, list) else ""
    return f"{click.style(printable(words), fg='red')}  {shown}" if words else shown


def _alarm(document: dict[str, Any], _most: int) -> str:
    state, severity = str(document.get("state")), str(document.get("severity"))
    text = f"{document.get('code')} {state} ({severity})"
    colour = _SEVERITY.get(severity, "yellow") if state == "raised" else "green"
    return click.style(printable(text), fg=colour, bold=state == "raised") + _told(document)


def _event(document: dict[str, Any], _most: int) -> str:
    colour = _SEVERITY.get(str(document.get("severity")), "cyan")
    return click.style(printable(str(document.get("code"))), fg=colour) + _told(document)


def _ack(document: dict[str, Any], _most: int) -> str:
    status = str(document.get("status"))
    text = f"{document.get('command')} {status}"
    code = f" ({document['code']})" if document.get("code") else ""
    again = " again" if document.get("duplicate") is True else ""
    return click.style(printable(text + code + again), fg=_STATUS.get(status, "red")) + _told(document)


def _status(document: dict[str, Any], _most: int) -> str:
    word = str(document.get("state"))
    return click.style(printable(word), fg="green" if word == "online" else "yellow") + _told(document)


def _info(document: dict[str, Any], _most: int) -> str:
    if "accounts" in document:
        return f"version {_short(document.get('version'))}  accounts {_short(document['accounts'])}"
    told = [str(document[key]) for key in ("kind", "model", "firmware") if document.get(key)]
    counts = [f"{len(document[key])} {key}" for key in ("metrics", "commands") if key in document]
    return printable("  ".join([*told, *counts]))


def _budget(document: dict[str, Any], _most: int) -> str:
    rows = document.get("windows")
    if not isinstance(rows, list) or not rows:
        return "nothing used"
    tightest = rows[0]
    period = duration_text(float(tightest["window_s"]))
    text = f"{tightest['endpoint']}: {tightest['used']} of {tightest['limit']} in {period}"
    return printable(text) + (f"  … {len(rows) - 1} more" if len(rows) > 1 else "")


def _told(document: dict[str, Any]) -> str:
    message = document.get("message")
    return f"  {shortened(str(message), 120)}" if message else ""


def _short(value: Json) -> str:
    return shortened(value if isinstance(value, str) else dumps(value).decode(), _MOST_CHARS)


_WRITERS: Mapping[str, Callable[[dict[str, Any], int], str]] = {
    "telemetry": _record,
    "history": _record,
    "state": _state,
    "alarm": _alarm,
    "event": _event,
    "ack": _ack,
    "status": _status,
    "info": _info,
    "budget": _budget,
}
