"""The gateway's own commands pass the same doors and the same journal as a device's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.domain.errors import (
    AuthFailed,
    ConfigError,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    VendorError,
)
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


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotSent("cannot connect"), "vendor_unreachable"),
        (LostAnswer("timed out"), "no_answer"),
        (RateLimited("too many", retry_after_s=60), "rate_limited"),
        (AuthFailed("wrong password"), "auth_failed"),
        (Refused("no right", code="unsupported"), "unsupported"),
        (VendorError("odd"), "vendor_error"),
    ],
)
async def test_a_refresh_that_fails_says_where_and_with_which_code(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, error: VendorError, code: str
) -> None:
    async def failing() -> Any:
        raise error

    monkeypatch.setattr(harness.vendor, "inventory", failing)
    ack = await final(harness, "refresh", {"account": "home"})
    assert (ack["status"], ack["code"]) == ("failed", code)
    assert f"home: {error.message}" in ack["message"]


async def test_diagnostics_are_a_result(harness: Harness) -> None:
    assert (await final(harness, "diagnostics"))["result"] == {"version": "test"}


@pytest.mark.parametrize("command", ["reload", "lock", "unlock", "diagnostics"])
async def test_a_dry_run_of_a_command_that_asks_no_vendor_says_so(harness: Harness, command: str) -> None:
    (ack,) = await harness.command(f"bridge/cmd/{command}", {"dry_run": True})
    assert (ack["status"], ack["dry_run"], ack["attempt"]) == ("succeeded", True, 0)
    assert ack["result"] == {
        "request": None,
        "explain": "the gateway's own command: no vendor is asked",
    }
    assert (await harness.command("home/D1/cmd/breaker", "on"))[-1]["status"] == "succeeded"


async def test_a_dry_run_of_refresh_shows_what_each_account_would_ask(harness: Harness) -> None:
    (ack,) = await harness.command("bridge/cmd/refresh", {"dry_run": True})
    shown = ack["result"]["explain"]["home"]["request"]
    assert (shown["url"], shown["body"]["command"]) == (
        "https://vendor.example.invalid/send",
        "refresh_inventory",
    )
    assert harness.vendor.executed == []


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
