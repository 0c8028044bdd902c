"""The HTTP side as a vendor's platform, a monitoring system and a person see it (CONTRACT section 9)."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.architecture.test_metrics import documented
from tests.system.fixtures import DEVICES, MakeBroker, MakeGateway
from tests.system.polling import until
from tests.system.stage import HOST, PUSH_SECRET, Broker, Cloud, Gateway, Listener, free_port

SHOP = "meterbridge/shop"
D1 = DEVICES[0]
SUCCESS = b'{"code":0,"msg":"success"}'


@pytest.fixture
def web(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.web, timeout=15, trust_env=False) as client:
        yield client


def path(secret: str = PUSH_SECRET, account: str = "shop") -> str:
    return f"/push/{account}/{secret}"


def report(energy: str = "12.34", device: str = D1, **info: Any) -> dict[str, Any]:
    told = {"total_electricity": energy, "switch_state": "1", **info}
    return {"device_sn": device, "cmd": "power_report", "cmd_type": "power_report", "info": told}


def dead_letters(web: httpx.Client) -> float:
    return samples(web)["meterbridge_dead_letters", ()]


def samples(web: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = web.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_push_is_answered_with_exactly_the_success_of_the_contract(
    web: httpx.Client, listener: Listener
) -> None:
    answer = web.post(path(), json=report("71.25"))
    assert answer.status_code == 200
    assert answer.json() == {"code": 0, "msg": "success"}
    assert answer.content == SUCCESS
    assert answer.headers["content-type"].startswith("application/json")
    record = listener.wait(f"{SHOP}/{D1}/telemetry", lambda one: one.json["source"] == "push").json
    assert record["metrics"] == {"import_energy": 71.25, "switch_state": "on"}


@pytest.mark.parametrize(
    "wrong",
    [
        "/push/shop/FAKE-push-secret-0001",
        "/push/shop/x",
        "/push/nobody/" + PUSH_SECRET,
        "/push/bridge/" + PUSH_SECRET,
        "/push/shop/" + PUSH_SECRET + "/api/Data/MeterData/Add",
        "/push/shop/%00%ff%e4",
    ],
)
def test_wrong_secret_or_account_gets_an_empty_404(
    wrong: str, web: httpx.Client, gateway: Gateway, listener: Listener
) -> None:
    answer = web.post(wrong, json=report("66.66"))
    assert (answer.status_code, answer.content) == (404, b"")
    web.post(path(), json=report("1"))
    listener.wait(f"{SHOP}/{D1}/telemetry", lambda one: one.json["source"] == "push")
    assert b"66.66" not in b"".join(one.payload for one in listener.all())


def test_wrong_secrets_are_logged_once_a_minute_without_the_secret(
    web: httpx.Client, gateway: Gateway
) -> None:
    for number in range(20):
        web.post(path(f"FAKE-guess-{number:04d}"), json=report())
    denied = gateway.events("push.denied")
    assert len(denied) == 1
    assert denied[0]["account"] == "shop"
    assert "FAKE-guess" not in gateway.output.read_text()


def test_address_that_is_not_allowed_gets_403_and_one_behind_a_trusted_proxy_is_told_by_it(
    make_gateway: MakeGateway, listener: Listener
) -> None:
    gateway = make_gateway(
        account={"push": {"secret": PUSH_SECRET, "allow_from": ["203.0.113.0/24"]}},
        http={"listen": f"{HOST}:{free_port()}", "trusted_proxies": ["127.0.0.1"]},
    )
    with httpx.Client(base_url=gateway.web, trust_env=False) as web:
        refused = web.post(path(), json=report("5"))
        assert (refused.status_code, refused.content) == (403, b"")
        forged = {"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}
        assert web.post(path(), json=report("6"), headers=forged).status_code == 403
        honest = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9"}
        assert web.post(path(), json=report("7"), headers=honest).status_code == 200
        assert web.post(path("FAKE-wrong-00"), json=report("8")).status_code == 404
    listener.wait(f"{SHOP}/{D1}/telemetry", lambda one: one.json["metrics"].get("import_energy") == 7)
    pushed = [one.json for one in listener.all(f"{SHOP}/{D1}/telemetry") if one.json["source"] == "push"]
    assert [record["metrics"]["import_energy"] for record in pushed] == [7]


def test_body_above_the_limit_gets_413_announced_or_not(make_gateway: MakeGateway, cloud: Cloud) -> None:
    gateway = make_gateway(http={"listen": f"{HOST}:{free_port()}", "max_body": "10KiB"})
    with httpx.Client(base_url=gateway.web, trust_env=False) as web:
        fits = json.dumps(report(note="x" * 9000)).encode()
        assert web.post(path(), content=fits).status_code == 200
        for size in (10 * 1024 + 1, 3_000_000):
            announced = web.post(path(), content=b"x" * size)
            assert announced.status_code == 413
            assert announced.json()["code"] == 1

        def pieces() -> Iterator[bytes]:
            for _ in range(40):
                yield b"y" * 1000

        assert web.post(path(), content=pieces()).status_code == 413
        assert web.post(path(), json=report("8")).status_code == 200


@pytest.mark.parametrize("body", [b"", b"no json", b'{"device_sn": "W71', b"\xff\xfe\x00"])
def test_body_that_is_no_json_gets_400_with_a_reason(body: bytes, web: httpx.Client) -> None:
    answer = web.post(path(), content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    told = answer.json()
    assert told["code"] == 1
    assert told["msg"]
    assert list(told) == ["code", "msg"]


@pytest.mark.parametrize(
    "unusable",
    [
        report(device="W71999999"),
        {"cmd": "power_report", "info": {}},
        {"device_sn": D1, "cmd": "notify", "info": {"notify_type": "on-off"}},
        [1, 2],
        17,
    ],
)
def test_push_that_cannot_be_used_is_put_aside_and_answered_with_success(
    unusable: Any, web: httpx.Client, listener: Listener
) -> None:
    answer = web.post(path(), json=unusable)
    assert (answer.status_code, answer.content) == (200, SUCCESS)
    told = listener.wait("meterbridge/bridge/event", lambda one: one.json["code"] == "push_dead_letter").json
    assert told["account"] == "shop"
    assert dead_letters(web) == 1
    web.post(path(), json=unusable)
    assert dead_letters(web) == 1, "the same again is counted, not kept twice"


def test_form_encoded_callback_is_read(web: httpx.Client, listener: Listener) -> None:
    form = {"device_sn": D1, "cmd": "power_report", "info": json.dumps({"total_electricity": "3.14"})}
    answer = web.post(
        path(),
        content=urlencode(form).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert (answer.status_code, answer.content) == (200, SUCCESS)
    listener.wait(f"{SHOP}/{D1}/telemetry", lambda one: one.json["metrics"].get("import_energy") == 3.14)


def test_identical_callback_within_three_seconds_is_published_once(
    web: httpx.Client, listener: Listener
) -> None:
    for _ in range(3):
        assert web.post(path(), json=report("44.5")).content == SUCCESS
    web.post(path(), json=report("45.5"))
    topic = f"{SHOP}/{D1}/telemetry"
    listener.wait(topic, lambda one: one.json["metrics"].get("import_energy") == 45.5)
    came = [one for one in listener.all(topic) if one.json["metrics"].get("import_energy") == 44.5]
    assert len(came) == 1


def test_other_methods_and_paths_are_refused(web: httpx.Client) -> None:
    assert web.get(path()).status_code == 405
    assert web.get(path("FAKE-wrong-00")).status_code == 405
    assert web.post("/push/shop").status_code == 404
    assert web.get("/nothing").status_code == 404
    assert web.post("/metrics").status_code == 405


def test_push_is_finished_although_its_sender_hangs_up(gateway: Gateway, listener: Listener) -> None:
    body = json.dumps(report("90.5")).encode()
    address = ("127.0.0.1", int(gateway.web.rpartition(":")[2]))
    with socket.create_connection(address) as raw:
        head = f"POST {path()} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        raw.sendall(head.encode() + body)
    listener.wait(f"{SHOP}/{D1}/telemetry", lambda one: one.json["metrics"].get("import_energy") == 90.5)


def test_health_and_metrics_tell_of_a_broker_that_went_away(
    make_broker: MakeBroker, make_gateway: MakeGateway
) -> None:
    broker = make_broker()
    gateway = make_gateway(at=broker)
    with httpx.Client(base_url=gateway.web, trust_env=False) as web:
        assert web.get("/healthz").json() == {"status": "ok"}
        ready = web.get("/readyz")
        assert (ready.status_code, ready.json()["broker"]) == (200, "connected")
        assert samples(web)["meterbridge_mqtt_connected", ()] == 1
        broker.stop()
        gateway.wait_log("mqtt.lost")
        web.post(path(), json=report("1.5"))
        assert web.get("/healthz").status_code == 200
        ready = web.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["status"] == "ready"
        assert ready.json()["broker"].removeprefix("not connected: ") not in ("", "connected")
        numbers = samples(web)
        assert numbers["meterbridge_mqtt_connected", ()] == 0
        assert numbers["meterbridge_mqtt_reconnects_total", ()] == 1
        assert numbers["meterbridge_outbox_messages", (("class", "telemetry"),)] >= 1
        assert web.get("/page/overview").json()["gateway"]["broker"]["connected"] is False


def test_gateway_is_not_ready_when_the_spool_is_nearly_full(
    make_broker: MakeBroker, make_gateway: MakeGateway, tmp_path: Any
) -> None:
    absent = make_broker(start=False)
    state = {"url": f"sqlite://{tmp_path}/small.db", "spool_max": "64KiB"}
    gateway = make_gateway(at=absent, start=False, state=state)
    gateway.spawn()
    gateway.wait_log("http.listening")
    with httpx.Client(base_url=gateway.web, trust_env=False) as web:
        for number in range(400):
            assert web.post(path(), json=report(str(number))).content == SUCCESS
        until(lambda: dropped(web) > 0, 5, "the oldest telemetry is dropped", gateway.tail)
        statuses = set()
        for number in range(400, 500):
            web.post(path(), json=report(str(number)))
            statuses.add(web.get("/readyz").status_code)
        assert 503 in statuses
        assert web.get("/healthz").status_code == 200
    absent.start()
    gateway.wait_ready(40)


def dropped(web: httpx.Client) -> float:
    return sum(value for (name, _), value in samples(web).items() if name == "meterbridge_dropped_total")


def test_push_that_the_disk_does_not_take_gets_503_and_nothing_of_it_is_published(
    web: httpx.Client, gateway: Gateway, listener: Listener
) -> None:
    listener.wait(f"{SHOP}/{D1}/telemetry")
    file = gateway.configuration["state"]["url"].removeprefix("sqlite://")
    other = sqlite3.connect(file, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")  # nobody else can write now
        answer = web.post(path(), json=report("13.13"))
        assert answer.status_code == 503
        assert answer.json()["code"] == 1
        assert web.get("/healthz").status_code == 503
    finally:
        other.close()
    until(lambda: web.post(path(), json=report("14.14")).status_code == 200, 10, "it takes pushes again")
    listener.wait(f"{SHOP}/{D1}/telemetry", lambda one: one.json["metrics"].get("import_energy") == 14.14)
    assert b"13.13" not in b"".join(one.payload for one in listener.all(f"{SHOP}/{D1}/telemetry"))
    until(lambda: web.get("/healthz").status_code == 200, 5, "it is healthy again")


def test_metrics_count_pushes_commands_and_calls(
    web: httpx.Client, listener: Listener, gateway: Gateway
) -> None:
    web.post(path(), json=report())
    web.post(path(), content=b"no json")
    listener.send(f"{SHOP}/{D1}/cmd/breaker", {"state": "on", "id": "m1"})
    listener.final(f"{SHOP}/{D1}/ack", "m1")
    listener.send(f"{SHOP}/{D1}/cmd/breaker", "sideways")
    listener.wait(f"{SHOP}/{D1}/ack", lambda one: one.json["status"] == "rejected")
    numbers = samples(web)
    shop = ("account", "shop")
    assert numbers["meterbridge_pushes_total", (shop, ("outcome", "taken"))] == 1
    assert numbers["meterbridge_pushes_total", (shop, ("outcome", "malformed"))] == 1
    assert numbers["meterbridge_commands_total", (shop, ("command", "breaker"), ("status", "succeeded"))] == 1
    assert numbers["meterbridge_commands_rejected_total", (("code", "invalid_params"),)] == 1
    assert numbers["meterbridge_account_online", (shop, ("vendor", "wmj"))] == 1
    assert any(name == "meterbridge_vendor_requests_total" for name, _ in numbers)
    assert any(name == "meterbridge_budget_used_ratio" for name, _ in numbers)
    assert numbers["meterbridge_slot_wait_seconds_count", (shop, ("lane", "command"))] >= 1
    until(
        lambda: samples(web)["meterbridge_event_loop_lag_seconds_count", ()] >= 1, 10, "the lag is looked at"
    )
    assert numbers["meterbridge_account_state", (shop, ("state", "online"))] == 1
    assert numbers["meterbridge_devices", (shop,)] == 2
    dropped_so_far = {
        labels: value for (name, labels), value in numbers.items() if name == "meterbridge_dropped_total"
    }
    assert dropped_so_far == {(("class", "telemetry"),): 0, (("class", "history"),): 0}


def test_every_metric_is_documented_with_its_type_and_labels(web: httpx.Client, gateway: Gateway) -> None:
    known = documented()
    families = [
        f
        for f in text_string_to_metric_families(web.get("/metrics").text)
        if not f.name.startswith("process_")
    ]
    assert len(families) > 25
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        kind, labels = known[name]
        assert kind == family.type
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                assert set(sample.labels) - {"le"} == set(labels), sample.name


def test_http_can_be_off(make_gateway: MakeGateway, listener: Listener, cloud: Cloud, broker: Broker) -> None:
    gateway = make_gateway(http={"listen": "off"})
    listener.send(f"{SHOP}/{D1}/cmd/online", {"id": "quiet"})
    assert listener.final(f"{SHOP}/{D1}/ack", "quiet")["status"] == "succeeded"
    assert gateway.events("http.listening") == []
    time.sleep(0.1)
    assert gateway.terminate()[0] == 0
