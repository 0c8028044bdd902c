"""The door for the platform's pushes (page iotmeter, section 9; CONTRACT section 9). Reads, never asks.

What is answered `success` is what the caller of `parse` has stored; ids in answers come from the keys by which a
repetition is recognised, so the same push gets the same answer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import uuid
from codecs import BOM_UTF8
from collections.abc import Callable, Generator, Sequence
from datetime import tzinfo
from functools import lru_cache
from urllib.parse import unquote

from bridge.domain.account import AccountPolicy
from bridge.domain.device import DeviceKind
from bridge.domain.errors import PushDenied, PushMalformed, PushUnusable
from bridge.domain.observation import Availability, Batch, Confirmation, Described, Observation, Origin
from bridge.domain.text import Json, canonical, dumps, loads_sent
from bridge.domain.times import rfc3339
from bridge.ports import PushAnswer, Pushed, PushRequest
from bridge.vendors.iotmeter.codec import Codec, kind_of
from bridge.vendors.iotmeter.notes import Notes
from bridge.vendors.iotmeter.settings import IotMeterSettings
from bridge.vendors.iotmeter.tasks import DOUBTFUL_STATES, SUCCESS, SUFFIXES, task_of
from bridge.vendors.iotmeter.wire import Record, decoded, device_id, instant, text_of, whole

METER_DATA = "/api/data/meterdata/add"
DEVICE_ALARM = "/api/data/devicealarm/add"
DEVICE_EVENT = "/api/data/deviceevent/add"
REPORT = "/api/conf/ctrldata/report"

_NAMESPACE = uuid.UUID("8f1f3c0e-6d0a-5b57-9f39-6f2f6b1f7a11").bytes
_KEYS = {
    METER_DATA: ("meter_comm_no", "data_type", "acquisition_time"),
    DEVICE_ALARM: ("device_comm_no", "device_type", "alarm_time", "alarm_code"),
    DEVICE_EVENT: ("device_comm_no", "device_type", "event_time", "event_code"),
}
"""What makes a push the same one again (9.5), beside the company."""
_MOST = 2**31 - 1
MOST_PARTS = 20
PIECE = 100
"""So many items of an array are converted at a time: a millisecond or two."""
"""Of a push with more unusable parts the whole body is put aside, once."""


def guid(key: str) -> str:
    """A `data_guid`: Base64 of 16 bytes, 24 characters, the same for the same key (9.1). The bytes of `uuid.uuid5`,
    without its object."""
    raw = bytearray(hashlib.sha1(_NAMESPACE + key.encode(), usedforsecurity=False).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x50
    raw[8] = raw[8] & 0x3F | 0x80
    return base64.b64encode(raw).decode()


def positive_int(key: str) -> int:
    """An `alarm_id` or `event_id`: 1 to 2³¹ − 1, the same for the same key (9.2, 9.3)."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % _MOST + 1


@lru_cache(maxsize=64)
def route(tail: str) -> str | None:
    """The end point behind a path, in any case, with doubled slashes, with the word `post` that the vendor's text
    has in front (section 9); None for any other path."""
    parts = [part for part in unquote(tail).lower().replace(" ", "/").split("/") if part]
    if parts[:1] == ["post"]:
        parts = parts[1:]
    path = "/" + "/".join(parts)
    return path if path in (METER_DATA, DEVICE_ALARM, DEVICE_EVENT, REPORT) else None


class PlatformDoor:
    """The four receivers of one account."""

    def __init__(
        self,
        settings: IotMeterSettings,
        policy: AccountPolicy,
        codec: Codec,
        notes: Notes,
        log: logging.Logger,
    ) -> None:
        self._company = settings.data.company_no
        self._key = settings.data.api_key
        self._require = settings.push is not None and settings.push.require_key_headers
        self._zone: tzinfo = settings.zone
        self._policy = policy
        self._codec = codec
        self._notes = notes
        self._log = log
        self._told_absent = False
        self._readers: dict[str, Callable[[Record, PushRequest], list[Observation]]] = {
            METER_DATA: self._reading,
            DEVICE_ALARM: self._alarm,
            DEVICE_EVENT: self._event,
            REPORT: self._report,
        }

    def parse(self, request: PushRequest) -> Pushed:
        """One batch per push. What cannot be used of an array is put aside, the rest is taken."""
        parsing = self.parsing(request)
        while True:
            try:
                next(parsing)
            except StopIteration as end:
                pushed: Pushed = end.value
                return pushed

    def parsing(self, request: PushRequest) -> Generator[None, None, Pushed]:
        """`parse`, with a pause after each PIECE items."""
        endpoint = route(request.tail)
        if endpoint is None:
            raise PushDenied(404, "no such receiver", what="path")
        if not request.vouched:
            self._check_headers(request)
        items, is_list = _items(request.body)
        observations: list[Observation] = []
        unusable: list[tuple[bytes, str]] = []
        good: Record | None = None
        seen: set[bytes] = set()
        for number, item in enumerate(items, 1):
            if number % PIECE == 0:
                yield
            if len(items) > 1 and not _is_new(seen, item):
                continue
            try:
                observations += self._read(endpoint, item, request)
            except ValueError as error:
                if not is_list:
                    raise PushUnusable(str(error)) from None
                unusable.append((canonical(item), str(error)))
                continue
            good = item if good is None else good
        if not items and endpoint != REPORT:
            raise PushUnusable("the list is empty")
        if items and not observations:
            raise PushUnusable(unusable[0][1])
        if len(unusable) > MOST_PARTS:
            reason = f"{len(unusable)} of {len(items)} parts could not be used, the first: {unusable[0][1]}"
            unusable = [(request.body, reason)]
        answer = _answer(endpoint, items, self._id_of(endpoint, good) if good is not None else "")
        keep = self._notes.save if self._notes.has_new else None
        return Pushed([Batch(observations)] if observations else [], answer, unusable, keep)

    def success(self, request: PushRequest) -> PushAnswer:
        """As if it had been usable: it will not get better by repetition (9.5)."""
        endpoint = route(request.tail) or METER_DATA
        try:
            items, _ = _items(request.body)
        except (PushMalformed, PushUnusable):
            items = []
        return _answer(endpoint, items, hashlib.sha256(request.body).hexdigest())

    def failure(self, request: PushRequest | None, status: int, reason: str) -> PushAnswer:
        """`State` `failed`, and `Data` as empty as the end point has it (9.5)."""
        endpoint = route(request.tail) if request is not None else None
        empty: Json = {DEVICE_ALARM: 0, DEVICE_EVENT: 0, REPORT: []}.get(endpoint or "")
        return _page(status, empty, "failed", reason)

    def _check_headers(self, request: PushRequest) -> None:
        """Both headers where they are sent; whether the platform sends them with every push is not stated (2.3)."""
        wanted = {"company_no": self._company, "data_api_key": self._key.get_secret_value()}
        missing = [name for name in wanted if name not in request.headers]
        fits = [
            hmac.compare_digest(request.headers[name].encode(), value.encode())
            for name, value in wanted.items()
            if name in request.headers
        ]
        if not all(fits):
            raise PushDenied(401, "company_no or data_api_key is wrong")
        if not missing:
            return
        if self._require:
            raise PushDenied(
                401,
                f"{' and '.join(missing)} missing: does a proxy drop names with underscores?",
                what="key_missing",
            )
        if not self._told_absent:
            self._told_absent = True
            self._log.warning("push.without_key_headers", extra={"account": self._policy.account})

    def _read(self, endpoint: str, item: Json, request: PushRequest) -> list[Observation]:
        if not isinstance(item, dict):
            raise ValueError("expected a JSON object")
        return self._readers[endpoint](item, request)

    def _reading(self, record: Record, request: PushRequest) -> list[Observation]:
        _, kind = self._device(record, "meter_comm_no")
        return self._met(self._codec.seen(record, request.received_at, Origin.PUSH, kind))

    def _alarm(self, record: Record, request: PushRequest) -> list[Observation]:
        _, kind = self._device(record, "device_comm_no")
        return self._met(self._codec.alarm(record, request.received_at, Origin.PUSH, kind))

    def _event(self, record: Record, request: PushRequest) -> list[Observation]:
        _, kind = self._device(record, "device_comm_no")
        return self._met(self._codec.event(record, request.received_at, Origin.PUSH, kind))

    def _report(self, record: Record, request: PushRequest) -> list[Observation]:
        """A word on a task, whoever made it: the journal knows whether it is one of ours. It moves nothing by itself,
        since anybody who knows the address could send it (9.6). A late 3 replaces 6, 7 and 99 (6.1)."""
        task = task_of(record, self._zone)
        device = self._exposed(device_id(record.get("meter_comm_no") or record.get("target_comm_no")))
        self._notes.meet(device, request.received_at, request.received_at)
        data = {
            name: decoded(value) if name in ("return_data", "ctrl_data") else value
            for name, value in record.items()
        }
        word = Confirmation(
            vendor_ref=task.ctrl_id,
            command_id=task.define_no or None,
            device=device,
            native_state=task.state,
            received_at=request.received_at,
            data=data,
            commands=frozenset({task.command} if task.command else SUFFIXES),
            replaces=DOUBTFUL_STATES if task.state == SUCCESS else frozenset(),
        )
        return [word]

    def _device(self, record: Record, field: str) -> tuple[str, DeviceKind]:
        device = self._exposed(device_id(record.get(field)))
        kind = kind_of(record.get("device_type")) or self._notes.kind(device) or DeviceKind.GAS_METER
        return device, kind

    def _exposed(self, device: str) -> str:
        if not self._policy.exposes(device):
            raise ValueError("the configuration excludes this device")
        return device

    def _met(self, seen: list[Observation]) -> list[Observation]:
        """Remembers what is told of devices that the platform does not list."""
        for one in seen:
            if isinstance(one, Described):
                self._notes.learn(one.device.native_id, one.device.kind)
            elif isinstance(one, Availability):
                self._notes.meet(one.device, one.at or one.received_at, one.received_at)
        return seen

    def _id_of(self, endpoint: str, record: Record) -> str:
        """The keys of 9.5, equal for every way of writing the same push. The company is the account's: a header that
        says otherwise was refused. A report needs none."""
        names = _KEYS.get(endpoint, ())
        parts = [self._company] if names else []
        for name in names:
            at = instant(record.get(name), self._zone) if name.endswith("_time") else None
            code = whole(record.get(name)) if not name.endswith("_no") else None
            parts.append(rfc3339(at) if at else str(code) if code is not None else text_of(record.get(name)))
        return "\n".join(parts)


def _is_new(seen: set[bytes], item: Json) -> bool:
    """Whether this item is not among those seen, whatever the order of its keys."""
    count = len(seen)
    seen.add(canonical(item))
    return len(seen) > count


def _items(body: bytes) -> tuple[list[Json], bool]:
    """The items of a push and whether they came as an array; a single object counts as one item (9.5)."""
    try:
        value = loads_sent(body.removeprefix(BOM_UTF8))  # .NET may write one
    except ValueError as error:
        raise PushMalformed(f"no JSON: {error}") from None
    if isinstance(value, list):
        return value, True
    if not isinstance(value, dict):
        raise PushUnusable("expected a JSON object or an array of objects")
    return [value], False


def _answer(endpoint: str, items: Sequence[Json], key: str) -> PushAnswer:
    if endpoint == REPORT:
        return _page(200, [_stored(item) for item in items], "success", "")
    return _page(200, guid(key) if endpoint == METER_DATA else positive_int(key), "success", "")


def _stored(item: Json) -> Json:
    """The answer to one item of a report: it is stored, with the commands or with the dead letters."""
    record = item if isinstance(item, dict) else {}
    return {
        "ctrl_id": whole(record.get("ctrl_id")) or 0,
        "meter_comm_no": text_of(record.get("meter_comm_no")),
        "result": True,
        "message": "",
    }


def _page(status: int, data: Json, state: str, message: str) -> PushAnswer:
    return PushAnswer(status, dumps({"Data": data, "State": state, "Message": message}))
