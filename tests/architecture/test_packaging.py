"""Dockerfile, unit, compose file and dashboard, as far as they can be read.

`tests/system/test_installation.py` runs what can be run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from bridge.config import load
from bridge.vendors import VENDORS
from tests.architecture.test_metrics import documented, used_in

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "examples/compose"


def instructions(text: str) -> list[tuple[str, str]]:
    """(name, arguments) of a Dockerfile's lines, continued ones joined."""
    joined = re.sub(r"\\\n\s*", "", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line.strip()]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage."""
    found: list[list[tuple[str, str]]] = []
    for name, arguments in instructions((ROOT / "Dockerfile").read_text()):
        if name == "FROM":
            found.append([])
        found[-1].append((name, arguments))
    return found


def test_dockerfile_keeps_the_rules_of_a_good_image() -> None:
    build, final = stages()
    assert all(re.fullmatch(r"\S+:\d[\w.-]*( AS \w+)?", one[0][1]) for one in (build, final)), (
        "images with a version"
    )
    names = dict(final)
    user = names["USER"]
    assert user.partition(":")[0].isdigit()
    assert user.partition(":")[0] != "0"
    assert names["STOPSIGNAL"] == "SIGTERM"
    assert "/healthz" in names["HEALTHCHECK"]
    assert json.loads(names["ENTRYPOINT"]) == ["meterbridge"]
    assert json.loads(names["CMD"])[0] == "run"
    assert not [arguments for name, arguments in final if name == "COPY" and "--from=build" not in arguments]
    assert "pip" not in " ".join(arguments for name, arguments in final if name == "RUN")
    assert final.index(("USER", user)) > max(at for at, (name, _) in enumerate(final) if name == "RUN")


def test_dockerfile_passes_hadolint_where_it_is_installed() -> None:
    found = shutil.which("hadolint", path=f"{ROOT}/.venv/bin:{os.environ['PATH']}")
    if found is not None:
        done = subprocess.run([found, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
        assert (done.stdout, done.returncode) == ("", 0)


def test_unit_is_hardened_and_starts_what_is_installed() -> None:
    unit = (ROOT / "systemd/meterbridge.service").read_text()
    lines = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    wanted = {
        "Type": "notify",
        "DynamicUser": "yes",
        "StateDirectory": "meterbridge",
        "LogsDirectory": "meterbridge",
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "MemoryDenyWriteExecute": "yes",
        "CapabilityBoundingSet": "",
        "RestartPreventExitStatus": "2",
    }
    assert {key: lines.get(key) for key in wanted} == wanted
    assert int(lines["WatchdogSec"]) > 0
    recipe = (ROOT / "Makefile").read_text().partition("\ninstall-systemd:")[2].partition("\n\n")[0]
    assert lines["ExecStart"].split()[0].removesuffix("/bin/meterbridge") in recipe
    steps = [line.strip() for line in recipe.splitlines()]
    install = next(step for step in steps if "pip install" in step)
    around = (steps[steps.index(install) - 1], steps[steps.index(install) + 1])
    assert around == ("rm -rf build", "rm -rf build"), (
        "nothing of an older version, nothing of root's is left"
    )
    assert "LoadCredential=" in unit


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((COMPOSE / "compose.yaml").read_text()))


def test_compose_mounts_files_that_are_there_and_asks_for_every_secret() -> None:
    services = compose()["services"]
    assert services.keys() == {"mosquitto", "meterbridge", "prometheus", "grafana"}
    made_by_the_user = {"./mosquitto/passwords"}
    for service in services.values():
        for mount in service["volumes"]:
            where = mount.partition(":")[0]
            assert not where.startswith(".") or where in made_by_the_user or (COMPOSE / where).exists(), where
    asked = set(re.findall(r"\$\{(\w+):\?", (COMPOSE / "compose.yaml").read_text()))
    offered = set(re.findall(r"^(\w+)=", (COMPOSE / ".env.example").read_text(), re.MULTILINE))
    assert asked == offered
    gateway = services["meterbridge"]
    assert gateway["read_only"] is True
    assert gateway["cap_drop"] == ["ALL"]


def test_configuration_of_the_compose_example_has_no_mistake() -> None:
    given = set(compose()["services"]["meterbridge"]["environment"])
    loaded = load(COMPOSE / "config.yaml", VENDORS, dict.fromkeys(given, "FAKE0000"))
    assert (loaded.mqtt.host, loaded.http.address) == ("mosquitto", ("0.0.0.0", 8080))


def panels() -> list[dict[str, Any]]:
    return list(json.loads((COMPOSE / "grafana/dashboards/meterbridge.json").read_text())["panels"])


def test_dashboard_asks_only_for_documented_metrics_with_their_labels_at_the_provisioned_source() -> None:
    (source,) = yaml.safe_load((COMPOSE / "grafana/provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    known = documented()
    seen: set[str] = set()
    for panel in panels():
        assert panel["datasource"]["uid"] == source["uid"]
        for target in panel["targets"]:
            used = used_in(target["expr"])
            assert used <= known.keys(), panel["title"]
            seen |= used
            labels = {label for name in used for label in known[name][1]} | {"instance", "job", "le"}
            grouped = re.findall(r"by \(([^)]*)\)", target["expr"])
            assert {one.strip() for group in grouped for one in group.split(",")} <= labels, panel["title"]
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels, panel["title"]
    assert len(seen) > 20


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_prometheus_of_the_compose_example_reads_the_alert_rules_and_finds_the_gateway() -> None:
    told = yaml.safe_load((COMPOSE / "prometheus/prometheus.yml").read_text())
    assert told["scrape_configs"][0]["static_configs"][0]["targets"] == ["meterbridge:8080"]
    assert told["scrape_configs"][0]["job_name"] == "meterbridge", "the alert MeterbridgeDown asks for it"
    mounts = compose()["services"]["prometheus"]["volumes"]
    assert f"../../docs/alerts.yml:/etc/prometheus/{told['rule_files'][0]}:ro" in mounts
