"""What a command message means, and whether it may run as far as that can be said without the store."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime

from bridge.contract.commands import (
    CommandMessage,
    Envelope,
    fingerprint_of,
    open_envelope,
    readable_id,
    validate,
)
from bridge.contract.topics import CommandTopic
from bridge.domain.command import CommandSpec, Order, Params
from bridge.domain.device import Device
from bridge.domain.errors import Rejection
from bridge.domain.observation import Value
from bridge.domain.text import canonical
from bridge.flow.roster import Roster

log = logging.getLogger("bridge.commands")

OWN_FAULT = "a fault of the gateway; see its log"


@dataclass(frozen=True, slots=True)
class Judged:
    """A command that may run, or the reason why not. `mark` is set once command and parameters are valid."""

    topic: CommandTopic
    command_id: str
    has_id: bool
    rejection: Rejection | None = None
    envelope: Envelope | None = None
    spec: CommandSpec | None = None
    device: Device | None = None
    params: Params | None = None
    mark: bytes | None = None


class Judge:
    """Reads command messages."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def judge(self, topic: CommandTopic, message: CommandMessage) -> Judged:
        """The command, or why it must not run."""
        if message.retained:
            return _rejected(
                _unread(topic, message),
                Rejection("retained", "commands must not be retained: publish without the retain flag"),
            )
        try:
            envelope = open_envelope(message)
        except Rejection as rejection:
            return _rejected(_unread(topic, message), rejection)
        judged = Judged(
            topic,
            envelope.id or made_up_id(),
            has_id=envelope.id is not None,
            envelope=envelope,
        )
        return self._judge_command(judged, envelope, message.received_at)

    def _judge_command(self, judged: Judged, envelope: Envelope, received_at: datetime) -> Judged:
        topic = judged.topic
        executor = self._roster.executor(topic.account)
        device = None
        spec = params = mark = None
        try:
            if executor is None:
                raise Rejection("unknown_command", "the gateway takes no commands now")
            if topic.device_level is not None:
                device = self._roster.by_level(topic.account, topic.device_level)
                if device is None:
                    raise Rejection(
                        "unknown_device", f"account {topic.account!r} has no device {topic.device_level!r}"
                    )
            offered = executor.commands(device)
            spec = offered.get(topic.command)
            if spec is None:
                names = ", ".join(sorted(offered)) or "none"
                raise Rejection("unknown_command", f"no command {topic.command!r} here (there are: {names})")
            params = validate(spec, envelope)
            mark = canonical([topic.device_level, fingerprint_of(spec.name, params)])
            judged = Judged(
                topic, judged.command_id, judged.has_id, None, envelope, spec, device, params, mark
            )
            self._check_rules(judged, spec, params, envelope, received_at)
        except Rejection as error:
            rejection = error
        except Exception:
            log.exception(
                "command.judging_failed", extra={"account": topic.account, "command": topic.command}
            )
            rejection = Rejection("internal", OWN_FAULT)
        else:
            return judged
        return Judged(
            topic,
            judged.command_id,
            judged.has_id,
            rejection,
            envelope,
            spec,
            device,
            params,
            mark,
        )

    def _check_rules(
        self, judged: Judged, spec: CommandSpec, params: Params, envelope: Envelope, now: datetime
    ) -> None:
        policy = self._roster.policy(judged.topic.account)
        if envelope.expires_at is not None and envelope.expires_at <= now:
            raise Rejection("expired", "expires_at has passed")
        if not policy.allows(spec.name):
            raise Rejection("not_allowed", f"the configuration does not allow {spec.name!r}")
        if spec.check is not None:
            spec.check(self.order(judged, spec, params, {}))
        if envelope.dry_run:
            return
        if spec.needs_id and not judged.has_id:
            raise Rejection("id_required", f"{spec.name!r} needs an `id`, so that it is never executed twice")
        device = judged.device.native_id if judged.device else None
        confirm = policy.confirm | policy.interlocks.of(device).confirm
        reason = _dangerous(spec, params, confirm)
        if reason is not None and not envelope.confirm:
            raise Rejection("confirm_required", f'{reason}: needs "confirm": true')

    def order(self, judged: Judged, spec: CommandSpec, params: Params, known: dict[str, Value]) -> Order:
        """As the executor gets it."""
        envelope = judged.envelope
        return Order(
            id=judged.command_id,
            account=judged.topic.account,
            device=judged.device,
            spec=spec,
            params=params,
            known=known,
            expires_at=envelope.expires_at if envelope else None,
            timeout_s=(envelope.timeout_s if envelope else None) or spec.timeout_s,
        )


def made_up_id() -> str:
    """An id for a command that came without one."""
    return "auto-" + secrets.token_hex(8)


def _unread(topic: CommandTopic, message: CommandMessage) -> Judged:
    """One whose envelope is not, or cannot be, opened; with its id as far as one can be read."""
    return Judged(topic, readable_id(message) or made_up_id(), has_id=False)


def _rejected(judged: Judged, rejection: Rejection) -> Judged:
    return Judged(judged.topic, judged.command_id, judged.has_id, rejection)


def _dangerous(spec: CommandSpec, params: Params, confirm: frozenset[str]) -> str | None:
    if spec.dangerous:
        return f"{spec.name!r} is dangerous"
    if spec.name in confirm:
        return f"the configuration asks for a confirmation of {spec.name!r}"
    return spec.dangerous_if(params) if spec.dangerous_if is not None else None
