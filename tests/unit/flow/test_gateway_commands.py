"""The gateway's own commands pass the same doors and the same journal as a device's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.domain.errors import ConfigError, NotSent
from tests.fakes.harness import Harness
from tests.fakes.vendor import device


async def final(harness: Harness, command: str, payload: Any = None) -> dict[str, Any]:
    acks = await harness.command(f"bridge/cmd/{command}", payload or {})
    assert acks[0]["status"] == "accepted"
    return acks[-1]


async def test_a_reload_tells_what_it_did(harness: Harness) -> None:
    harness.reloads.append(lambda: {"accounts": {"added": ["x"]}})
    ack = await final(harness, "reload")
    assert (ack["status"], ack["result"], ack["account"], ack["device"]) == (
        "succeeded",
        {"accounts": {"added": ["x"]}},
        "bridge",
        None,
    )


async def test_a_bad_configuration_fails_the_reload_with_all_its_mistakes(harness: Harness) -> None:
    def refuse() -> Any:
        raise ConfigError(["line 3: no", "line 5: neither"])

    harness.reloads.append(refuse)
    ack = await final(harness, "reload")
    assert (ack["status"], ack["message"]) == ("failed", "line 3: no\nline 5: neither")


async def test_refresh_reads_the_inventory_again(harness: Harness) -> None:
    harness.vendor.devices.append(device("D3"))
    ack = await final(harness, "refresh")
    assert ack["result"] == {"devices": {"home": 3}}
    assert "home/D3/info" in harness.retained()


async def test_a_refresh_that_fails_says_where(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable() -> Any:
        raise NotSent("cannot connect")

    monkeypatch.setattr(harness.vendor, "inventory", unreachable)
    ack = await final(harness, "refresh", {"account": "home"})
    assert (ack["status"], ack["code"]) == ("failed", "vendor_error")
    assert "home: cannot connect" in ack["message"]


async def test_diagnostics_are_a_result(harness: Harness) -> None:
    assert (await final(harness, "diagnostics"))["result"] == {"version": "test"}


async def test_a_gateway_command_that_a_crash_interrupts_is_carried_out_afterwards(harness: Harness) -> None:
    harness.store.dies_at = harness.store.count + 2
    message = harness.message("bridge/cmd/lock", {"id": "l1", "account": "home"})
    dying = asyncio.ensure_future(harness.admission.admit(message))
    await harness.clock.settle()
    assert not dying.done()
    await harness.restart()
    assert harness.statuses("l1") == ["accepted", "succeeded"]
    (ack,) = await harness.command("home/D1/cmd/breaker", "on")
    assert ack["code"] == "interlock"
