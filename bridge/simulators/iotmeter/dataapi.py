"""The data API of the simulated platform: readings, alarms, events (page 4.2 to 4.8). No I/O."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from bridge.domain import text
from bridge.simulators.iotmeter import wire
from bridge.simulators.iotmeter.meter import Meter
from bridge.simulators.iotmeter.wire import TEXT, WHOLE, WINDOW, Malformed

_ORDERS = ("meter_comm_no", "acquisition_time", "receive_time", "meter_define_no1", "meter_define_no3")
_REAL_CONDITIONS: dict[str, tuple[type, ...]] = {
    "meter_comm_nos": (list,),
    "acq_start_time": TEXT,
    "acq_end_time": TEXT,
    "rec_start_time": TEXT,
    "rec_end_time": TEXT,
    "orderby": TEXT,
    "sequence": TEXT,
}
_HISTORY_CONDITIONS = {"meter_comm_no": TEXT, "data_type": WHOLE, **WINDOW}
_OCCURRENCE_CONDITIONS = {"device_comm_no": TEXT, "device_type": WHOLE, **WINDOW}


class DataStore:
    """What the data API can tell. `lower_counters`: counters in lower case; `ext_as_object`: as pushes have it."""

    def __init__(self, company_no: str, fleet: Mapping[str, Meter]) -> None:
        self.company_no = company_no
        self.fleet = fleet
        self.alarms: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.lower_counters = False
        self.ext_as_object = False
        self._answers: Mapping[str, Callable[[str, Mapping[str, str], Any], dict[str, Any]]] = {
            "MeterData/GetRealModel": self._real_model,
            "MeterData/GetRealList2": self._real_list,
            "MeterData/GetHistoryList2": self._history,
            "DeviceAlarm/GetList2": lambda _name, query, body: self._occurrences(
                self.alarms, "alarm", query, body
            ),
            "DeviceEvent/GetList2": lambda _name, query, body: self._occurrences(
                self.events, "event", query, body
            ),
        }

    def endpoints(self) -> tuple[str, ...]:
        return tuple(self._answers)

    def answer(self, endpoint: str, name: str, query: Mapping[str, str], body: Any) -> dict[str, Any]:
        """The answer; `name` is what follows the end point in the path. Raises Malformed."""
        return self._answers[endpoint](name, query, body)

    def note(self, word: str, device: Meter, at_s: float, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Keeps an alarm or event; returns it as it is pushed (4.5, 4.7)."""
        kept = self.alarms if word == "alarm" else self.events
        message = {
            "device_comm_no": device.comm_no,
            "device_type": str(device.device_type),
            f"{word}_time": wire.spaced(at_s),
            "receive_time": wire.spaced(fields["received_s"]),
            f"{word}_code": fields["code"],
            f"{word}_content": fields["content"],
            f"{word}_data": fields["data"],
        }
        kept.append({f"{word}_id": len(kept) + 1, "company_no": self.company_no, "at_s": at_s, **message})
        return message

    def _real_model(self, name: str, _query: Mapping[str, str], body: Any) -> dict[str, Any]:
        if body not in ({}, None):
            raise Malformed("no body is documented")
        device = self.fleet.get(name)
        if device is None or not device.records:
            return wire.bad(None, "找不到数据")
        return wire.good(self._kept(device.records[-1]))

    def _real_list(self, _name: str, query: Mapping[str, str], body: Any) -> dict[str, Any]:
        start, count = wire.rows_of(query)
        wanted = wire.check("body", body, _REAL_CONDITIONS, complete=False)
        order, sequence = wanted.get("orderby", "receive_time"), wanted.get("sequence", "asc")
        if order not in _ORDERS or sequence not in ("asc", "desc"):
            raise Malformed("orderby or sequence is none of the documented ones")
        rows = [device.records[-1] for device in self.fleet.values() if device.records]
        rows = [row for row in rows if _passes(row, wanted)]
        rows.sort(key=lambda row: str(row[order]), reverse=sequence == "desc")
        return wire.listed([self._kept(row) for row in rows], start, count, lower=self.lower_counters)

    def _history(self, _name: str, query: Mapping[str, str], body: Any) -> dict[str, Any]:
        start, count = wire.rows_of(query)
        wanted = wire.check("body", body, _HISTORY_CONDITIONS, complete=True)
        since, until = wire.window_of(wanted)
        device = self.fleet.get(wanted["meter_comm_no"])
        rows = [
            row
            for row in (device.records if device else ())
            if row["data_type"] == wanted["data_type"]
            and since <= wire.unix_of(row["acquisition_time"]) <= until
        ]
        return wire.listed([self._kept(row) for row in rows], start, count, lower=self.lower_counters)

    def _occurrences(
        self, kept: list[dict[str, Any]], word: str, query: Mapping[str, str], body: Any
    ) -> dict[str, Any]:
        start, count = wire.rows_of(query)
        wanted = wire.check("body", body, _OCCURRENCE_CONDITIONS, complete=True)
        since, until = wire.window_of(wanted)
        rows = [
            _listed_occurrence(row, word)
            for row in kept
            if row["device_comm_no"] == wanted["device_comm_no"]
            and row["device_type"] == str(wanted["device_type"])
            and since <= row["at_s"] <= until
        ]
        return wire.listed(rows, start, count, lower=self.lower_counters)

    def _kept(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record as the queries have it (4.2)."""
        key = f"{record['meter_comm_no']}|{record['data_type']}|{record['acquisition_time']}"
        guid = base64.b64encode(hashlib.sha256(key.encode()).digest()[:16]).decode()
        ext = record["ext_data"]
        return {
            "data_guid": guid,
            "company_no": self.company_no,
            **record,
            "acquisition_time": record["acquisition_time"].replace(" ", "T"),
            "receive_time": record["receive_time"].replace(" ", "T"),
            "ext_data": ext if self.ext_as_object else text.dumps(ext).decode(),
        }


def _passes(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    if "meter_comm_nos" in wanted and row["meter_comm_no"] not in wanted["meter_comm_nos"]:
        return False
    for prefix, field in (("acq", "acquisition_time"), ("rec", "receive_time")):
        at = wire.unix_of(row[field])
        start, end = wanted.get(f"{prefix}_start_time"), wanted.get(f"{prefix}_end_time")
        if (start and at < wire.unix_of(start)) or (end and at > wire.unix_of(end)):
            return False
    return True


def _listed_occurrence(row: Mapping[str, Any], word: str) -> dict[str, Any]:
    listed = {name: value for name, value in row.items() if name != "at_s"}
    listed[f"{word}_time"] = listed[f"{word}_time"].replace(" ", "T")
    listed["receive_time"] = listed["receive_time"].replace(" ", "T")
    listed[f"{word}_data"] = text.dumps(listed[f"{word}_data"]).decode()
    return listed
