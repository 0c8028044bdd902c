"""No secret leaves the gateway except to whom it belongs: not in logs, messages, pages, or the state file."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import yaml

from tests.system.demo_clouds import DemoClouds
from tests.system.fixtures import DEVICES, MakeBroker, MakeGateway, MakeListener
from tests.system.polling import until
from tests.system.stage import APP_ID, APP_SECRET, HOST, PUSH_SECRET, ROOT, Cloud, Gateway, free_port

SHOP = "meterbridge/shop"
D1 = DEVICES[0]
PAGES = (
    "/page/overview",
    "/page/devices",
    f"/page/device?account=shop&device={D1}",
    "/page/commands",
    "/page/alarms",
    "/page/gaps",
)
ACK = f"{SHOP}/{D1}/ack"
MQTT_PASSWORD = "FAKE/mqtt+pass word-0000"
SECRETS = {"app_secret": APP_SECRET, "push secret": PUSH_SECRET, "mqtt password": MQTT_PASSWORD}


def found_in(text: str) -> list[str]:
    """The secrets in a text, also percent- or base64-encoded."""
    found = []
    for name, secret in SECRETS.items():
        found += [name for form in forms(secret) if form in text]
    return found


def test_secrets_are_nowhere_to_be_seen(
    make_broker: MakeBroker,
    make_gateway: MakeGateway,
    make_listener: MakeListener,
    cloud: Cloud,
    tmp_path: Path,
) -> None:
    words = tmp_path / "words"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(words), "bridge-user", MQTT_PASSWORD],
        check=True,
        capture_output=True,
    )
    broker = make_broker(lines=[f"password_file {words}", "allow_anonymous false"])
    login = {"username": "bridge-user", "password": MQTT_PASSWORD}
    listener = make_listener(broker, **login)
    gateway = make_gateway(at=broker, mqtt=login, level="debug")
    listener.tails.append(gateway.tail)
    assert set(found_in(gateway.file.read_text())) == set(SECRETS), "the configuration holds them all"
    pages = []
    with httpx.Client(base_url=gateway.web, timeout=15, trust_env=False) as web:
        good = f"/push/shop/{PUSH_SECRET}"
        web.post(good, json={"device_sn": D1, "cmd": "power_report", "info": {"voltage": "230"}})
        web.post(good, content=b"no json")
        web.post(good, json={"device_sn": "W71OTHER", "cmd": "power_report", "info": {}})
        web.post(good + "/below", json={})
        web.post(good + "x", json={})
        web.get(good)
        for kind in ("http_500", "garbage", "truncated_json", "lose_reply"):
            cloud.do("fault", kind=kind, endpoint="send/turnon", device=D1)
            listener.send(f"{SHOP}/{D1}/cmd/breaker", {"state": "on", "id": kind})
            listener.final(ACK, kind)
        listener.send(f"{SHOP}/{D1}/cmd/breaker", {"state": "off", "id": "dry", "dry_run": True})
        dry = listener.final(ACK, "dry")
        assert dry["result"]["request"]["body"]["app_id"] == APP_ID
        assert dry["result"]["request"]["body"]["app_secret"] == "***"
        cloud.do("fault", kind="native_code", code=1006, endpoint="send/*", device=D1)
        listener.send(f"{SHOP}/{D1}/cmd/read", {"id": "denied"})
        assert listener.final(ACK, "denied")["code"] == "auth_failed"
        listener.wait("meterbridge/bridge/event", lambda one: one.json["code"] == "auth_failed")
        gateway.file.write_text(gateway.file.read_text() + "\nunknown: 1\n")
        gateway.reload()
        listener.wait("meterbridge/bridge/event", lambda one: one.json["code"] == "reload_refused")
        listener.send("meterbridge/bridge/cmd/diagnostics", {"id": "diag"})
        diagnostics = listener.final("meterbridge/bridge/ack", "diag")
        assert diagnostics["result"]["accounts"]["shop"]["state"] == "auth_failed"
        for page in ("/metrics", "/", "/readyz", "/healthz", *PAGES, good):
            answer = web.get(page)
            pages.append(answer.text + str(answer.headers))
    gateway.terminate()
    state = b"".join(file.read_bytes() for file in tmp_path.glob("meterbridge.db*"))
    assert len(gateway.events()) > 10
    assert found_in(gateway.output.read_text()) == []
    messages = [f"{one.topic} {one.payload!r} {one.properties}" for one in listener.all()]
    assert len(messages) > 20
    assert found_in("\n".join(messages)) == []
    assert found_in("\n".join(pages)) == []
    assert found_in(state.decode("latin-1")) == []


def test_wrong_broker_password_and_unreachable_vendor_tell_no_secret(
    make_broker: MakeBroker, make_gateway: MakeGateway, tmp_path: Path
) -> None:
    words = tmp_path / "words"
    words.write_text("")
    broker = make_broker(lines=[f"password_file {words}", "allow_anonymous false"])
    login = {"username": "bridge-user", "password": MQTT_PASSWORD}
    account = {"base_url": "http://127.0.0.1:9/deviceApi"}
    gateway = make_gateway(at=broker, mqtt=login, account=account, level="debug", start=False)
    gateway.spawn()
    gateway.wait_log("mqtt.connect_failed")
    until(lambda: gateway.events("account.status"), 10, "the vendor is unreachable", gateway.tail)
    pages = [
        httpx.get(gateway.web + page, trust_env=False).text
        for page in ("/", "/metrics", "/readyz", "/healthz")
    ]
    gateway.terminate()
    assert found_in(gateway.output.read_text() + "".join(pages)) == []


CUSTOMERS = ("Customer 0", "user0000", "Demo Owner", "@example.com", "EXAMPLE_WIFI", "U-0001")
"""What the simulated clouds tell of customers: names and codes (jrhsz, saj, iotmeter), a Wi-Fi (wmj)."""

ORDERS = (
    ("flats/000000000101/cmd/breaker", {"state": "off"}),
    ("shop/W71E0000001/cmd/read", {}),
    (
        "shop/W71E0000001/cmd/wifi_config",
        {"dry_run": True, "ssid": "FAKE-ssid", "password": "FAKE-wifi-word-0000"},
    ),
    ("gas/00000000000001/cmd/valve", {"state": "close"}),
    ("home/cmd/refresh_inventory", {}),
    ("roof/cmd/refresh_inventory", {}),
    ("bridge/cmd/diagnostics", {}),
)


def written_secrets(entries: str) -> dict[str, str]:
    """The secrets that stand in the accounts of a configuration, by where they stand."""
    found: dict[str, str] = {}

    def walk(part: Any, path: str) -> None:
        if isinstance(part, dict):
            for key, value in part.items():
                walk(value, f"{path}.{key}")
        elif path.rsplit(".")[-1] in ("password", "token", "app_key", "app_secret", "secret", "api_key"):
            found[path] = str(part)

    for account in yaml.safe_load(entries):
        walk(account, account["id"])
    return found


def test_no_vendors_secret_and_no_customer_is_seen_anywhere(
    make_broker: MakeBroker, make_listener: MakeListener, tmp_path: Path
) -> None:
    broker = make_broker()
    listener = make_listener(broker)
    port = free_port()
    with DemoClouds(f"http://{HOST}:{port}") as demo:
        secrets = written_secrets("\n".join(demo.entries))
        assert {where.partition(".")[0] for where in secrets} == {"flats", "gas", "home", "roof", "shop"}
        configuration = {
            "mqtt": {"url": broker.url},
            "http": {"listen": f"{HOST}:{port}", "page": "control", "page_password": "FAKE-page-word-0000"},
            "state": {"url": f"sqlite://{tmp_path}/all.db"},
            "accounts": yaml.safe_load("\n".join(demo.entries)),
        }
        secrets |= {"page": "FAKE-page-word-0000", "wifi": "FAKE-wifi-word-0000"}
        gateway = Gateway(tmp_path, configuration)
        gateway.level = "debug"
        listener.tails.append(gateway.tail)
        try:
            gateway.start(60)
            for account in ("flats", "gas", "home", "roof", "shop"):
                listener.wait(f"meterbridge/{account}/status", lambda one: one.json["state"] == "online", 60)
            for device in ("flats/000000000101", "shop/W71E0000001", "gas/00000000000001"):
                listener.wait(f"meterbridge/{device}/info", timeout_s=60)
            bodies = []
            for number, (topic, payload) in enumerate(ORDERS):
                listener.send(f"meterbridge/{topic}", {**payload, "id": f"seed-{number}"})
                ack = f"meterbridge/{topic.partition('/cmd/')[0]}/ack"
                listener.wait(ack, lambda one, n=number: one.json["id"] == f"seed-{n}", 40)
            listener.final("meterbridge/bridge/ack", "seed-6", 40)
            with httpx.Client(base_url=gateway.web, timeout=15, trust_env=False) as web:
                web.post("/page/login", json={"password": "FAKE-page-word-0000"})
                devices = web.get("/page/devices?limit=100").json()["devices"]
                pages = [f"/page/device?account={one['account']}&device={one['device']}" for one in devices]
                commands = [
                    f"/page/command?account={topic.partition('/')[0]}&id=seed-{n}"
                    for n, (topic, _) in enumerate(ORDERS)
                ]
                for page in ("/", "/metrics", "/readyz", "/healthz", *PAGES, *pages, *commands):
                    answer = web.get(page)
                    bodies.append(
                        answer.text + str({k: v for k, v in answer.headers.items() if k != "set-cookie"})
                    )
            assert len(devices) > 10
            verbs = (("diagnostics",), ("journal", "list", "--json"), ("deadletter", "list", "--json"))
            bodies += [told_by(gateway, *verb) for verb in verbs]
        finally:
            gateway.terminate(20)
            gateway.end()
    texts = {
        "log": gateway.output.read_text(),
        "messages": "\n".join(
            f"{one.topic} {one.payload.decode(errors='replace')}"
            for one in listener.all()
            if "/cmd/" not in one.topic
        ),
        "pages and bundles": "\n".join(bodies),
    }
    assert len(listener.all()) > 50
    for place, text in texts.items():
        assert [
            where for where, secret in secrets.items() if any(form in text for form in forms(secret))
        ] == [], place
        assert [word for word in CUSTOMERS if word in text] == [], place
    bundle = json.loads(bodies[-3])
    assert not [
        one["device"] for one in devices if len(one["device"]) > 3 and one["device"] in json.dumps(bundle)
    ]
    assert len(bundle["state"]["devices"]) == len(devices)


def forms(secret: str) -> set[str]:
    """A secret as it may be written."""
    return {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")}


def told_by(gateway: Gateway, *verb: str) -> str:
    command = [sys.executable, "-m", "bridge", *verb, "-c", str(gateway.file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=dict(os.environ))
    return done.stdout
