"""What each command demands before anything is sent, and what follows a lost answer (METRICS 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from bridge.domain.command import AfterLoss, Evidence, Status
from bridge.domain.errors import Rejection
from tests.unit.vendors.wmj.bench import Account
from tests.unit.vendors.wmj.test_frame import F1, F1_RIGHT, F3, F5, F7, F9, F10


def trip(threshold: int, *, on: bool = True) -> dict[str, Any]:
    return {"threshold": threshold, "trip": on}


VOLTAGE = {
    "overcurrent_a": trip(63), "overvoltage_v": trip(250), "undervoltage_v": trip(150),
    "low_balance_kwh": trip(30, on=False),
}  # fmt: skip
LOAD = {"overload_kw": trip(13), "leakage_current_ma": trip(30), "overheat_c": trip(80)}


def silenced(group: dict[str, Any]) -> dict[str, Any]:
    return {name: setting | {"trip": False} for name, setting in group.items()}


def test_a_breaker_and_its_account_take_these_commands(account: Account) -> None:
    assert set(account.adapter.commands(account.device())) == {
        "breaker", "pulse_on", "pulse_off", "read", "set_protection", "set_alarms", "hex_frame",
        "retain_state", "restart", "wifi_config", "register", "unregister", "online",
    }  # fmt: skip
    assert set(account.adapter.commands(None)) == {"refresh_inventory", "register"}


def test_the_flags_are_those_of_the_catalogue(account: Account) -> None:
    specs = account.adapter.commands(account.device())
    not_idempotent = {name for name, spec in specs.items() if not spec.idempotent}
    assert not_idempotent == {"restart", "wifi_config", "pulse_on", "pulse_off", "hex_frame"}
    assert {name for name, spec in specs.items() if not spec.writes} == {"read", "online"}
    assert not any(spec.needs_id or spec.dangerous for spec in specs.values())


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("breaker", {"state": "ON"}),
        ("breaker", {"state": True}),
        ("breaker", {}),
        ("breaker", {"state": "on", "delay": 1}),
        ("pulse_on", {"delay_s": 0}),
        ("pulse_on", {"delay_s": 901}),
        ("pulse_off", {"delay_s": "15"}),
        ("pulse_off", {"delay_s": True}),
        ("retain_state", {"enabled": 1}),
        ("set_protection", {}),
        ("set_protection", {"overcurrent_a": 126}),
        ("set_protection", {"overcurrent_a": 40.5}),
        ("set_protection", {"overheat_c": True}),
        ("set_protection", {"low_balance_kwh": 5}),
        ("set_alarms", {}),
        ("set_alarms", {"overload_kw": trip(13)}),
        ("set_alarms", LOAD | VOLTAGE),
        ("set_alarms", LOAD | {"overload_kw": trip(101)}),
        ("set_alarms", LOAD | {"overload_kw": {"threshold": 13}}),
        ("set_alarms", LOAD | {"overload_kw": {"threshold": 13, "trip": 1}}),
        ("set_alarms", LOAD | {"overload_kw": {"threshold": 13, "trip": True, "x": 1}}),
        ("hex_frame", {}),
        ("hex_frame", {"hex": ""}),
        ("hex_frame", {"hex": "55A"}),
        ("hex_frame", {"hex": "zz"}),
        ("restart", {"now": True}),
    ],
)
def test_wrong_parameters_are_refused(account: Account, command: str, params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        account.order(command, params)


def test_an_account_may_narrow_the_ranges(make: Callable[..., Account]) -> None:
    account = make(ranges={"overcurrent_a": [10, 63], "overload_kw": [1, 10]})
    account.order("set_protection", {"overcurrent_a": 63})
    for command, params in (("set_protection", {"overcurrent_a": 64}), ("set_alarms", LOAD)):
        with pytest.raises(ValidationError):
            account.order(command, params)
    shown = account.spec("set_protection").schema()["properties"]["overcurrent_a"]
    assert (shown["minimum"], shown["maximum"]) == (10, 63)
    assert (
        account.spec("set_protection").params.__qualname__
        != make().spec("set_protection").params.__qualname__
    )


@pytest.mark.parametrize(
    ("command", "params", "fits"),
    [
        ("set_protection", {"overcurrent_a": 40}, True),
        ("set_protection", {}, False),
        ("set_protection", {"overcurrent_a": None}, False),
        ("set_alarms", LOAD, True),
        ("set_alarms", VOLTAGE, True),
        ("set_alarms", {"overload_kw": trip(13)}, False),
        ("pulse_on", {"delay_s": 900}, True),
        ("pulse_on", {"delay_s": 901}, False),
    ],
)
def test_the_shown_schema_agrees_with_the_parameters(
    account: Account, command: str, params: dict[str, Any], fits: bool
) -> None:
    assert jsonschema.Draft202012Validator(account.spec(command).schema()).is_valid(params) is fits


def test_bare_payloads_stand_for_the_only_required_parameter(account: Account) -> None:
    bare = {name: spec.bare_key() for name, spec in account.adapter.commands(account.device()).items()}
    assert bare["breaker"] == "state"
    assert bare["pulse_on"] == "delay_s"
    assert bare["retain_state"] == "enabled"
    assert bare["hex_frame"] == "hex"
    assert bare["set_protection"] is None


def danger(account: Account, command: str, params: dict[str, Any]) -> str | None:
    order = account.order(command, params)
    assert order.spec.dangerous_if is not None
    return order.spec.dangerous_if(order.params)


def test_alarms_without_a_trip_need_a_confirmation(account: Account) -> None:
    assert danger(account, "set_alarms", VOLTAGE) is None
    assert danger(account, "set_alarms", LOAD) is None
    told = danger(account, "set_alarms", silenced(VOLTAGE))
    assert told is not None
    assert told.endswith("overcurrent, overvoltage, undervoltage")
    assert danger(account, "set_alarms", LOAD | {"overheat_c": trip(80, on=False)}) is not None


@pytest.mark.parametrize(
    ("frame", "dangerous"),
    [
        (F1_RIGHT, False),
        (F5, False),
        (F10, False),
        (F3, True),
        (F7, True),
        ("55AA0307000809050004000008002B", True),
        ("55AA0006000511010001001D", True),
        (F1, False),
    ],
)
def test_hex_frames_that_disable_or_write_something_unknown_need_a_confirmation(
    account: Account, frame: str, dangerous: bool
) -> None:
    assert (danger(account, "hex_frame", {"hex": frame}) is not None) is dangerous


@pytest.mark.parametrize("text", [F1, F9 + F10, "55AA0307000510010001", "56AA0006000510010001011D"])
def test_a_bad_frame_is_rejected_before_anything_is_sent(account: Account, text: str) -> None:
    order = account.order("hex_frame", {"hex": text})
    assert order.spec.check is not None
    with pytest.raises(Rejection) as rejected:
        order.spec.check(order)
    assert rejected.value.code == "bad_frame"


def test_a_wrong_checksum_passes_where_it_is_to_be_fixed(account: Account) -> None:
    order = account.order("hex_frame", {"hex": F1, "fix_checksum": True})
    assert order.spec.check is not None
    order.spec.check(order)
    assert danger(account, "hex_frame", {"hex": F3[:-2] + "00", "fix_checksum": True}) is not None


@pytest.mark.parametrize(
    ("firmware", "allowed"),
    [("71.0.32", False), ("70.9", False), ("71.0.33", True), ("71.1.47", True), (None, True), ("beta", True)],
)
@pytest.mark.parametrize("command", ["pulse_on", "pulse_off"])
def test_delayed_switching_needs_its_firmware(
    account: Account, command: str, firmware: str | None, allowed: bool
) -> None:
    order = account.order(command, {"delay_s": 15}, device=account.device(firmware=firmware))
    assert order.spec.check is not None
    if allowed:
        order.spec.check(order)
        return
    with pytest.raises(Rejection) as rejected:
        order.spec.check(order)
    assert rejected.value.code == "unsupported"


def after(account: Account, command: str, params: dict[str, Any] | None = None) -> AfterLoss:
    order = account.order(command, params)
    return order.spec.after_loss(order.params)


READ_BACK = (5.0, 20.0, 60.0)


@pytest.mark.parametrize(
    ("command", "params", "ask", "again", "otherwise"),
    [
        ("breaker", {"state": "on"}, READ_BACK, 0, Status.TIMED_OUT),
        ("breaker", {"state": "off"}, READ_BACK, 1, Status.TIMED_OUT),
        ("pulse_on", {"delay_s": 1}, (), 0, Status.INDETERMINATE),
        ("pulse_off", {"delay_s": 1}, (), 0, Status.INDETERMINATE),
        ("wifi_config", {}, (), 0, Status.INDETERMINATE),
        ("restart", {}, (), 0, Status.INDETERMINATE),
        ("read", {}, (), 2, Status.TIMED_OUT),
        ("online", {}, (), 2, Status.TIMED_OUT),
        ("set_protection", {"overheat_c": 80}, READ_BACK, 1, Status.TIMED_OUT),
        ("retain_state", {"enabled": True}, READ_BACK, 1, Status.TIMED_OUT),
        ("set_alarms", LOAD, (), 1, Status.TIMED_OUT),
        ("hex_frame", {"hex": F5}, (), 1, Status.TIMED_OUT),
        ("hex_frame", {"hex": F1}, (), 0, Status.INDETERMINATE),
        ("hex_frame", {"hex": F10}, (), 0, Status.INDETERMINATE),
        ("register", {}, (), 1, Status.TIMED_OUT),
        ("unregister", {}, (), 1, Status.TIMED_OUT),
    ],
)
def test_what_follows_a_lost_answer_is_the_catalogues_last_column(
    account: Account, command: str, params: dict[str, Any], ask: Any, again: int, otherwise: Status
) -> None:
    rule = after(account, command, params)
    assert (rule.ask_at_s, rule.send_again, rule.otherwise) == (ask, again, otherwise)


def test_the_account_says_when_a_lost_answer_is_asked_about(make: Callable[..., Account]) -> None:
    assert after(make(read_back=["2s", "9s"]), "breaker", {"state": "on"}).ask_at_s == (2.0, 9.0)


def test_a_restart_waits_for_the_breaker_to_report_back(account: Account) -> None:
    order = account.order("restart")
    assert order.spec.timeout_s == 120
    assert after(account, "restart").wait_s == 120
    assert order.spec.evidence(order.params) == Evidence(events=frozenset({"online", "registered"}))


def test_a_switch_report_proves_a_breaker_command(account: Account) -> None:
    order = account.order("breaker", {"state": "off"})
    assert order.spec.evidence(order.params) == Evidence("switch_state", "off")


def test_account_commands_are_repeated_as_the_catalogue_says(account: Account) -> None:
    refresh = account.order("refresh_inventory", device=None)
    assert refresh.spec.after_loss(refresh.params).send_again == 2
    register = account.order("register", {"device_sn": "W7200000009"}, device=None)
    assert register.spec.after_loss(register.params).send_again == 1
    with pytest.raises(ValidationError):
        account.order("register", {"device_sn": "W7300000009"}, device=None)


@pytest.mark.parametrize(
    ("data", "deeds"),
    [
        ("1001000100", ["switch_off"]),
        ("1001000101", ["switch_on"]),
        (
            "1004000101",
            ["switch_on"],
        ),  # in another form
        ("10010001011001000100", ["switch_on", "switch_off"]),
        ("1100000403010006", []),
    ],
)
def test_a_raw_frame_counts_for_the_interlocks_as_what_it_does(
    account: Account, data: str, deeds: list[str]
) -> None:
    frame = f"55AA0006{len(data) // 2:04X}{data}"
    order = account.order("hex_frame", {"hex": frame, "fix_checksum": True})
    assert [str(act.deed) for act in order.spec.acts(order.params)] == deeds


def test_a_raw_frame_is_held_to_the_ranges_that_the_account_names(make: Callable[..., Account]) -> None:
    narrow = make(ranges={"overcurrent_a": [10, 40]})
    check = narrow.spec("hex_frame").check
    assert check is not None
    with pytest.raises(
        Rejection, match="overcurrent_a 63 is outside the account's range of 10 to 40"
    ) as refused:
        check(narrow.order("hex_frame", {"hex": F1_RIGHT}))
    assert refused.value.code == "invalid_params"
    check(narrow.order("hex_frame", {"hex": F5}))
