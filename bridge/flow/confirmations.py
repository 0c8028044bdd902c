"""A vendor's own words on commands: matched with the journal, kept a while where they come early, else told.

A pushed word moves no command by itself (anybody who knows the address could send it): it makes the gateway ask the
vendor at once. What is told are events: a task that this gateway did not make, a result that came too late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridge.domain.command import CommandState
from bridge.domain.device import Device
from bridge.domain.observation import Confirmation, Event, Origin
from bridge.domain.text import Json, canonical
from bridge.domain.times import from_unix_ms, unix_ms
from bridge.flow.desk import Desk
from bridge.flow.occurrences import take_keyed_event
from bridge.ports import OWN_REFERENCES
from bridge.store.protocols import JournalRow

KEEP_MS = 10 * 60 * 1000
"""How long a word waits for the answer that it may have overtaken."""

_UNDECIDED = ("timed_out", "indeterminate")


@dataclass(slots=True)
class Confirmations:
    """What becomes of a `Confirmation`. `nudge`: something happened to the command with this key."""

    nudge: Callable[[int], None]

    def take(self, desk: Desk, word: Confirmation) -> None:
        """A word that just came."""
        if self._matched(desk, word):
            return
        if _may_be_early(desk, word):
            desk.tx.early_words.keep(desk.policy.account, _kept(word), desk.now_ms)
        else:
            self._tell_foreign(desk, word)

    def review(self, desk: Desk) -> None:
        """Looks again at the words that were kept: after a command got its reference or its end, and now and then."""
        for early in desk.tx.early_words.of_account(desk.policy.account):
            word = _word(early.word)
            if not self._matched(desk, word):
                # a clock that stepped back makes no word older
                if desk.now_ms - early.at_ms < KEEP_MS and _may_be_early(desk, word):
                    continue
                self._tell_foreign(desk, word)
            desk.tx.early_words.drop(early.key)

    def _matched(self, desk: Desk, word: Confirmation) -> bool:
        """Whether it is about something that this gateway asked for; then who waits for it looks again."""
        rows = _rows_of(desk, word)
        for row in rows:
            if row.state is not CommandState.FINAL:
                self._nudge(desk, row)
        origins = [row for row in rows if not word.commands or row.command in word.commands]
        for row in origins:
            if row.state is CommandState.FINAL and _is_late(row, word):
                self._tell_late(desk, word, row)
        if origins:
            return True
        if not _is_own(desk, word):
            return False
        if word.device is not None:  # it may be what a command of this device asked about
            for row in desk.tx.journal.open_for(desk.policy.account, word.device):
                self._nudge(desk, row)
        return True

    def _nudge(self, desk: Desk, row: JournalRow) -> None:
        key = row.key
        desk.tx.after_commit(lambda: self.nudge(key))

    def _tell_foreign(self, desk: Desk, word: Confirmation) -> None:
        text = f"task {word.vendor_ref} was not made by this gateway"
        if word.device is None:
            desk.anomalies.append(f"{text}, and nobody says for which device")
            return
        _introduce(desk, word.device)
        self._tell(desk, word, word.device, "foreign_command", text, word.data)

    def _tell_late(self, desk: Desk, word: Confirmation, row: JournalRow) -> None:
        status = row.last_ack["status"] if isinstance(row.last_ack, dict) else "final"
        text = f"command {row.id!r} ({row.command}) ended as {status}; the vendor says otherwise now"
        device = row.device or word.device
        if device is not None:
            data = {**word.data, "command_id": row.id, "command": row.command}
            self._tell(desk, word, device, "late_result", text, data)

    def _tell(self, desk: Desk, word: Confirmation, device: str, code: str, text: str, data: Json) -> None:
        event = Event(
            device,
            code,
            word.received_at,
            Origin.PUSH,
            vendor_code=str(word.native_state),
            message=text,
            data=data,
        )
        told = [desk.policy.account, code, word.vendor_ref, word.native_state]
        take_keyed_event(desk, event, canonical(told).decode())


def _introduce(desk: Desk, device: str) -> None:
    """A device that nobody spoke of before is a new one."""
    if desk.row(device).info is None:
        policy = desk.policy
        desk.describe(Device(policy.account, policy.vendor, device, desk.kind, serial=device))


def _rows_of(desk: Desk, word: Confirmation) -> Sequence[JournalRow]:
    journal, account = desk.tx.journal, desk.policy.account
    rows = journal.by_vendor_ref(account, word.vendor_ref)
    if rows or word.command_id is None:
        return rows
    row = journal.find(account, word.command_id)
    return [row] if row is not None else []


def _is_late(row: JournalRow, word: Confirmation) -> bool:
    if not word.replaces:
        return False
    status = row.last_ack["status"] if isinstance(row.last_ack, dict) else None
    return row.vendor_code in word.replaces or status in _UNDECIDED


def _is_own(desk: Desk, word: Confirmation) -> bool:
    own = desk.tx.vault.get(desk.policy.account, OWN_REFERENCES)
    return isinstance(own, list) and word.vendor_ref in own


def _may_be_early(desk: Desk, word: Confirmation) -> bool:
    """Whether it may be about a command on its way whose reference is not known yet."""
    return any(
        row.writes and (row.device is None or _fits(row, word))
        for row in desk.tx.journal.unnamed(desk.policy.account)
    )


def _fits(row: JournalRow, word: Confirmation) -> bool:
    about = word.device is None or row.device == word.device
    return about and (not word.commands or row.command in word.commands)


def _kept(word: Confirmation) -> Json:
    return {
        "vendor_ref": word.vendor_ref,
        "command_id": word.command_id,
        "device": word.device,
        "native_state": word.native_state,
        "received_ms": unix_ms(word.received_at),
        "data": dict(word.data),
        "commands": sorted(word.commands),
        "replaces": sorted(word.replaces),
    }


def _word(kept: Json) -> Confirmation:
    return Confirmation(
        vendor_ref=kept["vendor_ref"],
        command_id=kept["command_id"],
        device=kept["device"],
        native_state=kept["native_state"],
        received_at=from_unix_ms(kept["received_ms"]),
        data=kept["data"],
        commands=frozenset(kept["commands"]),
        replaces=frozenset(kept["replaces"]),
    )
