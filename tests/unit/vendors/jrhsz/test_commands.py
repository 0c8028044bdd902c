"""What meters and the account take, what is sent for it, and what proves it (METRICS 4.1, jrhsz)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from bridge.domain.command import AfterLoss, Evidence, Status
from bridge.domain.device import DeviceKind
from bridge.domain.errors import LostAnswer, NotSent, Refused, Rejection, VendorError, Withdrawn
from bridge.domain.observation import Event, Origin, Reading, Words
from bridge.pace.limits import Lane
from tests.fakes.adapters import FakeEffect
from tests.unit.vendors.jrhsz.bench import (
    ENERGY,
    NO_RIGHT,
    NOW,
    OK,
    OTHER,
    PASSWORD,
    TOKEN,
    TOO_FAST,
    WATER,
    Account,
    latest,
    listed,
    nothing,
    rows,
)

CHINA = timedelta(hours=8)


def local(seconds: float) -> str:
    """The platform's text for so many seconds after NOW."""
    return (NOW + CHINA + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")


def after(account: Account, command: str, params: dict[str, Any] | None = None, **fields: Any) -> AfterLoss:
    order = account.order(command, params, **fields)
    return order.spec.after_loss(order.params)


def test_the_commands_go_by_the_medium(account: Account) -> None:
    offered = {
        kind: set(account.adapter.commands(account.device("x", kind)))
        for kind in (DeviceKind.ELECTRICITY_METER, DeviceKind.WATER_METER, DeviceKind.METER)
    }
    assert offered == {
        DeviceKind.ELECTRICITY_METER: {"breaker", "read", "history"},
        DeviceKind.WATER_METER: {"valve", "read", "history"},
        DeviceKind.METER: {"read", "history"},
    }
    assert set(account.adapter.commands(None)) == {"refresh_inventory"}


def test_only_switching_writes_and_all_may_be_repeated_to_the_same_end(account: Account) -> None:
    specs = {
        **account.adapter.commands(None),
        **account.adapter.commands(account.water()),
        **account.adapter.commands(account.device()),
    }
    assert {name for name, spec in specs.items() if spec.writes} == {"breaker", "valve"}
    assert all(spec.idempotent and not spec.needs_id and not spec.dangerous for spec in specs.values())
    assert specs["breaker"].bare_key() == specs["valve"].bare_key() == "state"
    assert specs["history"].schema()["required"] == ["start", "end"]


@pytest.mark.parametrize(
    ("command", "state", "code"),
    [("breaker", "off", "1"), ("breaker", "on", "2"), ("valve", "close", "1"), ("valve", "open", "2")],
)
async def test_switching_is_an_instruction_to_the_device_id(
    account: Account, command: str, state: str, code: str
) -> None:
    device = account.device() if command == "breaker" else account.water()
    account.cloud.will(OK)
    outcome = await account.run(command, {"state": state}, device=device)
    assert account.cloud.bodies("meterInstruct") == [{"deviceId": f"D{device.native_id}", "type": code}]
    assert (outcome.status, outcome.vendor_code, account.effect.count) == (Status.SENT, 200, 1)
    assert account.gate.calls[-1] == ((("meterInstruct", ""),), Lane.COMMAND)


@pytest.mark.parametrize(
    ("command", "params"),
    [("breaker", {"state": "open"}), ("breaker", {}), ("valve", {"state": "on"}), ("read", {"x": 1}),
     ("history", {"start": "2023-01-01"}), ("history", {"start": "x", "end": "2023-01-01"}),
     ("history", {"start": "2023-02-30", "end": "2023-03-01"}),
     ("history", {"start": "2023-01-01", "end": "2023-01-02", "interval_s": 0})],
)  # fmt: skip
def test_wrong_parameters_are_refused(account: Account, command: str, params: dict[str, Any]) -> None:
    device = account.water() if command == "valve" else account.device()
    with pytest.raises(ValidationError):
        account.order(command, params, device=device)


@pytest.mark.parametrize("command", ["breaker", "read"])
async def test_a_meter_without_a_target_in_the_inventory_is_unknown(account: Account, command: str) -> None:
    device = account.device(deviceId="")
    order = account.order(command, {"state": "off"} if command == "breaker" else {}, device=device)
    assert order.spec.check is not None
    with pytest.raises(Rejection) as raised:
        order.spec.check(order)
    assert raised.value.code == "unknown_device"
    with pytest.raises(Rejection):
        await account.adapter.execute(order, account.effect)
    assert account.cloud.requests == []


async def test_an_equal_order_accepted_before_counts_as_sent(account: Account) -> None:
    account.cloud.will({"code": 1010, "msg": "重复订单"})
    outcome = await account.run("breaker", {"state": "on"})
    assert (outcome.status, outcome.vendor_code) == (Status.SENT, 1010)


async def test_a_duplicate_that_is_no_instruction_is_an_error(account: Account) -> None:
    account.cloud.will({"code": 1010})
    with pytest.raises(Refused):
        await account.run("refresh_inventory", device=None)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ({"code": 1001, "msg": "设备不存在"}, Refused),
        ({"code": 1008}, Refused),
        ({"code": 4711}, Refused),
        (b"<html>", LostAnswer),
        (b'{"msg": "x"}', LostAnswer),
        (httpx.Response(502), LostAnswer),
        (httpx.Response(404, content=b"nothing"), LostAnswer),
        (httpx.ReadTimeout("slow"), LostAnswer),
        (httpx.ConnectError("no route"), NotSent),
    ],
)
async def test_every_no_and_every_silence_is_an_error_by_its_remedy(
    account: Account, reply: Any, kind: type[Exception]
) -> None:
    account.cloud.will(reply)
    with pytest.raises(kind):
        await account.run("breaker", {"state": "off"})
    assert account.cloud.words == ["login", "meterInstruct"]


async def test_nothing_leaves_when_the_command_may_not(account: Account) -> None:
    with pytest.raises(Withdrawn):
        await account.adapter.execute(account.order("breaker", {"state": "on"}), FakeEffect(allowed=0))
    assert account.cloud.words == ["login"]


def test_restoring_a_supply_is_never_sent_twice_and_cutting_it_once_more(account: Account) -> None:
    water = {"device": account.water()}
    off, close = (
        after(account, "breaker", {"state": "off"}),
        after(account, "valve", {"state": "close"}, **water),
    )
    on, opened = (
        after(account, "breaker", {"state": "on"}),
        after(account, "valve", {"state": "open"}, **water),
    )
    assert [one.send_again for one in (off, close, on, opened)] == [1, 1, 0, 0]
    assert {one.otherwise for one in (off, close, on, opened)} == {Status.TIMED_OUT}
    assert off.ask_at_s == close.ask_at_s == (10, 30, 60, 120, 300)
    assert on.ask_at_s == (10, 30, 60, 120, 300, 600)
    assert (opened.ask_at_s[5], opened.ask_at_s[-1]) == (1200, 86_400)


def test_a_reading_is_followed_and_never_asked_for_twice(account: Account) -> None:
    energy, water = account.order("read"), account.order("read", device=account.water())
    for order, until_s in ((energy, 600), (water, 86_400)):
        lost = order.spec.after_loss(order.params)
        assert (lost.send_again, lost.otherwise, lost.ask_at_s[-1]) == (0, Status.TIMED_OUT, until_s)
        assert order.spec.follow(order.device).until_s == until_s


@pytest.mark.parametrize(
    ("command", "state", "proof"),
    [
        ("breaker", "on", Evidence("switch_state", "on")),
        ("breaker", "off", Evidence("switch_state", "off")),
        ("valve", "open", Evidence("valve_state", "open")),
        ("valve", "close", Evidence("valve_state", "closed")),
    ],
)
def test_the_gate_proves_switching_wherever_it_shows(
    account: Account, command: str, state: str, proof: Evidence
) -> None:
    device = account.water() if command == "valve" else account.device()
    order = account.order(command, {"state": state}, device=device)
    assert order.spec.evidence(order.params) == proof


async def test_the_gate_read_back_ends_a_switching_with_its_record(account: Account) -> None:
    order = account.order("breaker", {"state": "off"})
    account.cloud.will(
        rows(latest(ENERGY, "5", local(-3600), "合闸")),
        rows(),
        rows(latest(OTHER, "5", local(9), "跳闸")),
        {"code": 200, "data": latest(ENERGY, "5.10", local(-3600), "跳闸")},
    )
    for _ in range(3):
        assert await account.adapter.probe(order) is None
    outcome = await account.adapter.probe(order)
    assert outcome is not None
    assert outcome.status is Status.SUCCEEDED
    assert list(outcome.observations) == [
        Words(ENERGY, NOW, Origin.COMMAND, {"switch_state": "off"}),
        Reading(
            ENERGY,
            NOW,
            Origin.COMMAND,
            {"import_energy": Decimal("5.1"), "switch_state": "off"},
            observed_at=NOW - timedelta(hours=1),
            covers=True,
        ),
    ]
    assert account.cloud.bodies("readMeter")[-1] == {"tableNo": ENERGY, "pageNo": 1, "pageSize": 1000}
    assert account.gate.calls[-1] == ((("readMeter", ""),), Lane.READ)


async def test_a_valve_is_proved_by_either_word(account: Account) -> None:
    order = account.order("valve", {"state": "close"}, device=account.water())
    for word in ("跳闸", "关阀"):
        account.cloud.will(rows(latest(WATER, "", "", word)))
        outcome = await account.adapter.probe(order)
        assert outcome is not None
        assert outcome.observations == [Words(WATER, NOW, Origin.COMMAND, {"valve_state": "closed"})]


@pytest.mark.parametrize(("read_s", "proved"), [(-1, False), (0, True), (5, True)])
async def test_a_reading_is_proved_by_a_time_not_before_the_request(
    account: Account, read_s: float, proved: bool
) -> None:
    order = account.order("read", dispatched_at=NOW + timedelta(milliseconds=700))
    account.cloud.will(rows(latest(ENERGY, "5", local(read_s))))
    outcome = await account.adapter.probe(order)
    assert (outcome is not None) is proved
    if outcome is not None:
        (reading,) = outcome.observations
        assert isinstance(reading, Reading)
        assert (reading.origin, reading.metrics["import_energy"]) == (Origin.COMMAND, 5)


async def test_a_reading_of_a_meter_that_says_nothing_proves_nothing(account: Account) -> None:
    account.cloud.will(rows(latest(ENERGY, "", "")))
    assert await account.adapter.probe(account.order("read")) is None


async def test_history_and_inventory_are_not_asked_after(account: Account) -> None:
    period = {"start": "2023-01-01", "end": "2023-01-02"}
    assert await account.adapter.probe(account.order("history", period)) is None
    assert await account.adapter.probe(account.order("refresh_inventory", device=None)) is None
    assert account.cloud.requests == []


def verify_read(account: Account) -> None:
    order = account.order("read", device=account.water())
    assert order.spec.check is not None
    order.spec.check(order)


async def test_a_water_meter_is_woken_once_per_quarter_of_an_hour(make: Callable[..., Account]) -> None:
    account = make()
    account.cloud.will(OK, OK)
    verify_read(account)
    await account.run("read", device=account.water())
    account.clock.seconds = 899
    with pytest.raises(Rejection, match="again at 2023-07-14T02:45:00Z") as raised:
        verify_read(account)
    assert raised.value.code == "rate_limited"
    with pytest.raises(Rejection):
        await account.run("read", device=account.water())
    again = make(vault=account.vault)
    again.clock.seconds = 899
    await again.know(listed(WATER, "2"))
    with pytest.raises(Rejection):
        verify_read(again)
    account.clock.seconds = 900
    verify_read(account)
    await account.run("read", device=account.water())
    assert account.cloud.words.count("meterInstruct") == 2


async def test_a_request_that_may_have_arrived_counts_and_one_that_was_refused_does_not(
    account: Account,
) -> None:
    account.cloud.will(TOO_FAST, {"code": 1001}, httpx.ReadTimeout("slow"))
    for _ in range(3):
        verify_read(account)
        with pytest.raises(VendorError):
            await account.run("read", device=account.water())
    with pytest.raises(Rejection):
        verify_read(account)


async def test_an_electricity_meter_may_be_read_as_often_as_wanted(account: Account) -> None:
    account.cloud.will(OK, OK)
    for _ in range(2):
        outcome = await account.run("read")
        assert outcome.status is Status.SENT
    assert account.cloud.bodies("meterInstruct") == [{"deviceId": f"D{ENERGY}", "type": "3"}] * 2


async def test_refreshing_the_inventory_reads_it_anew(account: Account) -> None:
    await account.know(listed(ENERGY))
    account.cloud.will(rows(listed(ENERGY, gate="跳闸"), listed(WATER, "2")))
    outcome = await account.run("refresh_inventory", device=None)
    assert (outcome.status, outcome.result) == (Status.SUCCEEDED, {"devices": 2})
    assert {type(one).__name__ for one in outcome.observations} == {"Availability", "Words"}
    assert [device.native_id for device in outcome.inventory or ()] == [ENERGY, WATER]
    assert account.effect.count == 0


async def test_who_asks_for_the_inventory_waits_for_the_second_empty_list(account: Account) -> None:
    await account.know(listed(ENERGY))
    account.cloud.will(nothing(), rows(listed(ENERGY)), nothing(), nothing())
    assert (await account.run("refresh_inventory", device=None)).result == {"devices": 1}
    assert (await account.run("refresh_inventory", device=None)).result == {"devices": 0}
    assert account.clock.slept.count(10) == 2


def record(table_no: str, reading: str, at: str, **fields: Any) -> dict[str, Any]:
    return {"tableNo": table_no, "reading": reading, "readTime": at} | fields


async def test_history_joins_all_that_is_stored_in_order(account: Account) -> None:
    noon, later = "2023-07-01 12:00:00", "2023-07-01 13:00:00"
    account.cloud.will(
        rows(record(ENERGY, "2", later, dosage="1", amount="1"), record(OTHER, "9", noon)),
        rows(record(ENERGY, "2", later), record(ENERGY, "1", noon)),
        rows({"tableNo": ENERGY, "createTime": noon, "freezeTime": noon, "voltA": "230"}),
    )
    period = {"start": "2023-07-01T00:00:00Z", "end": "2023-07-02 08:00:00"}
    outcome = await account.run("history", period, device=account.device(tableType="7"))
    assert (outcome.status, outcome.result) == (Status.SUCCEEDED, {"records": 3})
    assert [dict(one.metrics) for one in outcome.observations] == [
        {"import_energy": 1},
        {"voltage_a": 230},
        {"import_energy": 2, "import_energy_interval": 1, "cost_interval": 1},
    ]
    assert {one.origin for one in outcome.observations} == {Origin.BACKFILL}
    window = {"BeginDate": "2023-07-01 08:00:00", "EndDate": "2023-07-02 08:00:00", "tableNo": ENERGY}
    for endpoint in ("readMeterDataList", "readMeterList"):
        (body,) = account.cloud.bodies(endpoint)
        assert body == body | window
    assert {lane for uses, lane in account.gate.calls if uses} == {Lane.HISTORY}


async def test_what_was_read_at_the_end_does_not_belong_to_a_history_and_at_its_start_it_does(
    account: Account,
) -> None:
    account.cloud.will(
        rows(record(ENERGY, "1", "2023-07-01 00:00:00"), record(ENERGY, "2", "2023-07-02 00:00:00")), rows()
    )
    outcome = await account.run("history", {"start": "2023-07-01", "end": "2023-07-02"})
    assert [dict(one.metrics) for one in outcome.observations] == [{"import_energy": 1}]


async def test_history_asks_for_a_month_at_a_time(account: Account) -> None:
    filled = rows(record(ENERGY, "1", "2023-01-01 00:00:00"))
    account.cloud.will(*[filled] * 6)
    outcome = await account.run("history", {"start": "2023-01-01", "end": "2023-03-31"})
    begins = [body["BeginDate"] for body in account.cloud.bodies("readMeterList")]
    assert begins == ["2023-01-01 00:00:00", "2023-02-01 00:00:00", "2023-03-04 00:00:00"]
    assert outcome.result == {"records": 1}


async def test_history_finds_registers_that_were_frozen_in_the_period_and_told_of_later(
    account: Account,
) -> None:
    row = {
        "tableNo": ENERGY, "freezeTime": "2023-07-01 00:00:00", "createTime": "2023-07-01 00:57:05",
        "positiveActivePower": "5", "voltA": "230",
    }  # fmt: skip
    account.cloud.will(rows(), rows(), rows(row))
    period = {"start": "2023-06-30 12:00:00", "end": "2023-07-01 00:30:00"}
    outcome = await account.run("history", period, device=account.device(tableType="7"))
    assert [dict(one.metrics) for one in outcome.observations] == [{"import_energy": 5}]
    (body,) = account.cloud.bodies("peaksValleysRead")
    assert (body["BeginDate"], body["EndDate"]) == ("2023-06-29 12:00:00", "2023-07-02 00:30:00")


async def test_no_window_of_time_of_use_history_is_longer_than_a_month(account: Account) -> None:
    filled = rows({"tableNo": ENERGY, "readTime": "2023-01-02 00:00:00", "reading": "1"})
    account.cloud.will(*[filled] * 9)
    device = account.device(tableType="7")
    await account.run("history", {"start": "2023-01-01", "end": "2023-03-01"}, device=device)
    bodies = account.cloud.bodies("peaksValleysRead")
    ends = [[datetime.fromisoformat(body[name]) for name in ("BeginDate", "EndDate")] for body in bodies]
    assert len(ends) == 3
    assert all(end - begin <= timedelta(days=31) for begin, end in ends)
    asked = [body["BeginDate"] for body in account.cloud.bodies("readMeterList")]
    assert asked == ["2023-01-01 00:00:00", "2023-01-30 00:00:00", "2023-02-28 00:00:00"]


async def test_history_of_a_water_meter_has_pictures_and_no_right_to_them_is_no_failure(
    account: Account,
) -> None:
    period = {"start": "2023-07-01", "end": "2023-07-02"}
    picture = {"tableNo": WATER, "imageReadTime": "2023-07-01 12:00:00", "imageStatus": "x"}
    account.cloud.will(rows(), rows(), rows(picture))
    outcome = await account.run("history", period, device=account.water())
    assert outcome.result == {"records": 0}
    assert [type(one) for one in outcome.observations] == [Event]
    account.cloud.will(rows(), rows(), NO_RIGHT, NO_RIGHT)
    assert (await account.run("history", period, device=account.water())).status is Status.SUCCEEDED
    account.cloud.will(NO_RIGHT, NO_RIGHT)
    with pytest.raises(Refused):
        await account.run("history", period, device=account.water())


async def test_history_without_the_right_to_time_of_use_records_has_the_others(account: Account) -> None:
    meter = account.device(tableType="11")
    account.cloud.will(rows(record(ENERGY, "1", "2023-06-01 12:00:00")), rows(), NO_RIGHT, NO_RIGHT)
    account.cloud.will(rows(record(ENERGY, "2", "2023-07-02 12:00:00")), rows())
    period = {"start": "2023-06-01", "end": "2023-07-03"}
    outcome = await account.run("history", period, device=meter)
    assert (outcome.status, outcome.result) == (Status.SUCCEEDED, {"records": 2})
    assert account.cloud.words.count("peaksValleysRead") == 2  # with a new token once more, then never again


def test_a_period_must_not_end_before_it_starts(account: Account) -> None:
    order = account.order("history", {"start": "2023-07-01 08:00:00", "end": "2023-07-01T00:00:00Z"})
    assert order.spec.check is not None
    with pytest.raises(Rejection) as raised:
        order.spec.check(order)
    assert raised.value.code == "invalid_params"


@pytest.mark.parametrize(
    ("command", "params", "path", "body"),
    [
        ("breaker", {"state": "off"}, "meterInstruct", {"deviceId": f"D{ENERGY}", "type": "1"}),
        ("read", {}, "meterInstruct", {"deviceId": f"D{ENERGY}", "type": "3"}),
        ("history", {"start": "2023-07-01", "end": "2023-07-02"}, "readMeterDataList",
         {"type": "1", "tableNo": ENERGY, "BeginDate": "2023-07-01 00:00:00",
          "EndDate": "2023-07-02 00:00:00", "pageNo": 1, "pageSize": 1000}),
        ("refresh_inventory", {}, "meterList", {"pageNo": 1, "pageSize": 1000}),
    ],
)  # fmt: skip
async def test_a_preview_shows_the_request_without_its_token(
    account: Account, command: str, params: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    await account.know(listed(ENERGY))
    asked = len(account.cloud.requests)
    fields = {"device": None} if command == "refresh_inventory" else {}
    preview = account.adapter.preview(account.order(command, params, **fields))
    assert (preview.method, preview.url) == ("POST", f"http://cloud.example.invalid/meter/{path}")
    assert preview.body == {"token": "***", "admin_user_name": "demo_user"} | body
    assert TOKEN not in json.dumps(preview.body)
    assert PASSWORD not in repr(preview)
    assert len(account.cloud.requests) == asked
