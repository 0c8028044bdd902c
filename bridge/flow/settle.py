"""How a command goes on in the journal: each change of state and its acknowledgement in one transaction.

Used by the admission (accepted), the dispatcher (sent, final), the intake (evidence, a vendor's confirmation) and
the locks (cancelled). Nothing else writes an acknowledgement of a journalled command.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from bridge.contract import payloads
from bridge.contract.publication import Class, Publication
from bridge.contract.topics import Topics
from bridge.domain.command import CommandSpec, CommandState, Evidence, Outcome, Status, advance
from bridge.domain.ids import GATEWAY
from bridge.domain.observation import Availability, Confirmation, Event, Observation, Reading, Words
from bridge.domain.text import Json, dumps
from bridge.domain.times import unix_ms
from bridge.flow.confirmations import Confirmations
from bridge.flow.desk import Desk
from bridge.flow.intake import Intake, Taken
from bridge.flow.roster import Roster
from bridge.ports import Clock
from bridge.store.protocols import JournalRow, Tx

_ANSWERED = frozenset({"vendor_error", "device_refused", "device_offline", "no_answer"})
RECORD_IN_RESULT = "read"
"""The command whose final acknowledgement carries the record (CONTRACT section 6)."""


class Settler:
    """Writes journal states and acknowledgements."""

    def __init__(self, roster: Roster, topics: Topics, intake: Intake, clock: Clock) -> None:
        self._roster = roster
        self._topics = topics
        self._intake = intake
        self._clock = clock
        self._open: set[tuple[str, str]] = set()
        self.on_settled: Callable[[JournalRow], None] = lambda _row: None
        self.on_nudge: Callable[[int], None] = lambda _key: None
        self._confirmations = Confirmations(lambda key: self.on_nudge(key))

    def settle(self, tx: Tx, row: JournalRow, outcome: Outcome, desk: Desk | None = None) -> None:
        """Applies an outcome (SENT or final) to a journalled command, with its acknowledgement and what was observed
        with it. A row that is final already stays as it is. `desk`: an open one of the same account."""
        if row.state is CommandState.FINAL:
            return
        now = self._clock.now()
        target = CommandState.FINAL if outcome.status.final else CommandState.SENT
        again = row.state is CommandState.SENT and target is CommandState.SENT
        row.state = advance(row.state, target)
        row.vendor_ref = outcome.vendor_ref if outcome.vendor_ref is not None else row.vendor_ref
        row.vendor_code = outcome.vendor_code if outcome.vendor_code is not None else row.vendor_code
        if target is CommandState.SENT:
            row.asks = row.asks + 1 if again else 0
            row.sent_ms = row.sent_ms if row.sent_ms is not None else unix_ms(now)
        taken = Taken()
        if row.command == RECORD_IN_RESULT:
            self._observe(tx, row, outcome, desk, taken)
            outcome = _with_record(outcome, taken)
        if not again and not outcome.quiet:
            self.acknowledge(tx, row, outcome, now)
        row.updated_ms = unix_ms(now)
        told = None if again else (str(outcome.status), outcome.code)
        tx.journal.save(row, outcome.message or outcome.code or "", outcome=told)
        self._note_open(row)
        if row.command != RECORD_IN_RESULT:
            self._observe(tx, row, outcome, desk, taken)
        if not again and tx.early_words.of_account(row.account) and self._roster.has(row.account):
            self._on_desk(tx, row.account, desk, self.review)
        if target is CommandState.FINAL:
            self._wake_related(tx, row)
            tx.after_commit(lambda: self.on_settled(row))

    def _wake_related(self, tx: Tx, row: JournalRow) -> None:
        """A command that changed another one's task (a `cancel`, say) has ended: who follows that task looks now."""
        if row.vendor_ref is None or not row.writes:
            return
        for other in tx.journal.by_vendor_ref(row.account, row.vendor_ref):
            if other.key != row.key and other.state is not CommandState.FINAL:
                tx.after_commit(partial(self.on_nudge, other.key))

    def move(
        self, tx: Tx, row: JournalRow, state: CommandState, note: str = "", request: Json = None
    ) -> None:
        """A change of state without an acknowledgement. `request`: what leaves for the vendor with it."""
        row.state = advance(row.state, state)
        row.updated_ms = unix_ms(self._clock.now())
        tx.journal.save(row, note, request=request)
        self._note_open(row)

    def acknowledge(self, tx: Tx, row: JournalRow, outcome: Outcome, at: datetime) -> None:
        """Puts the acknowledgement into the outbox and keeps it in the row as the last one."""
        document = payloads.ack(
            command_id=row.id,
            command=row.command,
            account=row.account,
            device=row.device,
            status=outcome.status,
            at=at,
            code=outcome.code,
            message=outcome.message,
            vendor_code=row.vendor_code,
            vendor_ref=row.vendor_ref,
            result=outcome.result,
            attempt=_attempt(row, outcome),
        )
        row.last_ack = document
        self.publish_ack(tx, row.account, row.device_level, document, row.reply_topic, row.correlation)

    def publish_ack(
        self,
        tx: Tx,
        account: str,
        device_level: str | None,
        document: dict[str, Any],
        reply_topic: str | None,
        correlation: bytes | None,
    ) -> None:
        """An acknowledgement on the plain topic and, for MQTT 5 callers, the same document on their own."""
        body = dumps(document)
        topic = self._topics.ack(account, device_level)
        for target in dict.fromkeys(
            (topic, reply_topic)
        ):  # once, also where the caller listens on the plain topic
            if target is not None:
                tx.outbox.add(
                    Publication(
                        target,
                        body,
                        Class.ACK,
                        account=account,
                        device=device_level or "",
                        correlation=correlation,
                    )
                )

    # what proves a command --------------------------------------------------------------------------------------

    def load_open(self, tx: Tx) -> None:
        """Reads which devices have commands under way."""
        self._open = {
            (row.account, row.device)
            for row in tx.journal.unfinished()
            if row.device is not None and row.state is not CommandState.ACCEPTED
        }

    def by_evidence(self, desk: Desk, observation: Observation) -> None:
        """See `intake.Confirms`. Only commands whose answer was lost, or that the vendor works on, are settled so:
        one that is just being sent will get its answer."""
        device = getattr(observation, "device", None)
        if not isinstance(device, str) or (desk.policy.account, device) not in self._open:
            return
        for row in desk.tx.journal.open_for(desk.policy.account, device):
            if row.state not in (CommandState.UNKNOWN, CommandState.SENT) or row.evidence is None:
                continue
            if proves(evidence_from(row.evidence), observation, row.dispatched_ms or 0):
                self.settle(
                    desk.tx,
                    row,
                    Outcome(Status.SUCCEEDED, message="seen at the device"),
                    desk,
                )

    def by_confirmation(self, desk: Desk, confirmation: Confirmation) -> None:
        """See `intake.Confirms`."""
        self._confirmations.take(desk, confirmation)

    def review(self, desk: Desk) -> None:
        """See `intake.Confirms`."""
        self._confirmations.review(desk)

    def seen_since(self, tx: Tx, row: JournalRow) -> bool:
        """Whether what is known of the device already proves the command: the vendor's report may have come before
        the answer was given up."""
        if row.evidence is None or row.device is None or row.dispatched_ms is None:
            return False
        evidence = evidence_from(row.evidence)
        device = tx.devices.get(row.account, row.device)
        if device is None:
            return False
        if evidence.metric is not None:
            entry = device.metrics.get(evidence.metric)
            return entry is not None and entry[0] == evidence.value and int(entry[1]) > row.dispatched_ms
        return any(
            _is_after(int(device.evented[f"event:{code}"][2]), row.dispatched_ms)
            for code in evidence.events
            if f"event:{code}" in device.evented
        )

    def _observe(self, tx: Tx, row: JournalRow, outcome: Outcome, desk: Desk | None, taken: Taken) -> None:
        if outcome.observations and self._roster.has(row.account):
            self._on_desk(
                tx,
                row.account,
                desk,
                lambda own: self._intake.take_onto(own, outcome.observations, taken),
            )

    def _on_desk(self, tx: Tx, account: str, desk: Desk | None, work: Callable[[Desk], None]) -> None:
        """`work` on the open desk of the account, or on one of its own."""
        own = desk or self._intake.desk(tx, self._roster.policy(account))
        work(own)
        if desk is None:
            self._intake.close(own)

    def _note_open(self, row: JournalRow) -> None:
        if row.device is None:
            return
        if row.state is not CommandState.ACCEPTED:
            # never taken out again: a look at the journal for a device without open commands costs little
            self._open.add((row.account, row.device))


def _attempt(row: JournalRow, outcome: Outcome) -> int:
    """The attempt that an acknowledgement tells of. Requests that only read are not counted in the journal: whether
    one left is told by how it ended."""
    read = not row.writes and (
        outcome.status in (Status.SUCCEEDED, Status.TIMED_OUT)
        or (outcome.status is Status.FAILED and outcome.code in _ANSWERED and row.account != GATEWAY)
    )
    return max(1, row.attempt) if read or outcome.status is Status.ACCEPTED else row.attempt


def _with_record(outcome: Outcome, taken: Taken) -> Outcome:
    if outcome.status is not Status.SUCCEEDED or outcome.result is not None or not taken.records:
        return outcome
    return Outcome(
        outcome.status,
        outcome.code,
        outcome.message,
        outcome.vendor_code,
        outcome.vendor_ref,
        taken.records[-1],
    )


def arm(row: JournalRow, spec: CommandSpec, params: object) -> None:
    """Notes in a new row what would prove it later."""
    row.evidence = evidence_json(spec.evidence(params))


def evidence_json(evidence: Evidence | None) -> Json:
    """As it is kept in the journal."""
    if evidence is None:
        return None
    return {"metric": evidence.metric, "value": evidence.value, "events": sorted(evidence.events)}


def evidence_from(kept: Json) -> Evidence:
    """The inverse of `evidence_json`."""
    return Evidence(kept["metric"], kept["value"], frozenset(kept["events"]))


def proves(evidence: Evidence, observation: Observation, since_ms: int) -> bool:
    """Whether an observation made after `since_ms` proves a command."""
    match observation:
        case Reading() | Words():
            observed = unix_ms(
                (observation.observed_at if isinstance(observation, Reading) else None)
                or observation.received_at
            )
            return (
                evidence.metric is not None
                and observed > since_ms
                and observation.metrics.get(evidence.metric) == evidence.value
            )
        case Event():
            at = observation.happened_at or observation.received_at
            return observation.code in evidence.events and _is_after(unix_ms(at), since_ms)
        case Availability():
            word = "online" if observation.online else "offline"
            at = observation.at or observation.received_at
            return observation.announced and word in evidence.events and _is_after(unix_ms(at), since_ms)
        case _:
            return False


def _is_after(at_ms: int, since_ms: int) -> bool:
    """Whether an event came later. Vendors tell whole seconds: one of the same second counts."""
    return at_ms > since_ms or (at_ms % 1000 == 0 and at_ms == since_ms - since_ms % 1000)
