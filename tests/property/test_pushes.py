"""Whatever is pushed at any receiver: no fault of ours is ever answered, nothing stops, and what was answered with
success is published or kept as a dead letter."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.contract.topics import Topics
from bridge.domain.observation import AlarmMessage, Confirmation, Event, Observation, Reading
from bridge.domain.times import rfc3339
from tests.fakes.receiver import ALARM, COMPANY, DATA, EVENT, GAS, KEY, REPORT, SECRET, SHOP, Receiver

FIXTURES = Path(__file__).parents[1] / "fixtures" / "iotmeter"
EXAMPLES = 80
GOOD = {"meter_comm_no": "99", "std_sum": 1}
CALLBACK = {
    "device_sn": "W71E0000001", "msg_id": "1", "type": "2", "cmd": "power_report", "cmd_type": "power_report",
    "info": {"voltage": "230.1", "total_electricity": "12.34", "switch_state": "1"},
}  # fmt: skip
MODELS: dict[str, Any] = {
    GAS + DATA: json.loads((FIXTURES / "v1.json").read_bytes()),
    GAS + ALARM: json.loads((FIXTURES / "v5.json").read_bytes()),
    GAS + EVENT: json.loads((FIXTURES / "v6.json").read_bytes()),
    GAS + REPORT: json.loads((FIXTURES / "v7.json").read_bytes())[0],
    SHOP: CALLBACK,
}

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(
        [
            "", " ", "0", "-1", "1e400", "99999999999999999999999999999999999", "NaN", "true", "{}", "[]", "null",
            '{"valve_open": true}', '{"a": {"b": [1, {"c": null}]}}', "not json", "2021-04-07", "2021-04-07 08:00",
            "2021-13-41 25:61:61", "0001-01-01 00:00:00", "9999-12-31 23:59:59.9999999", "2021-04-07T08:00:00+99:99",
            "../../etc", "$SYS/x", "a/b#+", "\x00", "x" * 60, "密码", "\ud83d\ude00", 10**40, -0.0, 1e308,
        ]
    )
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def changed(model: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The model with fields missing, replaced and added."""
    names = st.sampled_from(sorted(model)) | st.text(max_size=8)
    change = st.dictionaries(names, values, max_size=4)
    missing = st.sets(st.sampled_from(sorted(model)), max_size=3)

    def make(change: dict[str, Any], missing: set[str]) -> dict[str, Any]:
        return {name: value for name, value in (model | change).items() if name not in missing}

    return st.builds(make, change, missing)


def written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


def bodies(model: dict[str, Any]) -> st.SearchStrategy[bytes]:
    one = changed(model)
    whole = (one | st.lists(one | values, max_size=4) | values).map(written)
    odd = st.sampled_from(
        [
            b"", b" ", b"{", b"[]", b"null", b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b'{"a": 1, "a": 2}', b"NaN",
            b'{"meter_comm_no": "\\ud800"}', b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"1" * 5000,
            b'[{"ctrl_id": 1e2, "meter_comm_no": 5, "ctrl_state": 3}]', b"a=1&b=2",
        ]
    )  # fmt: skip
    cut = st.tuples(whole, st.integers(1, 40)).map(lambda pair: pair[0][: -pair[1]])
    return whole | whole | st.binary(max_size=60) | odd | cut


tails = st.sampled_from(
    [
        "",
        "/",
        "//",
        "/x",
        "/%00",
        "/post%20api/Data/DeviceAlarm/Add",
        "/api/Data/MeterData/Add/..",
        "/%F0%9F%98%80",
    ]
)
keys = st.dictionaries(
    st.sampled_from(["company_no", "data_api_key"]), st.sampled_from([COMPANY, KEY, "", "x"]), max_size=2
)


class Watched:
    """A receiver, and what its gateway took in."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.taken: list[tuple[str, Observation]] = []
        self.count = 0
        before = receiver.gateway.intake.on_taken

        def note(account: str, observation: Observation) -> None:
            self.taken.append((account, observation))
            before(account, observation)

        receiver.gateway.intake.on_taken = note

    async def push(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        """One push, and a good one after it."""
        taken, letters = len(self.taken), self._letters()
        answer = await self.receiver.post(path, body, **headers)
        assert answer.status_code in (200, 400, 401, 404, 413), (answer.status_code, answer.text)
        if answer.status_code == 200:
            told = answer.json()
            assert told.get("State") == "success" or told.get("code") == 0
            empty = told.get("Data") == []  # an empty list of reports
            assert len(self.taken) > taken or self._letters() > letters or empty
        else:
            assert (len(self.taken), self._letters()) == (taken, letters)
        await self.receiver.clock.advance(4)  # an identical callback within three seconds is the same one
        await self.good()

    async def good(self) -> None:
        self.count += 1
        time = f"2020-01-01 {self.count // 3600:02}:{self.count // 60 % 60:02}:{self.count % 60:02}"
        answer = await self.receiver.gas(DATA, GOOD | {"acquisition_time": time})
        assert (answer.status_code, answer.json()["State"]) == (200, "success")

    def _letters(self) -> int:
        with self.receiver._database() as db:
            return int(db.execute("SELECT coalesce(sum(count), 0) FROM dead_letter").fetchone()[0])

    def all_is_published(self) -> None:
        """Everything that was taken in can be found on its topic."""
        docs = {
            leaf: self.receiver.messages(f"+/+/{leaf}") for leaf in ("telemetry", "history", "alarm", "event")
        }
        records = {
            (one.topic.rsplit("/", 1)[0], one.doc["ts"], name, str(value))
            for leaf in ("telemetry", "history")
            for one in docs[leaf]
            for name, value in one.doc["metrics"].items()
        }
        ids = {one.doc["id"] for leaf in ("alarm", "event") for one in docs[leaf]}
        tasks = {(one.doc["data"].get("ctrl_id"), one.doc["code"]) for one in docs["event"]}
        topics = Topics("mb")
        for account, one in self.taken:
            match one:
                case Reading():
                    topic = topics.device(account, one.device, "x").rsplit("/", 1)[0]
                    ts = rfc3339(one.observed_at or one.received_at)
                    for name, value in one.metrics.items():
                        assert (topic, ts, name, _as_sent(value)) in records, one
                case AlarmMessage():
                    at = one.started_at or one.received_at
                    assert any(f":{one.code}:{int(at.timestamp())}" in known for known in ids), one
                case Event():
                    at = one.happened_at or one.received_at
                    assert any(f":{one.code}:{int(at.timestamp())}" in known for known in ids), one
                case Confirmation():
                    assert any(code == "foreign_command" for _ref, code in tasks), one
        assert len(self.receiver.messages("gas/99/telemetry")) == self.count
        assert not any(
            outcome == "crashed" for _account, outcome in self.receiver.gateway.doors.counters.counts
        )


def _as_sent(value: Any) -> str:
    return str(json.loads(json.dumps(value, default=str))) if not isinstance(value, str) else value


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    logging.disable(logging.WARNING)
    try:
        async with Receiver(tmp_path, http="max_wrong_secrets: 0") as receiver:
            made = Watched(receiver)
            yield made
            made.all_is_published()
    finally:
        logging.disable(logging.NOTSET)


fuzz = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("path", MODELS)
@fuzz
@given(data=st.data())
async def test_no_body_stops_a_receiver_and_none_that_succeeds_is_lost(
    watched: Watched, path: str, data: st.DataObject
) -> None:
    await watched.push(path, data.draw(bodies(MODELS[path])), data.draw(keys))


@fuzz
@given(
    path=st.sampled_from([GAS, SHOP, f"/push/none/{SECRET}", "/push/gas/x", "/push/gas", "/push//", "/PUSH"]),
    tail=tails,
    body=bodies(MODELS[GAS + DATA]),
)
async def test_no_address_stops_a_receiver(watched: Watched, path: str, tail: str, body: bytes) -> None:
    await watched.push(path + tail, body, {})
