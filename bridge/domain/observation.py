"""What comes from a vendor: readings, alarms, events, availability, descriptions. Plain values, made by codecs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from bridge.domain.device import Device
from bridge.domain.text import Json

Value = int | Decimal | bool | str
"""The value of a metric, in the one unit that `domain.metrics` gives it."""


class Origin(StrEnum):
    """How a record reached the gateway; the `source` of the payloads (CONTRACT section 3)."""

    POLL = "poll"
    PUSH = "push"
    COMMAND = "command"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class Reading:
    """Measurements of one device taken together; becomes a record on `telemetry` or `history`.

    `observed_at` is the device's own time in UTC, None where the vendor gives none (then `received_at` counts).
    `metrics` has only names of `domain.metrics`, in their units; a missing value is absent, never zero.
    `extra` keeps, as sent, what the vendor delivered beyond the known fields, less customer data.
    `announced` names those of the metrics whose change this message itself announces (a vendor's switch report),
    each with what the vendor sent about it, for the `data` of the event; `sent` the same of metrics whose change is
    only seen.
    `series` names the vendor's own series that the record is one of (iotmeter: real-time or frozen), where the vendor
    says that it sends one record per device, series and time, in several forms: then a record of which everything
    is known already is the same one. Empty: only equal values make it the same.
    `sole`, of the past: the vendor keeps one record per device and time, perhaps in a form of its own, so whatever was
    published of that time is this record.
    `covers`: what only `fills` gaps adds nothing to the time of this record, now or after a restart.
    """

    device: str
    received_at: datetime
    origin: Origin
    metrics: Mapping[str, Value]
    observed_at: datetime | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)
    announced: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    series: str = ""
    sole: bool = False
    sent: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    covers: bool = False
    fills: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """Values that a vendor sends without a time of their own beside timed readings (METRICS rule 7).

    They go into `state` with the event that belongs to a change and do not move the device's telemetry clock.
    """

    device: str
    received_at: datetime
    origin: Origin
    metrics: Mapping[str, Value]


class AlarmState(StrEnum):
    """CONTRACT section 5."""

    RAISED = "raised"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class AlarmMessage:
    """One alarm as a vendor tells it (kind M of METRICS section 2).

    `started_at` is the vendor's alarm time or None (then the time of receipt). `ended_at` is set when the vendor
    says that it is over; `standing` when it says, of one told before, that it is not. `code` is a code of
    `domain.alarms` or `vendor_<code>`; `vendor_code` the vendor's own.
    """

    device: str
    code: str
    vendor_code: str
    received_at: datetime
    origin: Origin
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cleared: bool = False
    standing: bool = False
    message: str = ""
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened once. `happened_at` is the vendor's time or None (then the time of receipt)."""

    device: str
    code: str
    received_at: datetime
    origin: Origin
    happened_at: datetime | None = None
    vendor_code: str = ""
    message: str = ""
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a device can be reached.

    `said` is true where the vendor says it in so many words (then a change is also the event `online` or
    `offline`); false where the gateway concludes it. `at` is the vendor's time of the statement or None; a
    statement older than the last one applied is ignored. `announced`: the statement is itself a message about
    the change, so the event is due even if the same state was concluded before. `vendor_code`: the code in which the
    vendor says it, if it has one.
    """

    device: str
    online: bool
    received_at: datetime
    origin: Origin
    said: bool
    at: datetime | None = None
    announced: bool = False
    vendor_code: str = ""
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Described:
    """A device as it is known now: a new one, or one of which something more became known.

    Fields that are None or empty do not erase what was known before.
    """

    device: Device


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A vendor's word on a command that it works on asynchronously (iotmeter 9.4), matched by reference or id.

    `commands` names the commands that make what the word is about: another one that only bears the same reference
    (it asked about it, or cancelled it) is not its origin. `replaces`: the native states that this word turns over
    even after the final acknowledgement (6, 7, 99 → 3).
    """

    vendor_ref: Json
    command_id: str | None
    device: str | None
    native_state: Json
    received_at: datetime
    data: Mapping[str, Json] = field(default_factory=dict)
    commands: frozenset[str] = frozenset()
    replaces: frozenset[int] = frozenset()


Observation = Reading | Words | AlarmMessage | Event | Availability | Described | Confirmation


@dataclass(frozen=True, slots=True)
class Batch:
    """Observations that are taken together, in this order: all of them in one transaction or none.

    `body_key` identifies the message they came from where the vendor gives neither id nor time: a batch with the
    same key within `body_window_s` is the same message and is taken as done. `next_in_s` lets a poll say when
    asking again makes sense (None: as planned). `asked` False: it is no word of the vendor, who was not asked or did
    not answer.
    """

    observations: Sequence[Observation]
    body_key: str | None = None
    body_window_s: float = 0.0
    next_in_s: float | None = None
    asked: bool = True
