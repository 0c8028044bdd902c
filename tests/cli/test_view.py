"""Messages as lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click
import pytest

from bridge.cli.tables import table
from bridge.cli.view import Seen, View
from bridge.cli.watching import topic_filter

AT = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)


def _line(topic: str, payload: Any, *, view: View | None = None, retained: bool = False) -> str:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    line = (view or View("base")).line(Seen(topic, body, retained, AT))
    assert line is not None
    return click.unstyle(line)


def test_telemetry_shows_the_essential_values_first_with_units() -> None:
    metrics = {"threshold_overcurrent": 40, "temperature": 25, "voltage": 230.1, "switch_state": "on"}
    line = _line("base/shop/D1/telemetry", {"source": "poll", "metrics": metrics}, view=View("base", most=3))
    assert line.endswith("poll: switch_state on  voltage 230.1 V  temperature 25 °C  … 1 more")


def test_the_name_of_a_device_is_learnt_from_its_info() -> None:
    view = View("base", hidden=frozenset({"info"}))
    seen = Seen("base/shop/D1/info", b'{"name": "Cold store"}', True, AT)
    assert view.line(seen) is None
    assert "shop/D1 Cold store" in _line("base/shop/D1/availability", b"online", view=view)


@pytest.mark.parametrize(
    ("topic", "payload", "words"),
    [
        ("shop/D1/alarm", {"code": "overheat", "state": "raised", "severity": "info"}, "overheat raised (info)"),
        ("shop/D1/event", {"code": "switch_off", "message": "by hand"}, "switch_off  by hand"),
        ("shop/D1/ack", {"command": "breaker", "status": "failed", "code": "interlock"}, "breaker failed (interlock)"),
        ("shop/D1/cmd/breaker", b"off", "breaker off"),
        ("shop/D1/cmd/read", b"{}", "read"),
        ("shop/cmd/register", {"device_sn": "W7"}, 'register {"device_sn":"W7"}'),
        ("shop/D1/state", {"metrics": {"voltage": 1}, "alarms": ["overheat"]}, "overheat  voltage 1 V"),
        ("shop/D1/state/voltage", 230, "voltage 230"),
        ("shop/status", {"state": "rate_limited", "message": "wait"}, "rate_limited  wait"),
        (
            "shop/budget",
            {"windows": [{"endpoint": "all", "used": 3, "limit": 5, "window_s": 60}]},
            "all: 3 of 5 in 1m",
        ),
        ("shop/budget", {"windows": [{"endpoint": 1}]}, '{"windows":[{"endpoint":1}]}'),
        ("bridge/info", {"version": "1", "accounts": []}, "version 1  accounts []"),
        ("shop/D1/info", b"", "cleared"),
        ("elsewhere", b"\xff\xfe", "\ufffd\ufffd"),
    ],
)  # fmt: skip
def test_each_kind_has_its_line(topic: str, payload: Any, words: str) -> None:
    assert _line(f"base/{topic}", payload).endswith(words)


def test_copies_for_senders_are_not_shown() -> None:
    assert View("base").line(Seen("base/bridge/reply/ab12", b"{}", False, AT)) is None


def test_a_payload_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2Jgone\r\n"
    for topic, payload in (
        ("base/shop/D1/event", {"code": evil, "message": evil}),
        ("base/shop/D1/telemetry", {"source": evil, "metrics": {"switch_state": evil, evil: evil}}),
        ("base/shop/D1/info", {"name": evil, "kind": evil}),
        ("base/shop/D1/ack", {"command": evil, "status": evil, "code": evil}),
        (f"base/shop/{evil}/event", evil.encode()),
        (evil, evil.encode()),
    ):
        line = View("base").line(
            Seen(topic, payload if isinstance(payload, bytes) else json.dumps(payload).encode(), False, AT)
        )
        assert line is not None
        assert "\x1b[2J" not in line
        assert not set(line) & set("\r\n")


def test_json_keeps_every_digit_and_says_what_is_retained() -> None:
    seen = Seen("base/shop/D1/telemetry", b'{"metrics": {"voltage": 230.10}}', True, AT)
    assert seen.as_json() == (
        '{"received_ts":"2026-03-01T12:00:05Z","topic":"base/shop/D1/telemetry","retained":true,'
        '"payload":{"metrics":{"voltage":230.10}}}'
    )


def test_filters_are_below_the_base_topic() -> None:
    assert topic_filter("base", None) == "base/#"
    assert topic_filter("base", "+/+/alarm") == "base/+/+/alarm"
    assert topic_filter("base", "base/shop/#") == "base/shop/#"
    for wrong in ("#/a", "a#", "a+/b"):
        with pytest.raises(click.UsageError):
            topic_filter("base", wrong)


def test_columns_are_aligned_also_with_wide_characters() -> None:
    lines = table(("name", "x"), [("电表", "1"), ("abc", "2"), ("\x1b[31m", "3")]).splitlines()
    assert lines == ["name   x", "电表   1", "abc    2", "\ufffd[31m  3"]
