"""Commands of one account that run side by side do not lose each other's notes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from bridge.vendorkit.spec import Kit
from bridge.vendors.saj.pending import Pending
from tests.fakes.clock import FakeClock


class SlowVault:
    """A vault that others overtake while it reads and writes."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        found = self.kept.get(key)
        await asyncio.sleep(0)
        return found

    async def put(self, key: str, value: Any) -> None:
        await asyncio.sleep(0)
        self.kept[key] = value


async def test_notes_of_commands_side_by_side_are_all_kept() -> None:
    vault = SlowVault()
    pending = Pending(cast(Kit, SimpleNamespace(vault=vault, clock=FakeClock())))
    await asyncio.gather(
        *(pending.note(f"add-{number}", before=[str(number)]) for number in range(5)),
        pending.note("add-1", ownerless=True),
    )
    for number in range(5):
        assert (await pending.of(f"add-{number}"))["before"] == [str(number)]
    assert (await pending.of("add-1"))["ownerless"] is True
    await asyncio.gather(pending.forget("add-0"), pending.note("add-2", no_at=7), pending.forget("add-3"))
    assert [bool(await pending.of(f"add-{number}")) for number in range(5)] == [
        False,
        True,
        True,
        False,
        True,
    ]
    assert (await pending.of("add-2"))["no_at"] == 7
