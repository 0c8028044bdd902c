"""Money moves one command at a time: a batch of the account does not overtake what is under way at one of its devices,
nor the other way round. Commands of one device wait for each other in their lane; those of the account have another
lane, so they are refused instead."""

from __future__ import annotations

from typing import Any

from bridge.domain.command import CommandSpec
from bridge.domain.errors import Rejection
from bridge.domain.text import dumps
from bridge.flow.roster import Roster
from bridge.store.protocols import JournalRow, Tx


def claimed(
    tx: Tx, roster: Roster, spec: CommandSpec, params: Any, account: str, device: str | None
) -> Rejection | None:
    """Why a command must wait for one of the other lane, which is exclusive for a device of both; or None."""
    if device is not None:
        mine = [device] if spec.exclusive else []
        others = {one: tx.journal.pending(account, None) for one in mine}
    else:
        others = {one: tx.journal.pending(account, one) for one in dict.fromkeys(spec.claims(params))}
    for name, rows in others.items():
        row = next((one for one in rows if _claims(roster, one, name)), None)
        if row is not None:
            text = f"{row.command!r} ({row.id}) is under way at {name}, and nothing else like it may be meanwhile"
            return Rejection(
                "interlock",
                text,
                result={"rule": "exclusive", "limit": 1, "measured": 1, "command_id": row.id},
            )
    return None


def _claims(roster: Roster, row: JournalRow, device: str) -> bool:
    executor = roster.executor(row.account)
    target = roster.device(row.account, row.device) if row.device else None
    spec = executor.commands(target).get(row.command) if executor else None
    if spec is None:
        return True
    if row.device is not None:
        return spec.exclusive
    return device in spec.claims(spec.params.model_validate_json(dumps(row.params)))
