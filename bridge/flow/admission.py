"""The one door for commands: judged, then in one transaction either journalled and accepted, or rejected.

When `admit` returns, the command (or its rejection) is on disk, and the broker may have its PUBACK.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from bridge.contract import payloads
from bridge.contract.commands import CommandMessage
from bridge.contract.topics import Topics
from bridge.domain.command import CommandSpec, CommandState, Outcome, Params, Preview, Status
from bridge.domain.errors import Rejection, VendorError
from bridge.domain.ids import GATEWAY
from bridge.domain.observation import Value
from bridge.domain.text import Json, loads
from bridge.domain.times import unix_ms
from bridge.flow.audit import asked
from bridge.flow.claims import claimed
from bridge.flow.interlocks import acts_json, refusal
from bridge.flow.judging import OWN_FAULT, Judge, Judged
from bridge.flow.locks import lock_on
from bridge.flow.roster import Roster
from bridge.flow.settle import Settler, arm
from bridge.ports import Clock
from bridge.store.protocols import JournalRow, JournalStep, Store, Tx

log = logging.getLogger("bridge.commands")

MOST_REPLY_LEVELS = 100
"""Brokers hang up on who publishes to a deeper topic (Mosquitto: 200 levels, EMQX: 128): all else would wait."""


class Admission:
    """Takes command messages. `requester`: who asks where a message does not say."""

    def __init__(self, store: Store, roster: Roster, settler: Settler, topics: Topics, clock: Clock) -> None:
        self._store = store
        self._roster = roster
        self._judge = Judge(roster)
        self._settler = settler
        self._topics = topics
        self._clock = clock
        self.requester: str | None = None
        self.on_accepted: Callable[[JournalRow], None] = lambda _row: None
        self.on_rejected: Callable[[str], None] = lambda _code: None

    async def admit(self, message: CommandMessage) -> None:
        """Takes one message; what is not a command to one of our accounts is nobody's business. Raises StoreError:
        then nothing is on disk, and the message must stay unacknowledged."""
        topic = self._topics.parse_command(message.topic)
        if topic is None or not (topic.account == GATEWAY or self._roster.has(topic.account)):
            return
        judged = self._judge.judge(topic, message)
        dry = judged.envelope is not None and judged.envelope.dry_run and judged.rejection is None
        if dry:
            judged_known = await self._known(judged)
            await self._store.run(lambda tx: self._answer_dry_run(tx, judged, judged_known, message))
            return
        await self._store.run(lambda tx: self._decide(tx, judged, message), light=True)

    # deciding, in one transaction ---------------------------------------------------------------------------------

    def _decide(self, tx: Tx, judged: Judged, message: CommandMessage) -> None:
        digest = message.digest
        if message.dup and tx.deliveries.matches(message.mid, digest):
            return
        if message.mid:
            tx.deliveries.put(message.mid, digest, unix_ms(message.received_at))
        if judged.has_id and not message.retained:
            known = tx.journal.find(judged.topic.account, judged.command_id)
            if known is not None:
                self._answer_known(tx, judged, known, message)
                return
        if judged.rejection is not None:
            self._reject(tx, judged, judged.rejection, message)
            return
        self._accept(tx, judged, message)

    def _answer_known(self, tx: Tx, judged: Judged, known: JournalRow, message: CommandMessage) -> None:
        """The `id` was used before: its last acknowledgement again, or a rejection if it meant something else."""
        if judged.mark is not None and judged.mark == known.mark:
            document = {**(known.last_ack or {}), "duplicate": True}
            self._settler.publish_ack(
                tx,
                judged.topic.account,
                judged.topic.device_level,
                document,
                self._reply_topic(message),
                message.correlation,
            )
            return
        rejection = judged.rejection
        if judged.mark is not None:
            rejection = Rejection(
                "id_reused",
                f"id {judged.command_id!r} was used before, for another command or other parameters",
            )
        self._reject(tx, judged, rejection or Rejection("id_reused", "the id was used before"), message)

    def _accept(self, tx: Tx, judged: Judged, message: CommandMessage) -> None:
        spec, params, envelope = judged.spec, judged.params, judged.envelope
        if spec is None or params is None or envelope is None or judged.mark is None:
            raise ValueError("accepted without having been judged")
        topic = judged.topic
        native_id = judged.device.native_id if judged.device else None
        held_back = self._held_back(tx, judged, spec, params)
        if held_back is not None:
            self._reject(tx, judged, held_back, message)
            return
        now_ms = unix_ms(self._clock.now())
        row = JournalRow(
            key=0,
            account=topic.account,
            id=judged.command_id,
            device=native_id,
            device_level=topic.device_level,
            command=spec.name,
            params=loads(params.model_dump_json(exclude_unset=True)),
            mark=judged.mark,
            state=CommandState.ACCEPTED,
            created_ms=now_ms,
            updated_ms=now_ms,
            writes=spec.writes,
            has_id=judged.has_id,
            expires_ms=unix_ms(envelope.expires_at) if envelope.expires_at else None,
            timeout_s=envelope.timeout_s or spec.timeout_s,
            reply_topic=self._reply_topic(message),
            correlation=message.correlation,
            requester=message.requester or self.requester,
            acts=acts_json(spec.acts(params)),
        )
        arm(row, spec, params)
        self._settler.acknowledge(tx, row, Outcome(Status.ACCEPTED), self._clock.now())
        tx.journal.insert(row)
        tx.ahead(lambda: self.on_accepted(row))

    def _held_back(self, tx: Tx, judged: Judged, spec: CommandSpec, params: Params) -> Rejection | None:
        """A lock, or a rule of the operator's, that does not let the command pass now."""
        account, native_id = judged.topic.account, judged.device.native_id if judged.device else None
        lock = lock_on(tx, spec, params, account, native_id)
        if lock is not None:
            return Rejection("interlock", f"locked: {lock.reason or 'no reason given'}")
        for name in spec.repeats(params):
            named = tx.journal.find(account, name) if isinstance(name, str) else None
            earlier = [*tx.journal.by_vendor_ref(account, name), *([named] if named is not None else [])]
            money = next((row for row in earlier if self._runs_once(row)), None)
            if money is not None:
                text = f"{money.command!r} ({money.id}) is never executed a second time"
                return Rejection("not_allowed", text)
        if not self._roster.has(account):
            return Rejection("unknown_command", "the account is gone from the configuration")
        taken = claimed(tx, self._roster, spec, params, account, native_id)
        if taken is not None:
            return taken
        interlocks = self._roster.policy(account).interlocks
        return refusal(tx, interlocks, account, native_id, spec.acts(params), self._clock.now())

    def _runs_once(self, row: JournalRow) -> bool:
        executor = self._roster.executor(row.account)
        device = self._roster.device(row.account, row.device) if row.device else None
        spec = executor.commands(device).get(row.command) if executor else None
        return spec is None or spec.once

    def _reject(self, tx: Tx, judged: Judged, rejection: Rejection, message: CommandMessage) -> None:
        self._answer(
            tx,
            judged,
            Outcome(Status.REJECTED, rejection.code, rejection.message, result=rejection.result),
            message,
        )
        self._note_aside(tx, judged, message, "rejected", Status.REJECTED, rejection.code, rejection.message)
        tx.after_commit(lambda: self._told_of_rejection(judged, rejection, message))

    def _note_aside(
        self,
        tx: Tx,
        judged: Judged,
        message: CommandMessage,
        state: str,
        status: Status,
        code: str | None,
        note: str,
        request: Json = None,
    ) -> None:
        """For the audit: what is not executed is no command of the journal."""
        envelope = judged.envelope
        what = asked(
            judged.topic.account,
            judged.device.native_id if judged.device else judged.topic.device_level,
            judged.topic.command,
            judged.command_id,
            message.requester or self.requester,
            loads(judged.params.model_dump_json(exclude_unset=True)) if judged.params is not None else None,
            envelope.expires_at if envelope is not None else None,
        )
        at_ms = unix_ms(self._clock.now())
        tx.journal.note_aside(JournalStep(at_ms, state, note, status, code, request, aside=what))

    def _told_of_rejection(self, judged: Judged, rejection: Rejection, message: CommandMessage) -> None:
        self.on_rejected(rejection.code)
        log.info(
            "command.rejected",
            extra={
                "account": judged.topic.account,
                "device": judged.topic.device_level,
                "command": judged.topic.command,
                "id": judged.command_id,
                "requester": message.requester or self.requester,
                "code": rejection.code,
                "reason": rejection.message,
            },
        )

    def _answer(
        self, tx: Tx, judged: Judged, outcome: Outcome, message: CommandMessage, dry_run: bool = False
    ) -> None:
        document = payloads.ack(
            command_id=judged.command_id,
            command=judged.topic.command,
            account=judged.topic.account,
            device=judged.device.native_id if judged.device else judged.topic.device_level,
            status=outcome.status,
            at=self._clock.now(),
            code=outcome.code,
            message=outcome.message,
            result=outcome.result,
            dry_run=dry_run,
        )
        self._settler.publish_ack(
            tx,
            judged.topic.account,
            judged.topic.device_level,
            document,
            self._reply_topic(message),
            message.correlation,
        )

    # dry runs -----------------------------------------------------------------------------------------------------

    async def _known(self, judged: Judged) -> dict[str, Value]:
        if judged.device is None:
            return {}
        account, native_id = judged.topic.account, judged.device.native_id
        row = await self._store.run(lambda tx: tx.devices.get(account, native_id))
        return {name: entry[0] for name, entry in row.metrics.items()} if row else {}

    def _answer_dry_run(
        self, tx: Tx, judged: Judged, known: dict[str, Value], message: CommandMessage
    ) -> None:
        """The exact request that would have been sent. Uses up no id and is not journalled."""
        digest = message.digest
        if message.dup and tx.deliveries.matches(message.mid, digest):
            return
        if message.mid:
            tx.deliveries.put(message.mid, digest, unix_ms(message.received_at))
        executor = self._roster.executor(judged.topic.account)
        if executor is None or judged.spec is None or judged.params is None:
            return
        held_back = self._held_back(tx, judged, judged.spec, judged.params)
        if held_back is not None:
            self._reject(tx, judged, held_back, message)
            return
        try:
            preview = executor.preview(self._judge.order(judged, judged.spec, judged.params, known))
        except Rejection as rejection:
            self._reject(tx, judged, rejection, message)
            return
        except VendorError as error:
            self._reject(tx, judged, Rejection("unsupported", error.message), message)
            return
        except Exception:
            log.exception("command.preview_failed", extra={"command": judged.topic.command})
            self._reject(tx, judged, Rejection("internal", OWN_FAULT), message)
            return
        outcome = Outcome(
            Status.SUCCEEDED, message="dry run: nothing was sent", result=_preview_json(preview)
        )
        self._answer(tx, judged, outcome, message, dry_run=True)
        self._note_aside(
            tx, judged, message, "dry_run", outcome.status, None, outcome.message, preview.request()
        )

    def _reply_topic(self, message: CommandMessage) -> str | None:
        """The Response Topic, unless it is unusable or would make our answer a command."""
        topic = message.response_topic
        if not topic or any(mark in topic for mark in "+#\x00") or self._topics.is_command(topic):
            return None
        if topic.startswith("$") or topic.count("/") >= MOST_REPLY_LEVELS:
            return None  # the broker's own: Mosquitto cuts off whoever publishes to $SYS or $share
        return topic


def _preview_json(preview: Preview) -> Json:
    result: dict[str, Json] = {"request": preview.request()}
    if preview.explain is not None:
        result["explain"] = preview.explain
    return result
