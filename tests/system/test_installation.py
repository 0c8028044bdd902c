"""The Dockerfile's own steps, run here, and the broker of the compose example with its access list."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.test_packaging import COMPOSE, ROOT, stages
from tests.system.fixtures import DEVICES, MakeBroker, MakeGateway, MakeListener

SHOP, D1 = "meterbridge/shop", DEVICES[0]


def packaged(folder: Path) -> set[str]:
    """Files below a folder that are no Python modules."""
    files = (file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {str(file.relative_to(folder)) for file in files if file.suffix not in (".py", ".pyc")}


@pytest.mark.timeout(400)
def test_steps_of_the_dockerfile_make_a_program_that_runs_from_a_clean_folder(tmp_path: Path) -> None:
    """Its COPY and RUN lines of the building stage, with another target; then the installed program is tried."""
    build, _final = stages()
    source, target = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    named = tmp_path / "bin"  # the image has a `python`, Debian has none
    named.mkdir()
    (named / "python").symlink_to(sys._base_executable)  # type: ignore[attr-defined] # not in the stubs
    for name, arguments in build:
        if name == "COPY":
            *parts, where = arguments.split()
            for part in parts:
                copied(ROOT / part, source / where / (Path(part).name if (ROOT / part).is_file() else ""))
        if name == "RUN":
            command = arguments.replace("/opt/meterbridge", str(target))
            path = f"{named}:{os.environ['PATH']}"
            environment = {**os.environ, "PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
            subprocess.run(
                ["bash", "-ceu", command], cwd=source, env=environment, check=True, capture_output=True
            )
    program = target / "bin/meterbridge"
    version = subprocess.run([program, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "meterbridge" in version.stdout
    (tmp_path / "config.yaml").write_text("accounts: []\n")
    subprocess.run([program, "check", "-c", "config.yaml"], cwd=tmp_path, capture_output=True, check=True)
    (package,) = target.glob("lib/python3*/site-packages/bridge")
    assert packaged(package) == packaged(ROOT / "bridge"), "every file that is no module comes along"


def copied(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


def test_access_list_of_the_compose_example_lets_each_user_do_what_it_says(
    make_broker: MakeBroker, make_gateway: MakeGateway, make_listener: MakeListener, tmp_path: Path
) -> None:
    words = tmp_path / "passwords"
    words.touch(mode=0o600)
    for user in ("meterbridge", "operator", "viewer"):
        subprocess.run(
            ["mosquitto_passwd", "-b", str(words), user, f"FAKE-{user}"], check=True, capture_output=True
        )
    told = (COMPOSE / "mosquitto/mosquitto.conf").read_text()
    lines = [
        line
        for line in told.splitlines()
        if not line.startswith(("listener", "persistence", "log_dest", "max_"))
    ]
    places = {
        "/mosquitto/config/passwords": str(words),
        "/mosquitto/config/acl": str(COMPOSE / "mosquitto/acl"),
    }
    broker = make_broker(lines=[" ".join(places.get(word, word) for word in line.split()) for line in lines])
    viewer = make_listener(broker, topic="meterbridge/#", username="viewer", password="FAKE-viewer")
    operator = make_listener(broker, topic="meterbridge/#", username="operator", password="FAKE-operator")
    login = {"username": "meterbridge", "password": "FAKE-meterbridge"}
    gateway = make_gateway(at=broker, mqtt={**login, "discovery": {"enabled": True}})
    operator.tails.append(gateway.tail)
    viewer.send(f"{SHOP}/{D1}/cmd/breaker", {"state": "off", "id": "not-allowed"})
    login_of_node_red = {"username": "operator", "password": "FAKE-operator"}
    node_red = make_listener(broker, topic="node-red/replies/#", **login_of_node_red)
    operator.send(
        f"{SHOP}/{D1}/cmd/breaker",
        {"state": "off", "id": "allowed"},
        ResponseTopic="node-red/replies/breaker",
        CorrelationData=b"allowed",
    )
    assert node_red.final("node-red/replies/breaker", "allowed")["status"] == "succeeded"
    assert operator.final(f"{SHOP}/{D1}/ack", "allowed")["status"] == "succeeded"
    viewer.wait(f"{SHOP}/{D1}/ack", lambda one: one.json["id"] == "allowed" and one.json["final"])
    assert not [one for one in viewer.all(f"{SHOP}/{D1}/ack") if one.json["id"] == "not-allowed"]
    operator.send("meterbridge/bridge/cmd/diagnostics", {"id": "looked"})
    assert operator.final("meterbridge/bridge/ack", "looked")["status"] == "succeeded"
    codes = {one.json["code"] for one in operator.all("meterbridge/bridge/event")}
    assert not codes & {"publish_refused", "subscription_refused"}
