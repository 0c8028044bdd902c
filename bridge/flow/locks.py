"""Which maintenance lock stops a command: also one of a device that the command names in its parameters."""

from __future__ import annotations

from typing import Any

from bridge.domain.command import CommandSpec
from bridge.store.protocols import LockRow, Tx


def lock_on(tx: Tx, spec: CommandSpec, params: Any, account: str, device: str | None) -> LockRow | None:
    """The lock that stops this command, or None. A command of the account is stopped by the lock of each device that
    it changes; where it does not name them, by that of any device of the account."""
    if not spec.writes:
        return None
    lock = tx.locks.covering(account, device)
    if lock is not None:
        return lock
    targets = spec.targets(params)
    if targets is None:
        return next((one for one in tx.locks.all() if one.account == account), None)
    return next((found for one in targets if (found := tx.locks.covering(account, one)) is not None), None)
