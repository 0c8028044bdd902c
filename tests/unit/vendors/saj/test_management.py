"""The management commands: exact requests, lost answers, secrets (page 7.5, METRICS 4.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from bridge.contract.commands import fingerprint_of
from bridge.domain.command import Order, Status
from bridge.domain.errors import LostAnswer, NotSent, Refused, VendorError
from bridge.domain.text import dumps, loads
from bridge.pace.limits import Lane
from tests.fakes.adapters import FakeEffect
from tests.unit.vendors.saj.bench import Account, bad, good

USER = {"user_email": "new@example.com", "user_password": "FAKEPASS", "user_name": "N", "user_tel": "1"}
PLANT = {"c_user_id": 8, "name": "Roof 1", "peak_power": 5.5}
MASTER = {"name": "Old", "longitude": "113.0", "latitude": "", "postal": "000000", "currency": "RMB",
          "Country": "China", "city": "Town"}  # fmt: skip
OK = good({})
BARE: dict[str, Any] = {"error_code": 0, "error_msg": ""}

REQUESTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("add_user", USER, "user/user_register",
     "user_email=new%40example.com&user_password=FAKEPASS&user_type=1&user_name=N&user_tel=1"),
    ("modify_user", {"c_user_id": 8, "name": "M", "mobile": "2"}, "user/modify", "c_user_id=8&name=M&mobile=2"),
    ("modify_user", {"c_user_id": 8, "user_City": "A B"}, "user/modifysign", "c_user_id=8&user_City=A%20B"),
    ("delete_user", {"c_user_id": 8}, "user/delete", "c_user_id=8"),
    ("add_plant", PLANT, "plant/add", "c_user_id=8&name=Roof%201&peak_power=5.5&is_public=false"),
    ("add_plant", {**PLANT, "is_public": True, "timezone_id": "Etc/GMT+12", "price": 0.35, "use_dst": True},
     "plant/add",
     "c_user_id=8&name=Roof%201&peak_power=5.5&price=0.35&is_public=true&timezone_id=Etc%2FGMT%2B12&use_dst=true"),
    ("delete_plant", {"plant_id": 9}, "plant/delete", "plant_id=9"),
    ("assign_plant", {"plant_id": 9, "user_id": 8}, "device/datalogger/addPlantUser", "plant_id=9&user_id=8"),
    ("add_datalogger", {"plant_id": 9, "sn": "L1"}, "device/datalogger/add", "plant_id=9&sn=L1"),
    ("modify_datalogger", {"plant_id": 9, "original_sn": "L1", "sn": "L2"}, "device/datalogger/modify",
     "plant_id=9&original_sn=L1&sn=L2"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "given", "endpoint", "form"), REQUESTS)
async def test_the_request_is_that_of_the_page(
    account: Account, command: str, given: dict[str, Any], endpoint: str, form: str
) -> None:
    account.cloud.will(endpoint, BARE if "logger" in command else OK)
    outcome = await account.run(command, given)
    assert outcome.status is Status.SUCCEEDED
    request = account.cloud.requests[-1]
    assert (request.method, str(request.url)) == ("POST", f"https://cloud.example.invalid/{endpoint}")
    assert request.content.decode() == form
    assert request.headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert (request.headers["token"], request.headers["uid"]) == (f"{1:032x}", "15000")
    assert account.effect.count == 1
    assert account.gate.calls[-1][1] is Lane.COMMAND


async def test_posts_may_go_into_the_query(make: Callable[..., Account]) -> None:
    account = make(post_encoding="query")
    account.cloud.will("user/delete", OK)
    await account.run("delete_user", {"c_user_id": 8})
    request = account.cloud.requests[-1]
    assert (str(request.url), request.content) == (
        "https://cloud.example.invalid/user/delete?c_user_id=8",
        b"",
    )


async def test_a_changed_plant_keeps_what_its_master_data_tell(account: Account) -> None:
    account.cloud.will("plant/details", good(MASTER), good(MASTER))
    account.cloud.will("plant/modify", OK)
    await account.run("modify_plant", {"plant_id": 9, "name": "New", "peak_power": 6})
    assert account.cloud.asked("plant/modify") == [
        {"plant_id": "9", "longitude": "113.0", "postal": "000000", "currency": "1", "name": "New",
         "peak_power": "6", "is_public": "false"}
    ]  # fmt: skip
    account.cloud.will("plant/modifysign", OK)
    await account.run(
        "modify_plant", {"plant_id": 9, "name": "New", "peak_power": 6, "City": "X", "postal": "1"}
    )
    (sent,) = account.cloud.asked("plant/modifysign")
    assert (sent["Country"], sent["City"], sent["postal"]) == ("China", "X", "1")


async def test_a_place_that_nobody_knows_must_be_given(account: Account) -> None:
    account.cloud.will("plant/details", good({}))
    with pytest.raises(Refused) as raised:
        await account.run("modify_plant", {"plant_id": 9, "name": "N", "peak_power": 6, "City": "X"})
    assert raised.value.code == "invalid_params"
    assert not account.effect.left


async def test_new_ids_are_told(account: Account) -> None:
    account.cloud.will("user/user_register", good({"c_user_id": 12}))
    assert (await account.run("add_user", USER)).result == {"c_user_id": 12}
    account.cloud.will("plant/add", good({"plant_id": "8"}))
    assert (await account.run("add_plant", PLANT)).result == {"plant_id": 8}


async def test_newer_end_points_are_used_where_the_older_ones_are_closed(account: Account) -> None:
    account.cloud.will("device/datalogger/add", bad(10014))
    account.cloud.will("device/datalogger/addsign", BARE)
    given = {"plant_id": 9, "sn": "L1"}
    assert (await account.run("add_datalogger", given)).status is Status.SUCCEEDED
    account.cloud.will("plant/add", bad(10005))
    with pytest.raises(Refused):
        await account.run("add_plant", PLANT)
    account.cloud.will("plant/addsign", OK)
    rows = [{"plant_id": 70, "name": "Roof 1", "peak_power": "5.50"}, {"plant_id": 71, "name": "Roof 11"}]
    account.cloud.will("plant/list", good({"count": 0}), good({"count": 2, "plants": rows}))
    outcome = await account.run("add_plant", {**PLANT, "Country": "China", "City": "Town"})
    assert (outcome.result, "assign_plant" in outcome.message) == ({"plant_id": 70}, True)
    assert "plant_id" not in account.cloud.asked("plant/addsign")[0]
    assert account.cloud.asked("plant/list")[-1]["search_keyword"] == "Roof 1"


async def test_addsign_may_get_the_id_that_it_asks_for(make: Callable[..., Account]) -> None:
    account = make(addsign_plant_id="send")
    account.cloud.will("plant/add", bad(10014))
    account.cloud.will("plant/addsign", OK)
    account.cloud.will("plant/list", good({"count": 0}), bad(10001))
    outcome = await account.run("add_plant", {**PLANT, "Country": "China", "City": "Town"})
    assert (outcome.status, outcome.result) == (Status.SUCCEEDED, None)
    assert account.cloud.asked("plant/addsign")[0]["plant_id"] == "0"


async def test_a_refusal_of_the_token_is_before_execution_and_repeated_once(account: Account) -> None:
    account.cloud.will("user/delete", bad(10012), OK)
    await account.run("delete_user", {"c_user_id": 8})
    assert account.effect.count == 2


async def test_what_ended_meanwhile_is_not_repeated(account: Account) -> None:
    account.effect = FakeEffect(allowed=1)
    account.cloud.will("user/delete", bad(10012))
    with pytest.raises(Refused, match="not sent again"):
        await account.run("delete_user", {"c_user_id": 8})


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (httpx.ReadTimeout("slow"), LostAnswer), (httpx.Response(503), LostAnswer), (bad(10001), LostAnswer),
        (b"<html>", LostAnswer), (httpx.ConnectError("no"), NotSent), (bad(10006), Refused),
        (bad(10099), Refused),
    ],
)  # fmt: skip
async def test_only_a_lost_answer_leaves_the_outcome_open(
    account: Account, reply: Any, kind: type[VendorError]
) -> None:
    account.cloud.will("plant/add", reply)
    with pytest.raises(kind) as raised:
        await account.run("add_plant", PLANT)
    assert isinstance(raised.value, LostAnswer) is (kind is LostAnswer)
    assert account.cloud.words.count("plant/add") == 1


# what became of a command whose answer was lost -----------------------------------------------------------------

Look = tuple[str, dict[str, Any], str, dict[str, Any], dict[str, Any]]
USERS = {"count": 1, "c_user": [{"c_user_id": "8", "c_user_email": "New@Example.com"}]}
PLANTS = {"count": 1, "plants": [{"plant_id": 9, "name": "Roof 1", "peak_power": 5.5, "user_id": 8}]}
LOGGERS = {"count": 1, "devices": [{"device_id": 1, "datalogger_sn": "L1"}]}
NONE: dict[str, Any] = {"count": 0}
DONE: list[Look] = [
    ("add_user", USER, "user/c_user_list", USERS, {"c_user_id": 8}),
    ("delete_user", {"c_user_id": 9}, "user/c_user_list", USERS, {}),
    ("modify_user", {"c_user_id": 8, "name": "M", "user_City": "X"}, "user/sigleuser",
     {"c_user": [{"c_user_name": "M", "c_user_City": "X"}]}, {}),
    ("add_plant", PLANT, "plant/list", PLANTS, {"plant_id": 9}),
    ("delete_plant", {"plant_id": 10}, "plant/list", PLANTS, {}),
    ("assign_plant", {"plant_id": 9, "user_id": 8}, "plant/list", PLANTS, {}),
    ("modify_plant", {"plant_id": 9, "name": "N", "peak_power": 6, "postal": "1"}, "plant/details",
     {"name": "N", "peak_power": "6.0", "postal": "1"}, {}),
    ("add_datalogger", {"plant_id": 9, "sn": "L1"}, "device/list", LOGGERS, {}),
    ("modify_datalogger", {"plant_id": 9, "original_sn": "L0", "sn": "L1"}, "device/list", LOGGERS, {}),
]  # fmt: skip


@pytest.mark.parametrize(("command", "given", "endpoint", "data", "result"), DONE)
async def test_what_the_lists_show_was_done(
    account: Account, command: str, given: dict[str, Any], endpoint: str, data: dict[str, Any], result: Any
) -> None:
    account.cloud.will(endpoint, good(data))
    outcome = await account.adapter.probe(account.order(command, given))
    assert outcome is not None
    assert (outcome.status, outcome.result or {}) == (Status.SUCCEEDED, result)


FAILED: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("add_user", USER, "user/c_user_list", NONE),
    ("delete_user", {"c_user_id": 8}, "user/c_user_list", USERS),
    ("add_plant", {**PLANT, "peak_power": 5.6}, "plant/list", PLANTS),
    ("add_plant", {**PLANT, "c_user_id": 9}, "plant/list", PLANTS),
    ("delete_plant", {"plant_id": 9}, "plant/list", PLANTS),
    ("delete_datalogger", {"plant_id": 9, "sn": "L1"}, "device/list", LOGGERS),
]


@pytest.mark.parametrize(("command", "given", "endpoint", "data"), FAILED)
async def test_two_looks_a_minute_apart_say_that_it_was_not_done(
    account: Account, command: str, given: dict[str, Any], endpoint: str, data: dict[str, Any]
) -> None:
    account.cloud.rules[endpoint] = lambda _request: good(data)
    order = account.order(command, given)
    assert await account.adapter.probe(order) is None
    again = account.restarted()
    again.cloud.rules = account.cloud.rules
    account.clock.seconds += 30
    assert await again.adapter.probe(order) is None
    account.clock.seconds += 30
    outcome = await again.adapter.probe(order)
    assert outcome is not None
    assert (outcome.status, outcome.code) == (Status.FAILED, "no_answer")
    assert "pending" not in account.vault.kept


@pytest.mark.parametrize(
    ("command", "given", "endpoint", "data"),
    [
        ("modify_user", {"c_user_id": 8, "name": "M"}, "user/sigleuser", {"c_user": [{"c_user_name": "X"}]}),
        ("modify_plant", {"plant_id": 9, "name": "N", "peak_power": 6}, "plant/details", {"name": "N"}),
        ("assign_plant", {"plant_id": 9, "user_id": 7}, "plant/list", PLANTS),
        ("add_datalogger", {"plant_id": 9, "sn": "L2"}, "device/list", LOGGERS),
        ("delete_datalogger", {"plant_id": 9, "sn": "L2"}, "device/list", LOGGERS),
    ],
)
async def test_where_nothing_can_be_told_nothing_is(
    account: Account, command: str, given: dict[str, Any], endpoint: str, data: dict[str, Any]
) -> None:
    account.cloud.rules[endpoint] = lambda _request: good(data)
    for _ in range(2):
        assert await account.adapter.probe(account.order(command, given)) is None
        account.clock.seconds += 100


async def test_a_change_that_the_master_data_do_not_tell_is_not_taken_for_done(account: Account) -> None:
    given = {"plant_id": 9, "name": "Old", "peak_power": 6, "price": 0.7}
    account.cloud.rules["plant/details"] = lambda _request: good({**MASTER, "peak_power": 6})
    account.cloud.will("plant/modify", httpx.ReadTimeout("slow"))
    with pytest.raises(LostAnswer):
        await account.run("modify_plant", given)
    again = account.restarted()
    again.cloud.rules = account.cloud.rules
    assert await again.adapter.probe(again.order("modify_plant", given)) is None
    again.cloud.will("plant/modify", OK)
    assert (await again.run("modify_plant", given)).status is Status.SUCCEEDED
    assert "pending" not in account.vault.kept


async def test_a_deleted_logger_that_showed_before_was_deleted(account: Account) -> None:
    given = {"plant_id": 9, "sn": "L1"}
    account.cloud.will("device/list", good(LOGGERS), good(NONE))
    account.cloud.will("device/datalogger/delete", httpx.ReadTimeout("slow"))
    with pytest.raises(LostAnswer):
        await account.run("delete_datalogger", given)
    outcome = await account.adapter.probe(account.order("delete_datalogger", given))
    assert outcome is not None
    assert outcome.status is Status.SUCCEEDED
    assert "pending" not in account.vault.kept


async def test_a_refused_deletion_is_not_remembered(account: Account) -> None:
    account.cloud.will("device/list", good(LOGGERS))
    account.cloud.will("device/datalogger/delete", bad(10006))
    with pytest.raises(Refused):
        await account.run("delete_datalogger", {"plant_id": 9, "sn": "L1"})
    assert "pending" not in account.vault.kept


async def test_readings_are_not_asked_after(account: Account) -> None:
    assert await account.adapter.probe(account.order("refresh_inventory")) is None


# what `info` says, and what is kept ----------------------------------------------------------------------------


def test_the_rules_are_those_of_the_catalogue(account: Account) -> None:
    specs = account.adapter.commands(None)
    rules = {
        name: (spec.idempotent, spec.needs_id, spec.dangerous, spec.writes) for name, spec in specs.items()
    }
    assert rules == {
        "refresh_inventory": (True, False, False, False),
        "add_user": (False, True, False, True),
        "modify_user": (True, False, False, True),
        "delete_user": (True, False, True, True),
        "add_plant": (False, True, False, True),
        "modify_plant": (True, False, False, True),
        "delete_plant": (True, False, True, True),
        "assign_plant": (True, False, False, True),
        "add_datalogger": (False, True, False, True),
        "modify_datalogger": (False, True, False, True),
        "delete_datalogger": (True, False, True, True),
    }
    again = {name for name, spec in specs.items() if spec.after_loss(None).send_again and spec.writes}
    assert again == {"modify_user", "modify_plant", "assign_plant"}
    for spec in specs.values():
        assert spec.schema()["additionalProperties"] is False


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("modify_user", {"c_user_id": 8}), ("modify_user", {"c_user_id": "8", "name": "M"}),
        ("delete_user", {"c_user_id": 0}), ("delete_user", {}), ("add_user", {**USER, "user_email": "x"}),
        ("add_user", {**USER, "extra": 1}), ("add_plant", {**PLANT, "peak_power": 0}),
        ("add_plant", {**PLANT, "peak_power": True}), ("add_plant", {**PLANT, "timezone_id": "Mars"}),
        ("add_plant", {**PLANT, "latitude": 91}), ("add_plant", {**PLANT, "is_public": "yes"}),
        ("add_datalogger", {"plant_id": 9, "sn": "A B"}), ("add_datalogger", {"plant_id": 9.5, "sn": "A"}),
        ("modify_plant", {"plant_id": 9, "name": "N"}),
    ],
)  # fmt: skip
def test_parameters_of_another_kind_are_refused(
    account: Account, command: str, given: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        account.order(command, given)


def journalled(order: Order) -> Any:
    """The parameters as the journal keeps them."""
    return loads(order.params.model_dump_json(exclude_unset=True))


async def test_the_journal_gives_back_what_was_asked_for(account: Account) -> None:
    for command, given, *_ in REQUESTS:
        order = account.order(command, given)
        again = order.spec.params.model_validate_json(dumps(journalled(order)))
        assert again == order.params


async def test_a_password_is_neither_journalled_nor_shown_and_still_sent(account: Account) -> None:
    order = account.order("add_user", USER)
    kept = journalled(order)
    shown = f"{kept} {fingerprint_of('add_user', order.params)} {order!r} {account.adapter.preview(order)}"
    assert "FAKEPASS" not in shown
    assert fingerprint_of("add_user", order.params) == fingerprint_of(
        "add_user", account.order("add_user", USER).params
    )
    other = account.order("add_user", USER | {"user_password": "FAKEPASS2"})
    assert fingerprint_of("add_user", order.params) != fingerprint_of("add_user", other.params)
    account.cloud.will("user/user_register", OK)
    await account.run("add_user", kept)
    assert account.cloud.asked("user/user_register")[0]["user_password"] == "FAKEPASS"


async def test_a_password_lost_in_a_restart_stops_the_command(account: Account) -> None:
    kept = journalled(account.order("add_user", USER))
    again = account.restarted()
    with pytest.raises(Refused, match="new id"):
        await again.run("add_user", kept)
    assert again.cloud.requests == []
    assert journalled(again.order("add_user", kept)) == kept


def test_a_dry_run_shows_the_request_without_secrets(account: Account) -> None:
    preview = account.adapter.preview(account.order("add_user", USER))
    assert (preview.method, preview.url) == ("POST", "https://cloud.example.invalid/user/user_register")
    assert preview.body == {**USER, "user_password": "***", "user_type": "1"}
    assert preview.headers["token"] == "***"
    assert account.cloud.requests == []


def test_a_dry_run_of_a_reading_shows_its_address(account: Account) -> None:
    preview = account.adapter.preview(account.order("refresh_inventory"))
    assert preview.url == "https://cloud.example.invalid/plant/list?page=1&perpage=100&locale=en-US"
    assert preview.body is None
