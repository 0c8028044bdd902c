"""docs/metrics.md names every metric of the code, and whoever uses metrics (alerts, dashboard) names only those."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.ops.metrics import Metrics

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(meterbridge_\w+)` \| (\w+) \|(.*?)\| .+ \|$", re.MULTILINE)
PARTS = ("_bucket", "_sum", "_count")


def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name to type and labels."""
    text = (ROOT / "docs/metrics.md").read_text()
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in ROW.findall(text)}


def in_code() -> set[str]:
    """The names that the code writes, without the `_total` that counters get at exposition."""
    texts = [(ROOT / "bridge/ops/metrics.py").read_text()]
    texts += [path.read_text() for path in (ROOT / "bridge/app").glob("*.py")]
    return {
        name.removesuffix("_total") for text in texts for name in re.findall(r'"(meterbridge_[a-z_]+)"', text)
    }


def used_in(text: str) -> set[str]:
    """The documented metrics that an expression asks for; a name that is not documented stays as it is."""
    known = documented()
    found = set(re.findall(r"\bmeterbridge_[a-z_]+", text))
    return {
        next((name.removesuffix(part) for part in PARTS if name.removesuffix(part) in known), name)
        for name in found
    }


def test_page_names_exactly_the_metrics_of_the_code() -> None:
    assert {name.removesuffix("_total") for name in documented()} == in_code()


def test_every_counter_and_only_a_counter_ends_in_total() -> None:
    for name, (kind, _labels) in documented().items():
        assert kind in ("gauge", "counter", "histogram")
        assert name.endswith("_total") == (kind == "counter"), name


def test_page_tells_type_and_labels_of_what_is_counted() -> None:
    known = documented()
    registry: Any = Metrics().registry
    counted = [one for one in registry._collector_to_names if hasattr(one, "_labelnames")]
    assert len(counted) >= 8
    for one in counted:
        name = one._name + ("_total" if one._type == "counter" else "")
        assert known[name] == (one._type, tuple(one._labelnames))


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((ROOT / "docs/alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alert_asks_for_documented_metrics_and_says_what_is_wrong(rule: dict[str, Any]) -> None:
    used = used_in(rule["expr"])
    assert used <= documented().keys()
    assert used or rule["expr"].startswith("up{")
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert rule["annotations"]["summary"]
    labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) - {"instance"}
    assert labels <= {label for name in used for label in documented()[name][1]}


@pytest.mark.parametrize("alert", ["MeterbridgeCommandIndeterminate", "MeterbridgeDeadLetters"])
def test_alert_about_a_single_count_sees_the_first_one_too(alert: str) -> None:
    """`increase` sees nothing of a first sample, nor of one that stands again where it stood before a restart."""
    text = next(rule["expr"] for rule in rules() if rule["alert"] == alert)
    found = re.search(r"increase\((meterbridge_\w+{[^}]+})\[1h\]\) > 0\n", text)
    assert found is not None
    series = found[1]
    assert f"or ({series} unless {series} offset 1h)\n" in text
    assert f"or ({series} and on (instance) time() - process_start_time_seconds < 3600)\n" in text
