"""No secret leaves the gateway except to whom it belongs: not in logs, messages, pages, or the state file."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from urllib.parse import quote

import httpx

from tests.system.fixtures import DEVICES, MakeBroker, MakeGateway, MakeListener
from tests.system.polling import until
from tests.system.stage import APP_ID, APP_SECRET, PUSH_SECRET, Cloud

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
        forms = {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")}
        found += [name for form in forms if form in text]
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
