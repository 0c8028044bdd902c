"""The whole flow around a vendor's real adapter, its real limits and its simulated cloud: messages in, acks out.

Only the broker and the vendor's devices are not real; time is the test's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import httpx

from bridge.domain.command import CommandState
from bridge.domain.device import DeviceKind
from bridge.flow.backfill import Source
from bridge.flow.history import HistoryExecutor
from bridge.pace.gate import AccountGate
from bridge.vendorkit.http import Gate, VendorHttp
from bridge.vendors import VENDORS
from tests.contract.cases import CASES
from tests.fakes.adapters import CloudTime, FakeVault, NoLedger, kit
from tests.fakes.harness import Harness
from tests.fakes.vendor import ACCOUNT

T = TypeVar("T")
Sent = tuple[str, Any]
"""`METHOD /path?query` and the body: what its JSON says, or the text of a form; None without one."""

_TOKENS = ("accessToken", "login", "Login")


class Wire(httpx.AsyncBaseTransport):
    """Passes on to the cloud and keeps every request that reached it."""

    def __init__(self, cloud: httpx.AsyncBaseTransport) -> None:
        self._cloud = cloud
        self._refused: Callable[[Sent], bool] = lambda _sent: False
        self._refusals = 0
        self.requests: list[httpx.Request] = []

    def refuse(self, which: Callable[[Sent], bool], times: int) -> None:
        """So often from now on, no connection can be made for these requests."""
        self._refused, self._refusals = which, times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._refusals and self._refused(sent(request)):
            self._refusals -= 1
            raise httpx.ConnectError("connection refused")
        self.requests.append(request)
        return await self._cloud.handle_async_request(request)


def sent(request: httpx.Request) -> Sent:
    """A request as the tables write it; a token is `<token>`."""
    query = f"?{unquote(request.url.query.decode())}" if request.url.query else ""
    body: Any = request.content.decode() or None
    if body and "json" in request.headers.get("content-type", ""):
        body = json.loads(body)
        if "token" in body:
            body["token"] = "<token>"
    return f"{request.method} {request.url.path}{query}", body


class Stage(Harness):
    """`async with Stage(tmp_path, "saj") as stage: …`."""

    def __init__(self, folder: Path, vendor: str, **options: Any) -> None:
        super().__init__(folder, devices=())
        case, self.spec = CASES[vendor], VENDORS[vendor]
        self._case = case
        self.settings = self.spec.settings.model_validate({**case.settings, **options, "id": ACCOUNT})
        self.policy = self.settings.policy(("*",), ())
        self.vault = FakeVault()
        self.cloud = self.made_cloud()
        self.wire = Wire(httpx.ASGITransport(case.app(self.cloud)))

    def made_cloud(self) -> Any:
        """The simulated cloud, under the test's clock."""
        return self._case.cloud(CloudTime(self.clock))

    def made_gate(self) -> Gate:
        """The vendor's real limits."""
        limits = self.spec.limits(self.settings)
        return AccountGate(ACCOUNT, limits, self.clock, NoLedger(), vendor=self.spec.name)

    async def enter_account(self) -> None:
        """A new process: only store and vault remember."""
        base_url = getattr(self.settings, "base_url", "")
        self.http = VendorHttp(base_url, self.made_gate(), self.clock, transport=self.wire)
        self.vendor = adapter = self.spec.build(self.settings, kit(self, f"test.{self.spec.name}"))  # type: ignore[assignment] # the real thing in the place of the fake
        executor = HistoryExecutor(ACCOUNT, adapter, self.backfill)
        self.roster.enter(self.policy, executor, DeviceKind.METER)
        if adapter.history is not None:
            self.backfill.enter(ACCOUNT, Source(adapter.history))
        self.health.enter(ACCOUNT)
        await self.intake.take_inventory(ACCOUNT, await self.driven(adapter.inventory()))
        self.wire.requests.clear()

    async def driven(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs it to its end, letting time pass where it waits."""
        task = asyncio.ensure_future(work)
        await self.clock.settle()
        while not task.done():
            await self.advance(1)
        return task.result()

    async def order(self, target: str | None, command: str, payload: Any, **mqtt: Any) -> None:
        """Publishes a command for a device (None: for the account)."""
        level = f"{ACCOUNT}/{target}" if target else ACCOUNT
        await self.admit(self.message(f"{level}/cmd/{command}", payload, **mqtt))

    async def carried(self, command_id: str, most_s: float = 90_000) -> dict[str, Any]:
        """Lets time pass until the command is final; its last acknowledgement."""
        passed = 0.0
        while not self.is_final(command_id):
            assert passed < most_s, f"{command_id} is not final after {passed} s: {self.statuses(command_id)}"
            step = 5.0 if passed < 200 else 60.0 if passed < 2000 else 900.0
            await self.advance(step)
            passed += step
        return self.acks(command_id)[-1]

    def is_final(self, command_id: str) -> bool:
        """Whether it has ended, or was never taken."""
        rows = [row for row in self.journal() if row.id == command_id]
        return not rows or rows[0].state is CommandState.FINAL

    def sent(self) -> list[Sent]:
        """What was asked of the cloud, but for tokens."""
        return [sent(one) for one in self.wire.requests if not one.url.path.endswith(_TOKENS)]

    def effects(self) -> list[str]:
        """What really happened in the cloud, but for logins."""
        return [one.effect for one in self.cloud.ledger.entries() if one.effect != "login"]

    def told(self, command_id: str) -> list[tuple[str, str | None, Any]]:
        """Status, code and vendor code of each acknowledgement."""
        return [(doc["status"], doc["code"], doc["vendor_code"]) for doc in self.acks(command_id)]
