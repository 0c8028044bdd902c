"""Inventory, polling and the check of one account; vector V1."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from bridge.domain.device import DeviceKind
from bridge.domain.errors import AuthFailed, LostAnswer, Refused
from bridge.domain.metrics import METRICS
from bridge.domain.observation import Availability, Described, Origin, Reading
from bridge.pace.limits import Lane
from bridge.ports import PushRequest
from bridge.vendors.wmj.codec import metrics_of
from tests.unit.vendors.wmj.bench import (
    INFO,
    NOW,
    OFFLINE,
    OK,
    SERIAL,
    SILENT,
    UNREGISTERED,
    Account,
    answer,
)
from tests.unit.vendors.wmj.test_callbacks import alarm, callback

READ = f"getdevinfo:{SERIAL}"
ONLINE = f"online:{SERIAL}"


def push(account: Account, body: bytes) -> None:
    door = account.adapter.push
    assert door is not None
    door.parse(PushRequest("", {}, body, NOW))


async def test_the_inventory_is_the_configuration_and_asks_nobody(make: Callable[..., Account]) -> None:
    account = make(
        devices={"include": [SERIAL, "w7200000002"], "exclude": ["w7200000002"], "names": {SERIAL: "Shop"}}
    )
    (device,) = await account.adapter.inventory()
    assert (device.native_id, device.serial, device.name, device.kind) == (
        SERIAL, SERIAL, None, DeviceKind.BREAKER,
    )  # fmt: skip
    # the configured name is the flow's business (flow.desk), as it is for every vendor
    assert set(device.metrics) <= METRICS.keys()
    assert account.cloud.requests == []


async def test_each_breaker_has_its_tasks_and_the_account_one_for_confirmations(account: Account) -> None:
    tasks = {task.key: task for task in account.adapter.poll_tasks(await account.adapter.inventory())}
    assert set(tasks) == {"confirm", READ, ONLINE}
    assert (tasks[READ].interval_s, tasks[READ].costs, tasks[READ].devices) == (
        60,
        {"requests": 1},
        (SERIAL,),
    )
    assert (tasks[ONLINE].interval_s, tasks[ONLINE].costs) == (600, {"requests": 1})
    assert (tasks["confirm"].interval_s, tasks["confirm"].costs, tasks["confirm"].lane) == (1, {}, "alarms")
    assert list(account.adapter.poll_tasks([])) == []


async def test_a_poll_becomes_the_metrics_of_the_page(account: Account) -> None:
    account.cloud.will(answer(INFO))
    reading, alive, described = await account.poll(READ)
    assert reading == Reading(
        SERIAL,
        NOW,
        Origin.POLL,
        {
            "voltage": Decimal("229.1"), "current": Decimal("2.5"), "active_power": Decimal("560.5"),
            "import_energy": Decimal("1234.56"), "temperature": 14, "signal_strength": -70,
            "switch_state": "on", "healthy": True, "prepay_enabled": False, "threshold_leakage_current": 30,
            "threshold_overcurrent": 40, "threshold_temperature": 80, "threshold_overvoltage": 275,
            "threshold_undervoltage": 160,
        },
    )  # fmt: skip
    assert alive == Availability(SERIAL, True, NOW, Origin.POLL, False)
    assert isinstance(described, Described)
    assert described.device.vendor_info["version"] == "1.0.4"
    assert account.gate.calls[0][1] is Lane.POLL


async def test_fields_that_the_page_does_not_know_are_kept_without_customer_data(account: Account) -> None:
    info = {
        "code": 0,
        "status": 1,
        "voltage": "",
        "power": None,
        "heartbeat": "x",
        "new": [1],
        "ssid": "HOME",
        "network": [{"bssid": "001122334455", "channel": 6}],
    }
    account.cloud.will(answer(info))
    reading, alive = await account.poll(READ)
    assert (reading.metrics, reading.extra) == ({}, {"new": [1], "network": [{"channel": 6}]})
    assert alive.online
    account.cloud.will(answer({"code": 0}))
    assert [type(one) for one in await account.poll(READ)] == [Availability]


@pytest.mark.parametrize(
    ("info", "metrics"),
    [
        ({"controlled_by_schedule": 3, "scheduled_state": 1},
         {"schedule_active": True, "schedule_index": 3, "scheduled_state": "on"}),
        ({"controlled_by_schedule": -1, "scheduled_state": "0"},
         {"schedule_active": False, "schedule_index": -1, "scheduled_state": "off"}),
        ({"controlled_by_schedule": "1.5"}, {}),
        ({"switch_state": 3}, {"switch_state": "unknown_3"}),
        ({"switch_state": ""}, {}),
        ({"switch_state": [1]}, {}),
        ({"retainstate": 0}, {"retain_state": False}),
        ({"prepay": True, "balance": 1}, {"prepay_enabled": True, "balance_energy": 1}),
        ({"balance": 1}, {}),
        ({"voltage": 10**40, "power": "9e99", "rssi": "strong"}, {}),
    ],
)  # fmt: skip
def test_settings_and_oddities_become_metrics_or_nothing(
    info: dict[str, Any], metrics: dict[str, Any]
) -> None:
    found = metrics_of(info)
    assert found == metrics
    assert all(METRICS[name].takes(value) for name, value in found.items())


async def test_off_line_is_an_observation_and_silence_an_error(account: Account) -> None:
    account.cloud.will(OFFLINE, SILENT, {"code": 1006}, answer({"code": 9, "msg": "x"}))
    (seen,) = await account.poll(READ)
    assert (seen.online, seen.said, seen.origin) == (False, True, Origin.POLL)
    for kind in (LostAnswer, AuthFailed, Refused):
        with pytest.raises(kind):
            await account.poll(READ)


async def test_polling_registers_an_unregistered_device(account: Account) -> None:
    account.cloud.will(UNREGISTERED, {"code": 0}, answer(INFO))
    assert len(await account.poll(READ)) == 3
    assert account.cloud.words == ["getdevinfo", "register", "getdevinfo"]


async def test_the_connection_is_asked_for_only_after_a_silence(account: Account) -> None:
    account.cloud.will(answer(INFO))
    await account.poll(READ)
    account.clock.seconds = 599
    assert await account.poll(ONLINE) == []
    account.clock.seconds = 600
    account.cloud.will({"code": 0, "data": {"on_line": 1}})
    (seen,) = await account.poll(ONLINE)
    assert (seen.online, seen.said, seen.announced) == (True, True, False)
    assert await account.poll(ONLINE) == []
    assert account.cloud.words == ["getdevinfo", "getOnLine"]


async def test_a_callback_is_a_sign_of_life_too(account: Account) -> None:
    push(account, callback("power_report", {}))
    assert await account.poll(ONLINE) == []


async def test_an_answer_after_the_word_off_line_makes_the_gateway_ask(account: Account) -> None:
    push(account, callback("OffLine", {}))
    account.cloud.will(answer(INFO), {"code": 0, "data": {"on_line": 1}})
    await account.poll(READ)
    (seen,) = await account.poll(ONLINE)
    assert (seen.online, seen.said) == (True, True)
    assert await account.poll(ONLINE) == []


async def test_a_connection_check_of_an_unregistered_device_fails_unless_that_is_wanted(
    account: Account,
) -> None:
    account.cloud.will(UNREGISTERED)
    with pytest.raises(Refused):
        await account.poll(ONLINE)
    account.cloud.will({"code": 0}, UNREGISTERED)
    await account.run("unregister")
    (seen,) = await account.poll(ONLINE)
    assert (seen.online, seen.said) == (False, False)


async def test_an_alarm_is_followed_by_one_reading_two_seconds_later(account: Account) -> None:
    push(account, alarm("overload", "1", "55"))
    push(account, alarm("overload", "1", "55"))
    account.clock.seconds = 1.9
    assert await account.poll("confirm") == []
    account.clock.seconds = 2.0
    account.cloud.will(answer(INFO | {"switch_state": 0}))
    reading, *_ = await account.poll("confirm")
    assert reading.metrics["switch_state"] == "off"
    assert account.gate.calls[-1][1] is Lane.ALARMS
    account.clock.seconds = 60
    assert await account.poll("confirm") == []


async def test_a_flood_of_alarms_is_no_flood_of_readings(account: Account) -> None:
    for tenth in range(100):
        account.clock.seconds = tenth / 10
        push(account, alarm("overload", "1", "55"))
    account.clock.seconds = 12
    account.cloud.will(*[answer(INFO)] * 3)
    assert len(await account.poll("confirm")) == 3
    assert account.cloud.words == ["getdevinfo"]


def on_off(state: str) -> bytes:
    return callback("notify", {"notify_type": "on-off", "state": state})


async def test_a_switch_that_goes_to_and_fro_is_read_since_its_reports_could_be_repetitions(
    account: Account,
) -> None:
    for tenth, state in enumerate(["1", "1", "0", "1"]):
        account.clock.seconds = tenth / 10
        push(account, on_off(state))
    account.clock.seconds = 2.3
    account.cloud.will(answer(INFO))
    reading, *_ = await account.poll("confirm")
    assert reading.metrics["switch_state"] == "on"


async def test_a_switch_that_is_switched_at_leisure_is_not_read_for_it(account: Account) -> None:
    for at, state in enumerate(["1", "0", "1"]):
        account.clock.seconds = 3.0 * at
        push(account, on_off(state))
    account.clock.seconds = 60
    assert await account.poll("confirm") == []


@pytest.mark.parametrize("command", ["pulse_on", "pulse_off"])
async def test_a_pulse_is_followed_by_a_reading_after_its_end(account: Account, command: str) -> None:
    account.cloud.will(OK)
    await account.run(command, {"delay_s": 30})
    push(account, alarm("overload", "1", "55"))
    account.clock.seconds = 2
    account.cloud.will(answer(INFO))
    assert await account.poll("confirm")
    account.clock.seconds = 31.9
    assert await account.poll("confirm") == []
    account.clock.seconds = 32
    account.cloud.will(answer(INFO))
    assert await account.poll("confirm")


async def test_other_callbacks_ask_for_no_reading(account: Account) -> None:
    push(account, callback("power_report", {}))
    account.clock.seconds = 60
    assert await account.poll("confirm") == []


async def test_the_check_proves_the_credentials_by_the_cheapest_call(make: Callable[..., Account]) -> None:
    account = make()
    account.cloud.will(
        {"code": 0, "data": {"on_line": 1}}, OFFLINE, UNREGISTERED, {"code": 1006}, {"code": 1003}
    )
    assert await account.adapter.check() == f"credentials accepted; {SERIAL} is on line"
    assert await account.adapter.check() == f"credentials accepted; {SERIAL} is off line"
    assert "will be registered" in await account.adapter.check()
    with pytest.raises(AuthFailed):
        await account.adapter.check()
    with pytest.raises(Refused):
        await account.adapter.check()
    assert account.cloud.words == ["getOnLine"] * 5
    empty = make(devices={"include": [SERIAL], "exclude": ["*"]})
    assert "nothing to ask" in await empty.adapter.check()
