"""Nothing is there when the gateway starts: it starts all the same, says so, and recovers without a restart."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.fixtures import MakeBroker, MakeListener
from tests.system.polling import until
from tests.system.stage import HOST, Broker, Gateway, Listener, Process, free_port

SECRET = "FAKESECRET0000000000000000000000"
LOGIN = {"username": "demo_user", "password": SECRET}

CLOUDS: dict[str, tuple[list[str], str, dict[str, Any]]] = {
    "wmj": (
        ["--devices", "W7100000001", "--app-id", "FAKEAPP", "--app-secret", SECRET],
        "/deviceApi",
        {"app_id": "FAKEAPP", "app_secret": SECRET, "devices": ["W7100000001"]},
    ),
    "iammeter": (["--token", SECRET], "/api/v1", {"token": SECRET}),
    "jrhsz": (["--meters", "2", "--username", LOGIN["username"], "--password", SECRET], "", LOGIN),
    "saj": (
        ["--plants", "1", "--inverters", "1", "--age", "1", "--app-key", SECRET],
        "",
        {"app_id": "15000", "app_key": SECRET},
    ),
}
"""Vendor → the simulator's arguments, the path below which it answers, the account's own settings."""


class Clouds:
    """One simulated cloud per vendor, on ports that are known before they listen."""

    def __init__(self, folder: Path, ending: ExitStack) -> None:
        self._folder = folder
        self._ending = ending
        self._ports = {vendor: free_port() for vendor in CLOUDS}

    def accounts(self) -> list[dict[str, Any]]:
        return [
            {"id": vendor, "vendor": vendor, "base_url": f"http://{HOST}:{port}{CLOUDS[vendor][1]}"}
            | CLOUDS[vendor][2]
            for vendor, port in self._ports.items()
        ]

    def start(self) -> None:
        started = []
        for vendor, port in self._ports.items():
            simulator = Process(vendor, self._folder)
            self._ending.callback(simulator.end)
            arguments = ["--port", str(port), *CLOUDS[vendor][0]]
            simulator.launch([sys.executable, "-m", f"bridge.simulators.{vendor}", *arguments])
            started.append(simulator)
        for simulator in started:
            until(
                lambda one=simulator: "listening" in one.output.read_text(), 20, "it listens", simulator.tail
            )


def _configuration(broker: Broker, clouds: Clouds, folder: Path) -> dict[str, Any]:
    return {
        "mqtt": {"url": broker.url, "base_topic": "meterbridge"},
        "http": {"listen": f"{HOST}:{free_port()}"},
        "state": {"url": f"sqlite://{folder}/state.db"},
        "accounts": clouds.accounts(),
    }


def _look(gateway: Gateway, page: str) -> httpx.Response:
    return httpx.get(f"{gateway.web}/{page}", timeout=10, trust_env=False)


def _all_are_online(gateway: Gateway, listener: Listener) -> None:
    for vendor in CLOUDS:
        listener.wait(f"meterbridge/{vendor}/+/state", timeout_s=25)
        listener.wait(f"meterbridge/{vendor}/status", lambda one: one.json["state"] == "online", timeout_s=10)
    assert gateway.alive
    assert _look(gateway, "readyz").json()["broker"] == "connected"


@pytest.mark.parametrize(
    "broker_is_there", [True, False], ids=["vendors are down", "broker and vendors are down"]
)
def test_gateway_starts_while_all_are_down_says_so_and_recovers_without_a_restart(
    broker_is_there: bool,
    make_broker: MakeBroker,
    make_listener: MakeListener,
    ending: ExitStack,
    tmp_path: Path,
) -> None:
    broker = make_broker(start=broker_is_there)
    clouds = Clouds(tmp_path, ending)
    gateway = Gateway(tmp_path, _configuration(broker, clouds, tmp_path))
    ending.callback(gateway.end)
    gateway.spawn()
    for vendor in CLOUDS:
        gateway.wait_log("account.status", account=vendor, state="unreachable")
    until(lambda: 'online{account="saj",vendor="saj"} 0.0' in _look(gateway, "metrics").text, 5, "it says so")
    assert _look(gateway, "healthz").status_code == 200
    if not broker_is_there:
        gateway.wait_log("mqtt.connect_failed")
        assert _look(gateway, "readyz").json()["broker"].startswith("not connected")
        broker.start()
    listener = make_listener(broker)
    listener.tails.append(gateway.tail)
    gateway.wait_ready()
    for vendor in CLOUDS:
        status = f"meterbridge/{vendor}/status"
        listener.wait(status, lambda one: one.json["state"] == "unreachable" and one.retain)
    clouds.start()
    _all_are_online(gateway, listener)


def test_gateway_starts_without_a_broker_reads_all_vendors_and_delivers_when_it_comes(
    make_broker: MakeBroker, make_listener: MakeListener, ending: ExitStack, tmp_path: Path
) -> None:
    broker = make_broker(start=False)
    clouds = Clouds(tmp_path, ending)
    clouds.start()
    gateway = Gateway(tmp_path, _configuration(broker, clouds, tmp_path))
    ending.callback(gateway.end)
    gateway.spawn()
    gateway.wait_log("mqtt.connect_failed")
    for vendor in CLOUDS:
        gateway.wait_log("account.status", account=vendor, state="online")
    assert _look(gateway, "readyz").json()["spool"]["messages"] > 0
    broker.start()
    listener = make_listener(broker)
    listener.tails.append(gateway.tail)
    _all_are_online(gateway, listener)
