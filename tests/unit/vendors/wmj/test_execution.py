"""Commands against a scripted cloud: the exact requests, and what becomes of every answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from bridge.domain.command import Status
from bridge.domain.errors import (
    AuthFailed,
    BadReply,
    DeviceOffline,
    DeviceSilent,
    LostAnswer,
    NotSent,
    Refused,
    Withdrawn,
)
from bridge.domain.observation import Availability, Described, Event, Origin, Reading
from bridge.pace.limits import Lane
from bridge.vendors.wmj.codec import described
from tests.fakes.adapters import FakeEffect
from tests.unit.vendors.wmj.bench import (
    INFO,
    OFFLINE,
    OK,
    SECRET,
    SERIAL,
    SILENT,
    UNREGISTERED,
    Account,
    answer,
    plain,
    sent,
)
from tests.unit.vendors.wmj.test_commands import LOAD, VOLTAGE, silenced
from tests.unit.vendors.wmj.test_frame import F1, F1_REPORT, F1_RIGHT, F2, F3, F4, F5, F6, F7, F8, F9, F10

ALL_FIVE = {
    "leakage_current_ma": 30, "overcurrent_a": 40, "overheat_c": 80, "overvoltage_v": 275,
    "undervoltage_v": 160,
}  # fmt: skip


def alive(account: Account) -> Availability:
    """What every answer of a breaker to a command says besides."""
    return Availability(SERIAL, True, account.clock.now(), Origin.COMMAND, said=False)


def hex_ack(frame: Any) -> dict[str, Any]:
    return answer({"code": 0, "hex_ack": frame, "msg": ""})


@pytest.mark.parametrize(
    ("command", "params", "word", "info", "metrics"),
    [
        ("breaker", {"state": "on"}, "turnon", "{}", {"switch_state": "on"}),
        ("breaker", {"state": "off"}, "turnoff", "{}", {"switch_state": "off"}),
        ("pulse_on", {"delay_s": 15}, "delayturnoff", '{"delaytime":15}', {"switch_state": "on"}),
        ("pulse_off", {"delay_s": 15}, "delayturnon", '{"delaytime":15}', {"switch_state": "off"}),
        ("retain_state", {"enabled": True}, "set_retainstate", '{"retainstate":1}', {"retain_state": True}),
        ("retain_state", {"enabled": False}, "set_retainstate", '{"retainstate":0}', {"retain_state": False}),
        ("restart", {}, "restart", "{}", None),
        ("wifi_config", {}, "wifi_config", "{}", None),
    ],
)
async def test_a_plain_command_is_the_pages_request_and_its_yes_is_final(
    account: Account, command: str, params: dict[str, Any], word: str, info: str, metrics: Any
) -> None:
    account.cloud.will(OK)
    outcome = await account.run(command, params)
    assert account.cloud.bodies == [sent(word, info)]
    request = account.cloud.requests[0]
    assert (request.method, str(request.url)) == ("POST", "https://cloud.example.invalid/deviceApi/send")
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert account.effect.count == 1
    assert (outcome.status, outcome.vendor_code) == (Status.SUCCEEDED, 0)
    expected = [] if metrics is None else [Reading(SERIAL, account.clock.now(), Origin.COMMAND, metrics)]
    assert list(outcome.observations) == [*expected, alive(account)]


async def test_commands_go_first_and_count_for_the_account_and_the_device(account: Account) -> None:
    account.cloud.will(OK, answer(INFO))
    await account.run("breaker", {"state": "on"})
    await account.run("read")
    uses = (("requests", ""), ("device", SERIAL))
    assert account.gate.calls == [(uses, Lane.COMMAND), (uses, Lane.READ)]


@pytest.mark.parametrize(
    "body",
    [
        {
            "data": {
                "device_sn": SERIAL,
                "msg_id": 54,
                "type": 1,
                "cmd_type": "turnon_ack",
                "info": {"code": 0},
            }
        },
        {"type": 1, "device_sn": SERIAL, "info": {"code": 0, "msg": "Auto turnoff"}, "msg_id": 208},
    ],
)
async def test_answers_without_their_envelope_are_success_too(account: Account, body: dict[str, Any]) -> None:
    account.cloud.will(body)
    assert (await account.run("breaker", {"state": "on"})).status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("reply", "kind", "native"),
    [
        (SILENT, DeviceSilent, 1001),
        (OFFLINE, DeviceOffline, 1002),
        ({"code": 1003, "msg": "参数错误"}, Refused, 1003),
        ({"code": 1006, "msg": "认证失败"}, AuthFailed, 1006),
        ({"code": 100, "msg": "?"}, Refused, 100),
        (answer({"code": 2, "msg": "controlled by schedule"}), Refused, 2),
        (answer({"code": 9, "msg": "jammed"}), Refused, 9),
        (b"<html>", BadReply, None),
        (b"{}", BadReply, None),
        (httpx.Response(404, content=b"{}"), LostAnswer, 404),
        (httpx.Response(302, content=b""), LostAnswer, 302),
        (httpx.Response(502, content=b""), LostAnswer, 502),
        (httpx.ReadTimeout("slow"), LostAnswer, None),
        (httpx.ConnectError("no route"), NotSent, None),
    ],
)
async def test_every_no_and_every_silence_is_an_error_by_its_remedy(
    account: Account, reply: Any, kind: type[Exception], native: Any
) -> None:
    account.cloud.will(reply)
    with pytest.raises(kind) as raised:
        await account.run("breaker", {"state": "off"})
    assert raised.value.native_code == native  # type: ignore[attr-defined] # every kind is a VendorError
    assert account.cloud.bodies == [sent("turnoff")]


async def test_a_refusal_by_a_schedule_says_so(account: Account) -> None:
    account.cloud.will(answer({"code": 2, "msg": "controlled by schedule"}))
    with pytest.raises(Refused, match="schedule holds the switch: controlled by schedule") as refused:
        await account.run("breaker", {"state": "off"})
    assert (refused.value.code, refused.value.native_code) == ("device_refused", 2)


async def test_the_secret_is_in_no_error_even_if_the_cloud_echoes_it(account: Account) -> None:
    account.cloud.will({"code": 1003, "msg": f"bad secret {SECRET}"})
    with pytest.raises(Refused) as refused:
        await account.run("breaker", {"state": "on"})
    assert SECRET not in str(refused.value)


async def test_nothing_leaves_once_the_command_is_withdrawn(account: Account) -> None:
    account.effect = FakeEffect(allowed=0)
    with pytest.raises(Withdrawn):
        await account.run("breaker", {"state": "on"})
    assert account.cloud.requests == []


# registration -------------------------------------------------------------------------------------


async def test_an_unregistered_device_is_registered_once_and_asked_again(account: Account) -> None:
    account.cloud.will(UNREGISTERED, {"code": 0, "msg": "注册成功"}, OK)
    outcome = await account.run("breaker", {"state": "on"})
    assert outcome.status is Status.SUCCEEDED
    assert account.cloud.bodies == [sent("turnon"), plain(), sent("turnon")]
    assert account.cloud.requests[1].url.path == "/deviceApi/register"
    assert account.effect.count == 2


async def test_a_device_that_stays_unregistered_is_refused(account: Account) -> None:
    account.cloud.will(UNREGISTERED, {"code": 1005}, UNREGISTERED)
    with pytest.raises(Refused) as refused:
        await account.run("breaker", {"state": "on"})
    assert refused.value.native_code == 1004
    assert account.cloud.words == ["turnon", "register", "turnon"]


async def test_a_lost_registration_leaves_no_doubt_about_the_command(account: Account) -> None:
    account.cloud.will(UNREGISTERED, httpx.ReadTimeout("slow"))
    with pytest.raises(Refused, match="registering it brought no answer"):
        await account.run("breaker", {"state": "on"})


@pytest.mark.parametrize("code", [0, 1005])
@pytest.mark.parametrize(("command", "path"), [("register", "register"), ("unregister", "logout")])
async def test_registration_tolerates_what_is_done_already(
    account: Account, command: str, path: str, code: int
) -> None:
    account.cloud.will({"code": code, "msg": "x"})
    outcome = await account.run(command)
    assert (outcome.status, outcome.vendor_code) == (Status.SUCCEEDED, code)
    assert account.cloud.bodies == [plain()]
    assert account.cloud.requests[0].url.path == f"/deviceApi/{path}"
    assert account.effect.count == 1


async def test_an_account_registers_a_device_by_its_serial_number(account: Account) -> None:
    account.cloud.will({"code": 0})
    outcome = await account.run("register", {"device_sn": "W72a0000009"}, device=None)
    assert outcome.status is Status.SUCCEEDED
    assert account.cloud.bodies == [plain("W72A0000009")]


@pytest.mark.parametrize("command", ["unregister", "online"])
async def test_asking_or_leaving_never_registers(account: Account, command: str) -> None:
    account.cloud.will(UNREGISTERED)
    with pytest.raises(Refused):
        await account.run(command)
    assert len(account.cloud.requests) == 1


async def test_a_device_taken_off_by_command_is_not_bound_again_by_polling(account: Account) -> None:
    account.cloud.will({"code": 0}, UNREGISTERED)
    await account.run("unregister")
    (seen,) = await account.poll(f"getdevinfo:{SERIAL}")
    assert (seen.online, seen.said) == (False, False)
    assert account.cloud.words == ["logout", "getdevinfo"]
    account.cloud.will({"code": 0}, UNREGISTERED, {"code": 0}, answer(INFO))
    await account.run("register")
    assert await account.poll(f"getdevinfo:{SERIAL}")
    assert account.cloud.words[2:] == ["register", "getdevinfo", "register", "getdevinfo"]


# reading ------------------------------------------------------------------------------------------


async def test_read_returns_the_measurements_as_a_reading_of_its_own(account: Account) -> None:
    account.cloud.will(answer(INFO))
    outcome = await account.run("read")
    assert account.cloud.bodies == [sent("getdevinfo")]
    assert account.effect.count == 0
    assert outcome.result is None
    reading = outcome.observations[0]
    assert isinstance(reading, Reading)
    assert (reading.origin, reading.observed_at) == (Origin.COMMAND, None)
    assert reading.metrics["voltage"] == Decimal("229.1")


@pytest.mark.parametrize(("word", "online"), [(1, True), ("0", False), (True, True)])
async def test_online_tells_the_clouds_word(account: Account, word: Any, online: bool) -> None:
    account.cloud.will({"code": 0, "data": {"on_line": word}})
    outcome = await account.run("online")
    assert account.cloud.bodies == [plain()]
    assert account.cloud.requests[0].url.path == "/deviceApi/getOnLine"
    assert (outcome.result, outcome.vendor_code) == ({"online": online}, 0)
    assert list(outcome.observations) == [
        Availability(SERIAL, online, account.clock.now(), Origin.COMMAND, True)
    ]


async def test_online_takes_code_1002_for_a_no_and_an_unclear_word_for_none(account: Account) -> None:
    account.cloud.will(OFFLINE, {"code": 0, "data": {}})
    offline = await account.run("online")
    assert (offline.result, offline.vendor_code) == ({"online": False}, 1002)
    with pytest.raises(BadReply):
        await account.run("online")


async def test_refreshing_the_inventory_asks_every_configured_device(make: Callable[..., Account]) -> None:
    account = make(devices=["W7100000001", "W7200000002", "W7200000003"])
    yes, no = {"code": 0, "data": {"on_line": 1}}, {"code": 0, "data": {"on_line": 0}}
    account.cloud.will(answer(INFO), yes, OFFLINE, no, SILENT, yes)
    outcome = await account.run("refresh_inventory", device=None)
    assert outcome.result == {"devices": 3}
    assert account.cloud.words == ["getdevinfo", "getOnLine"] * 3
    said = [one.online for one in outcome.observations if isinstance(one, Availability) and one.said]
    assert said == [True, False, True]
    assert sum(isinstance(one, Reading) for one in outcome.observations) == 1


# set_protection -----------------------------------------------------------------------------------

SETTING = '{"leakage_current":30,"overcurrent":32,"overheat":80,"overvoltage":275,"undervoltage":160}'


async def test_protection_is_filled_in_from_the_device_sent_complete_and_read_back(account: Account) -> None:
    account.cloud.will(answer(INFO), OK, answer(INFO | {"overcurrent": 32}))
    outcome = await account.run("set_protection", {"overcurrent_a": 32})
    assert account.cloud.bodies == [sent("getdevinfo"), sent("setting", SETTING), sent("getdevinfo")]
    assert account.effect.count == 1
    assert outcome.status is Status.SUCCEEDED
    assert outcome.result == ALL_FIVE | {"overcurrent_a": 32}
    reading, can_be_reached = outcome.observations
    assert can_be_reached == alive(account)
    assert reading.origin is Origin.COMMAND
    assert reading.metrics["threshold_overcurrent"] == 32


async def test_complete_protection_needs_no_reading_before(account: Account) -> None:
    account.cloud.will(OK, answer(INFO))
    assert (await account.run("set_protection", ALL_FIVE)).status is Status.SUCCEEDED
    assert account.cloud.words == ["setting", "getdevinfo"]


async def test_protection_that_reads_back_differently_has_failed(account: Account) -> None:
    account.cloud.will(OK, answer(INFO | {"overheat": 70}))
    outcome = await account.run("set_protection", ALL_FIVE)
    assert (outcome.status, outcome.code) == (Status.FAILED, "values_differ")
    assert outcome.result == ALL_FIVE | {"overheat_c": 70}
    assert "overheat_c 70 instead of 80" in outcome.message
    assert outcome.observations[0].metrics["threshold_temperature"] == 70


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (SILENT, DeviceSilent),
        (OFFLINE, DeviceSilent),
        (httpx.ConnectError("x"), LostAnswer),
        ({"code": 1006}, LostAnswer),
        (httpx.ReadTimeout("x"), LostAnswer),
    ],
)
async def test_protection_that_cannot_be_read_back_is_an_unknown_outcome(
    account: Account, reply: Any, kind: type[LostAnswer]
) -> None:
    account.cloud.will(OK, reply)
    with pytest.raises(kind, match="reading it back failed"):
        await account.run("set_protection", ALL_FIVE)


async def test_nothing_is_set_where_the_device_does_not_tell_the_rest(account: Account) -> None:
    account.cloud.will(answer({name: value for name, value in INFO.items() if name != "overheat"}))
    with pytest.raises(Refused, match="overheat_c"):
        await account.run("set_protection", {"overcurrent_a": 32})
    assert account.effect.count == 0


async def test_a_failed_reading_before_leaves_protection_untouched(account: Account) -> None:
    account.cloud.will(SILENT)
    with pytest.raises(LostAnswer):
        await account.run("set_protection", {"overcurrent_a": 32})
    assert account.effect.left is False


# frames -------------------------------------------------------------------------------------------


async def test_load_alarms_succeed_with_an_equal_report(account: Account) -> None:
    account.cloud.will(hex_ack(F6))
    outcome = await account.run("set_alarms", LOAD)
    assert account.cloud.bodies == [sent("uart_cmd", f'{{"hex_cmd":"{F5}"}}')]
    assert outcome.status is Status.SUCCEEDED
    assert outcome.result["overload_kw"] == {"threshold": 13, "trip": True}
    assert outcome.result["hex_ack"] == F6
    assert outcome.result["data_points"][0]["name"] == "alarm_set_1"
    reading, can_be_reached = outcome.observations
    assert can_be_reached == alive(account)
    assert reading.metrics == {
        "threshold_overload": 13000, "trip_overload": True, "threshold_leakage_current": 30,
        "trip_leakage_current": True, "threshold_temperature": 80, "trip_temperature": True,
    }  # fmt: skip


async def test_voltage_alarms_succeed_with_an_equal_report(account: Account) -> None:
    account.cloud.will(hex_ack(F1_REPORT))
    outcome = await account.run("set_alarms", VOLTAGE)
    assert account.cloud.bodies == [sent("uart_cmd", f'{{"hex_cmd":"{F1_RIGHT}"}}')]
    assert outcome.status is Status.SUCCEEDED
    reading, can_be_reached = outcome.observations
    assert can_be_reached == alive(account)
    assert reading.metrics["trip_low_balance"] is False
    assert reading.metrics["threshold_low_balance"] == 30


async def test_switching_protections_off_is_told_by_an_event(account: Account) -> None:
    account.cloud.will(hex_ack(F4))
    outcome = await account.run("set_alarms", silenced(VOLTAGE))
    assert account.cloud.bodies == [sent("uart_cmd", f'{{"hex_cmd":"{F3}"}}')]
    event = outcome.observations[1]
    assert isinstance(event, Event)
    assert event.code == "protection_disabled"
    assert event.data == {"names": ["overcurrent", "overvoltage", "undervoltage"]}


async def test_other_values_than_asked_for_have_failed_and_are_told(account: Account) -> None:
    account.cloud.will(hex_ack(F8))
    outcome = await account.run("set_alarms", silenced(LOAD))
    assert (outcome.status, outcome.code) == (Status.FAILED, "values_differ")
    assert outcome.result["overload_kw"] == {"threshold": 6, "trip": False}
    assert [type(one) for one in outcome.observations] == [Reading, Availability]
    assert outcome.observations[0].metrics["threshold_overload"] == 6000


@pytest.mark.parametrize("stray", [F2, "55AA", "", None, 7, F9])
async def test_an_answer_about_something_else_is_asked_once_more_and_then_open(
    account: Account, stray: Any
) -> None:
    account.cloud.will(hex_ack(stray), hex_ack(stray))
    outcome = await account.run("set_alarms", VOLTAGE)
    assert account.cloud.words == ["uart_cmd", "uart_cmd"]
    assert account.clock.slept == [2.0]
    assert account.effect.count == 2
    assert outcome.status is Status.INDETERMINATE
    assert outcome.result["hex_ack"] == stray
    assert "overload_kw" not in outcome.result


async def test_the_repetition_may_bring_the_right_answer(account: Account) -> None:
    account.cloud.will(hex_ack(F2), hex_ack(F1_REPORT))
    assert (await account.run("set_alarms", VOLTAGE)).status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(OFFLINE, DeviceSilent), (SILENT, DeviceSilent), (httpx.ConnectError("x"), LostAnswer)],
)
async def test_a_failed_repetition_does_not_undo_the_first_frame(
    account: Account, reply: Any, kind: type[LostAnswer]
) -> None:
    account.cloud.will(hex_ack(F2), reply)
    with pytest.raises(kind, match="another data point"):
        await account.run("set_alarms", VOLTAGE)


async def test_a_repetition_that_may_not_leave_ends_open(account: Account) -> None:
    account.effect = FakeEffect(allowed=1)
    account.cloud.will(hex_ack(F2))
    assert (await account.run("set_alarms", VOLTAGE)).status is Status.INDETERMINATE


async def test_a_hex_frame_is_sent_with_its_checksum_fixed(account: Account) -> None:
    account.cloud.will(hex_ack(F1_REPORT))
    outcome = await account.run("hex_frame", {"hex": F1.lower(), "fix_checksum": True})
    assert account.cloud.bodies == [sent("uart_cmd", f'{{"hex_cmd":"{F1_RIGHT}"}}')]
    assert outcome.status is Status.SUCCEEDED
    assert outcome.result["overvoltage_v"] == {"threshold": 250, "trip": True}


async def test_a_hex_frame_that_switches_needs_no_matching_answer(account: Account) -> None:
    account.cloud.will(hex_ack(F10), hex_ack("nonsense"), hex_ack(F2))
    outcome = await account.run("hex_frame", {"hex": "55 AA 00 06 00 05 10 01 00 01 01 1D"})
    assert outcome.status is Status.SUCCEEDED
    assert outcome.observations[0].metrics == {"switch_state": "on"}
    assert outcome.result["data_points"][0]["value"] is True
    for _ in range(2):
        other = await account.run("hex_frame", {"hex": "55AA0006000510010001001C"})
        assert (other.status, other.observations) == (Status.SUCCEEDED, [alive(account)])
    assert account.clock.slept == []


async def test_a_hex_frame_that_sets_more_than_alarms_is_not_repeated(account: Account) -> None:
    mixed = "55AA000600151100000C0301000D0401001E0501005010010001" + "01"
    account.cloud.will(hex_ack(F2[:-2]))
    outcome = await account.run("hex_frame", {"hex": mixed, "fix_checksum": True})
    assert outcome.status is Status.INDETERMINATE
    assert account.cloud.words == ["uart_cmd"]


async def test_a_hex_frame_that_disables_tells_so(account: Account) -> None:
    account.cloud.will(hex_ack("55AA030700101100000C0300000D0400001E05000050BD"))
    outcome = await account.run("hex_frame", {"hex": F7})
    assert outcome.observations[1].data == {"names": ["overload", "leakage_current", "overheat"]}


async def test_an_answer_that_bears_another_breakers_number_leaves_the_outcome_open() -> None:
    account = Account(devices=[SERIAL, "W7100000002"])
    account.cloud.will(OK | {"data": {**OK["data"], "device_sn": "w7100000002"}})
    with pytest.raises(BadReply, match="another device"):
        await account.run("breaker", {"state": "on"})
    account.cloud.will(OK | {"data": {**OK["data"], "device_sn": "W7199999999"}})
    assert (await account.run("breaker", {"state": "on"})).status is Status.SUCCEEDED
    await account.aclose()


# asking after a lost answer -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "params", "info", "decided"),
    [
        ("breaker", {"state": "on"}, INFO, True),
        ("breaker", {"state": "off"}, INFO, False),
        ("set_protection", {"overcurrent_a": 40}, INFO, True),
        ("set_protection", {"overcurrent_a": 32}, INFO, False),
        ("retain_state", {"enabled": True}, INFO | {"retainstate": 1}, True),
        ("retain_state", {"enabled": False}, INFO | {"retainstate": 1}, False),
        ("retain_state", {"enabled": False}, INFO, False),
    ],
)
async def test_the_device_shows_what_became_of_a_command(
    account: Account, command: str, params: dict[str, Any], info: dict[str, Any], decided: bool
) -> None:
    account.cloud.will(answer(info))
    outcome = await account.adapter.probe(account.order(command, params))
    assert account.cloud.bodies == [sent("getdevinfo")]
    assert (outcome is not None) is decided
    if outcome is not None:
        assert outcome.status is Status.SUCCEEDED
        assert [one.origin for one in outcome.observations if isinstance(one, Reading)] == [Origin.COMMAND]


@pytest.mark.parametrize(
    ("command", "params"), [("restart", {}), ("pulse_on", {"delay_s": 3}), ("set_alarms", LOAD), ("read", {})]
)
async def test_of_other_commands_nothing_can_be_seen(
    account: Account, command: str, params: dict[str, Any]
) -> None:
    assert await account.adapter.probe(account.order(command, params)) is None
    assert account.cloud.requests == []


async def test_asking_passes_on_that_the_device_is_silent(account: Account) -> None:
    account.cloud.will(SILENT)
    with pytest.raises(LostAnswer):
        await account.adapter.probe(account.order("breaker", {"state": "on"}))


# dry runs -----------------------------------------------------------------------------------------


def test_a_dry_run_shows_the_request_without_the_secret(account: Account) -> None:
    shown = account.adapter.preview(account.order("breaker", {"state": "on"}))
    assert (shown.method, shown.url) == ("POST", "https://cloud.example.invalid/deviceApi/send")
    assert json.dumps(shown.body, separators=(",", ":")).encode() == sent("turnon").replace(
        SECRET.encode(), b"***"
    )
    assert account.cloud.requests == []


def test_a_dry_run_of_protection_is_filled_in_from_what_is_known(account: Account) -> None:
    known = {
        "threshold_leakage_current": 30, "threshold_temperature": 80, "threshold_overvoltage": 275,
        "threshold_undervoltage": 160, "threshold_overcurrent": 40,
    }  # fmt: skip
    shown = account.adapter.preview(account.order("set_protection", {"overcurrent_a": 32}, known=known))
    assert shown.body["data"]["info"] == json.loads(SETTING)
    partly = account.adapter.preview(account.order("set_protection", {"overcurrent_a": 32}))
    assert partly.body["data"]["info"] == {"overcurrent": 32}
    assert "undervoltage_v are read from the breaker" in str(partly.explain)


@pytest.mark.parametrize(
    ("command", "params"),
    [("set_alarms", LOAD), ("hex_frame", {"hex": F5[:-2] + "00", "fix_checksum": True})],
)
def test_a_dry_run_of_a_frame_explains_it(account: Account, command: str, params: dict[str, Any]) -> None:
    shown = account.adapter.preview(account.order(command, params))
    assert shown.body["data"]["info"] == {"hex_cmd": F5}
    assert isinstance(shown.explain, list)
    assert shown.explain[0]["frame"] == F5


@pytest.mark.parametrize(
    ("command", "params", "path", "serial"),
    [
        ("register", {"device_sn": "W7200000009"}, "/register", "W7200000009"),
        ("refresh_inventory", {}, "/getOnLine", SERIAL),
    ],
)
def test_account_commands_have_dry_runs(
    account: Account, command: str, params: dict[str, Any], path: str, serial: str
) -> None:
    shown = account.adapter.preview(account.order(command, params, device=None))
    assert shown.url.endswith(path)
    assert shown.body["device_sn"] == serial
    assert SECRET not in repr(shown)


@pytest.mark.parametrize(
    ("command", "path"), [("register", "/register"), ("unregister", "/logout"), ("online", "/getOnLine")]
)
def test_end_points_of_their_own_have_dry_runs(account: Account, command: str, path: str) -> None:
    shown = account.adapter.preview(account.order(command))
    assert shown.url.endswith(path)
    assert set(shown.body) == {"app_id", "app_secret", "device_sn"}


def test_descriptions_in_observations_belong_to_the_account(account: Account) -> None:
    (one,) = described(SERIAL, {"version": "1.0.4"}, account.policy)
    assert isinstance(one, Described)
    assert (one.device.account, one.device.vendor_info) == ("shop", {"version": "1.0.4"})
