"""The status page over HTTP: documents, stream, login, commands. What it looks like: tests/browser."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from typing import Any

import httpx
import pytest

from tests.system.fixtures import DEVICES, MakeBroker, MakeGateway
from tests.system.polling import until
from tests.system.stage import HOST, Gateway, Listener, free_port

SHOP = "meterbridge/shop"
D1, D2 = DEVICES[:2]
PASSWORD = "FAKE-page-password-0000"
NASTY = "<script>alert('name')</script>"


def client(gateway: Gateway, **options: Any) -> httpx.Client:
    return httpx.Client(base_url=gateway.web, timeout=15, trust_env=False, **options)


def with_page(**keys: Any) -> dict[str, Any]:
    return {"listen": f"{HOST}:{free_port()}", **keys}


@pytest.fixture
def control(make_gateway: MakeGateway, listener: Listener) -> Gateway:
    made = make_gateway(http=with_page(page="control", page_password=PASSWORD))
    listener.tails.append(made.tail)
    return made


def log_in(web: httpx.Client) -> dict[str, str]:
    """Logs in; the headers that go with a change."""
    assert web.post("/page/login", json={"password": PASSWORD}).status_code == 200
    return {"X-Meterbridge-Token": web.get("/page/session").json()["token"]}


def order(device: str | None = D1, **fields: Any) -> dict[str, Any]:
    return {"account": "shop", "device": device, "command": "breaker", "payload": {"state": "on"}, **fields}


def test_page_is_static_without_inline_script_and_its_policy_forbids_what_it_does_not_need(
    gateway: Gateway,
) -> None:
    with client(gateway) as web:
        page = web.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "style=" not in page.text
        for name in ("page.css", "page.js", "dom.js", "api.js", "icon.svg"):
            file = web.get(f"/page/{name}")
            assert file.status_code == 200
            assert "https://" not in file.text.replace("https://www.w3.org", "")
        assert web.get("/page/__init__.py").status_code == 404


def test_documents_show_devices_accounts_and_commands(make_gateway: MakeGateway, listener: Listener) -> None:
    gateway = make_gateway(account={"devices": {"include": [D1, D2], "names": {D1: NASTY, D2: "Cold store"}}})
    listener.wait(f"{SHOP}/{D1}/state")
    listener.send(f"{SHOP}/{D1}/cmd/breaker", {"state": "on", "id": "p1"})
    listener.final(f"{SHOP}/{D1}/ack", "p1")
    with client(gateway) as web:
        overview = web.get("/page/overview").json()
        assert overview["gateway"]["broker"]["connected"] is True
        (shop,) = overview["accounts"]
        assert (shop["id"], shop["state"], shop["devices"], shop["alarms"]) == ("shop", "online", 2, 0)
        assert shop["budgets"]
        devices = web.get("/page/devices").json()
        assert (devices["total"], devices["fitting"]) == (2, 2)
        assert {row["name"] for row in devices["devices"]} == {NASTY, "Cold store"}
        assert any(one["name"] == "switch_state" for one in devices["devices"][0]["values"])
        found = web.get("/page/devices", params={"q": "COLD " + D2.lower(), "kind": "breaker"}).json()
        assert [row["device"] for row in found["devices"]] == [D2]
        assert web.get("/page/devices", params={"account": "other"}).json()["fitting"] == 0
        second = web.get("/page/devices", params={"offset": "1", "limit": "1"}).json()
        assert len(second["devices"]) == 1
        device = web.get("/page/device", params={"account": "shop", "device": D1}).json()
        assert device["info"]["device"] == D1
        assert "breaker" in device["commands"]
        assert any(one["name"] == "voltage" and one["unit"] == "V" for one in device["metrics"])
        (command,) = web.get("/page/commands").json()["commands"]
        assert (command["id"], command["status"], command["params"]) == ("p1", "succeeded", {"state": "on"})
        told = web.get("/page/command", params={"account": "shop", "id": "p1"}).json()
        assert [step["state"] for step in told["steps"]] == ["accepted", "dispatched", "final"]
        assert web.get("/page/device", params={"account": "shop", "device": "none"}).status_code == 404
        assert web.get("/page/command", params={"account": "shop", "id": "none"}).status_code == 404
        for odd in ("-1", "x", "9" * 30):
            assert web.get("/page/devices", params={"offset": odd, "limit": odd}).status_code == 200


def test_alarm_is_shown_while_it_is_active(gateway: Gateway, listener: Listener) -> None:
    push = {"device_sn": D1, "cmd": "notify", "info": {"notify_type": "alarm", "alarm_detail": "overcurrent"}}
    with client(gateway) as web:
        assert web.get("/page/alarms").json() == {"devices": 0, "alarms": []}
        web.post("/push/shop/FAKE-push-secret-0000", json=push)
        (alarm,) = until(
            lambda: web.get("/page/alarms").json()["alarms"], 10, "the alarm is shown", gateway.tail
        )
        assert (alarm["device"], alarm["code"], alarm["severity"]) == (D1, "overcurrent", "critical")
        only = web.get("/page/devices", params={"only": "alarms"}).json()
        assert [row["device"] for row in only["devices"]] == [D1]


def test_stream_tells_of_changes_and_ends_when_the_gateway_stops(gateway: Gateway) -> None:
    push = {"device_sn": D1, "cmd": "power_report", "info": {"total_electricity": "55.5"}}
    with client(gateway) as web, web.stream("GET", "/page/stream") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        first = next(json.loads(line[6:]) for line in lines if line.startswith("data: "))
        httpx.post(f"{gateway.web}/push/shop/FAKE-push-secret-0000", json=push, trust_env=False)
        later = next(
            told for line in lines if line.startswith("data: ") and (told := json.loads(line[6:])) != first
        )
        assert later["devices"] > first["devices"]
        status, took_s = gateway.terminate()
        assert status == 0
        assert took_s < 8
        assert all(line.startswith("data: ") for line in lines if line)


def test_values_are_there_again_after_a_restart(gateway: Gateway, listener: Listener) -> None:
    listener.wait(f"{SHOP}/{D1}/state")
    gateway.restart()
    with client(gateway) as web:
        row = next(r for r in web.get("/page/devices").json()["devices"] if r["device"] == D1)
        assert row["values"]


def test_page_can_be_off_while_health_stays(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(http=with_page(page="off"))
    with client(gateway) as web:
        assert [web.get(path).status_code for path in ("/", "/page/overview", "/page/page.js")] == [404] * 3
        assert web.get("/healthz").status_code == 200


def test_page_is_read_only_by_default(gateway: Gateway, cloud: Any) -> None:
    with client(gateway) as web:
        assert web.get("/page/session").json() == {
            "needs_password": False,
            "may_read": True,
            "may_command": False,
            "token": None,
        }
        refused = web.post("/page/send", json=order())
        assert refused.status_code == 403
        assert "read-only" in refused.json()["error"]
        assert web.post("/page/login", json={"password": ""}).status_code == 401
        assert web.get("/page/overview", headers={"Host": "evil.example"}).status_code == 421
    assert cloud.effects(D1) == []


def test_with_a_password_nothing_is_told_before_the_login(control: Gateway) -> None:
    with client(control) as web:
        for path in (
            "overview",
            "devices",
            "device",
            "alarms",
            "commands",
            "command",
            "offers",
            "gaps",
            "stream",
        ):
            answer = web.get(f"/page/{path}")
            assert answer.status_code == 401
            assert answer.json() == {"error": "log in first"}
        assert web.post("/page/login", json={"password": "wrong-password"}).status_code == 401
        assert web.post("/page/login", content=b"no json").status_code == 415
        assert (
            web.post("/page/login", content=b"[", headers={"Content-Type": "application/json"}).status_code
            == 400
        )
        log_in(web)
        assert web.get("/page/overview").status_code == 200
        cookie = next(one for one in web.cookies.jar if one.name == "meterbridge_session")
        assert cookie.has_nonstandard_attr("HttpOnly")
        assert cookie.get_nonstandard_attr("SameSite") == "strict"
        web.post("/page/logout", json={})
        assert web.get("/page/overview").status_code == 401
        assert web.get("/metrics").status_code == 200


def test_command_from_the_page_passes_the_door_of_mqtt(
    control: Gateway, listener: Listener, cloud: Any
) -> None:
    with client(control) as web:
        token = log_in(web)
        sent = web.post("/page/send", json=order(payload={"state": "off", "id": "page-1"}), headers=token)
        assert sent.status_code == 200
        assert (sent.json()["ack"]["id"], sent.json()["ack"]["status"]) == ("page-1", "accepted")
        assert listener.final(f"{SHOP}/{D1}/ack", "page-1")["status"] == "succeeded"
        again = web.post("/page/send", json=order(payload={"state": "off", "id": "page-1"}), headers=token)
        assert again.json()["ack"]["duplicate"] is True
        assert cloud.effects(D1) == ["switched_off"]
        told = web.get("/page/command", params={"account": "shop", "id": "page-1"}).json()
        assert told["requester"] == "status page from 127.0.0.1"
        dry = web.post(
            "/page/send", json=order(payload={"state": "on", "dry_run": True}), headers=token
        ).json()
        assert dry["ack"]["dry_run"] is True
        assert dry["ack"]["result"]["request"]["body"]["app_secret"] == "***"
        refused = web.post("/page/send", json=order(payload={"state": "sideways"}), headers=token).json()
        assert (refused["ack"]["status"], refused["ack"]["code"]) == ("rejected", "invalid_params")
        locked = web.post(
            "/page/send",
            json={"account": "bridge", "command": "lock", "payload": {"reason": "repair"}},
            headers=token,
        )
        listener.final("meterbridge/bridge/ack", locked.json()["ack"]["id"])
        stopped = web.post("/page/send", json=order(), headers=token).json()["ack"]
        assert (stopped["status"], stopped["code"]) == ("rejected", "interlock")
        assert cloud.effects(D1) == ["switched_off"]


def test_command_is_refused_without_the_pages_token_or_from_another_site(
    control: Gateway, cloud: Any
) -> None:
    with client(control) as web:
        token = log_in(web)
        good = json.dumps(order()).encode()
        plain = {**token, "Content-Type": "application/json"}
        for headers in (
            {"Content-Type": "application/json"},
            {**plain, "X-Meterbridge-Token": "guess"},
            {**plain, "Origin": "http://evil.example"},
            {**plain, "Sec-Fetch-Site": "cross-site"},
            {**token, "Content-Type": "text/plain"},
            {**token, "Content-Type": "application/x-www-form-urlencoded"},
        ):
            assert web.post("/page/send", content=good, headers=headers).status_code in (403, 415)
        assert web.get("/page/send").status_code == 405
    assert cloud.effects(D1) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"account": "shop"}, 400),
        ({"account": "shop", "command": "breaker", "payload": "on"}, 400),
        ({"account": "shop", "command": "bre/aker"}, 400),
        ({"account": "shop", "command": "x", "device": 5}, 400),
        ({"account": "a/b", "command": "x"}, 400),
        ({"account": "nobody", "command": "breaker"}, 404),
        ({"account": "shop", "command": "register", "payload": {"id": 5}}, 400),
        ({"account": "shop", "command": "register", "payload": {"id": "x" * 51}}, 400),
        ([], 400),
    ],
)
def test_unusable_order_is_refused_with_a_reason(body: Any, status: int, control: Gateway) -> None:
    with client(control) as web:
        answer = web.post("/page/send", json=body, headers=log_in(web))
        assert (answer.status_code, bool(answer.json()["error"])) == (status, True)


def test_too_large_an_order_is_refused(control: Gateway) -> None:
    with client(control) as web:
        assert web.post("/page/send", json=order(note="x" * 70_000), headers=log_in(web)).status_code == 413


def test_broker_that_is_away_is_told(make_broker: MakeBroker, make_gateway: MakeGateway) -> None:
    broker = make_broker()
    gateway = make_gateway(at=broker)
    broker.stop()
    gateway.wait_log("mqtt.lost")
    with client(gateway) as web:
        told = until(
            lambda: (told := web.get("/page/overview").json()["gateway"]["broker"])["trouble"] and told,
            10,
            "the cause",
        )
        assert told["connected"] is False


def test_charts_go_on_after_a_restart(gateway: Gateway, listener: Listener) -> None:
    listener.wait(f"{SHOP}/{D1}/state")
    assert gateway.terminate()[0] == 0
    file = gateway.configuration["state"]["url"].removeprefix("sqlite://")
    with contextlib.closing(sqlite3.connect(file)) as db:
        ((body,),) = db.execute("SELECT body FROM chart WHERE account = 'shop'").fetchall()
        kept = json.loads(zlib.decompress(body))
        at_s, numbers = kept[D1]
        for hours in (3, 2, 1):  # as it would have been written in the hours before
            earlier = {D1: [at_s - hours * 3600, dict.fromkeys(numbers, hours)]}
            row = ("shop", (at_s - hours * 3600) * 1000, zlib.compress(json.dumps(earlier).encode()))
            db.execute("INSERT INTO chart VALUES (?, ?, ?)", row)
        db.commit()
    gateway.start()
    with client(gateway) as web:
        charts = web.get("/page/device", params={"account": "shop", "device": D1}).json()["charts"]
    assert [value for _, value in charts["import_energy"]][:3] == [3, 2, 1]
    assert charts["import_energy"][3][0] >= at_s
