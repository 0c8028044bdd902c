"""`meterbridge watch` at a real broker."""

from __future__ import annotations

import json
import signal

import pytest

from tests.cli.bench import Running, free_port, meterbridge
from tests.cli.gateways import StandIn


def test_a_line_for_each_message_until_ctrl_c(broker_port: int) -> None:
    watch = Running("watch", "--url", f"mqtt://127.0.0.1:{broker_port}", "--base", "watched")
    try:
        with StandIn(broker_port, "watched", lambda *_: []) as gateway:
            gateway.retain("bridge/status", "online")
            watch.shows("online")
            gateway.publish("shop/D1/telemetry", {"source": "push", "metrics": {"voltage": 230}})
            watch.shows("push: voltage 230 V")
    finally:
        status = watch.end(signal.SIGINT)
    assert status == 0
    assert "\x1b" not in watch.text, "no colours where nobody sees them"


def test_json_and_filter(broker_port: int) -> None:
    with StandIn(broker_port, "filtered", lambda *_: []) as gateway:
        gateway.retain("bridge/status", "online")
        gateway.retain("shop/D1/info", '{"name": "Cold store"}')
    words = ("--base", "filtered", "--filter", "shop/#", "--json", "--for", "500ms")
    result = meterbridge("watch", "--url", f"mqtt://127.0.0.1:{broker_port}", *words)
    assert result.exit_code == 0
    (line,) = [json.loads(text) for text in result.stdout.splitlines()]
    assert (line["topic"], line["retained"], line["payload"]) == (
        "filtered/shop/D1/info",
        True,
        {"name": "Cold store"},
    )


@pytest.mark.parametrize("words", [("--filter", "#/x"), ("--url", "mqtt://a@b"), ("--for", "3")])
def test_what_cannot_be_watched_is_a_usage_error(words: tuple[str, ...]) -> None:
    assert meterbridge("watch", *words).exit_code == 2


def test_a_broker_that_is_not_there_is_told() -> None:
    result = meterbridge("watch", "--url", f"mqtt://127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "cannot connect to the broker" in result.stderr
