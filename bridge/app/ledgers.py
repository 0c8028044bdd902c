"""The stores behind the seams that vendors and the rate gate ask for."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.domain.text import Json
from bridge.pace.gate import SlotNote
from bridge.store.protocols import SlotRow, Store, Tx


class StoreLedger:
    """`pace.gate.SlotLedger` in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, notes: Sequence[SlotNote]) -> None:
        """See `SlotLedger.add`."""
        rows = [_row(note) for note in notes]
        await self._store.run(lambda tx: tx.budgets.add(rows))

    async def remove(self, notes: Sequence[SlotNote]) -> None:
        """See `SlotLedger.remove`."""

        def work(tx: Tx) -> None:
            for note in notes:
                tx.budgets.remove(_row(note))

        await self._store.run(work)

    async def read(self) -> list[SlotNote]:
        """Everything noted so far."""
        rows = await self._store.run(lambda tx: list(tx.budgets.all()))
        return [SlotNote(row.owner, row.limit, row.key, row.at, row.blocked) for row in rows]


class StoreVault:
    """`vendorkit.spec.Vault` of one account in the store."""

    def __init__(self, store: Store, account: str) -> None:
        self._store = store
        self._account = account

    async def get(self, key: str) -> Json:
        """See `Vault.get`."""
        return await self._store.run(lambda tx: tx.vault.get(self._account, key))

    async def put(self, key: str, value: Json) -> None:
        """See `Vault.put`."""
        await self._store.run(lambda tx: tx.vault.put(self._account, key, value))


def _row(note: SlotNote) -> SlotRow:
    return SlotRow(note.owner, note.limit, note.key, note.at, note.blocked)
