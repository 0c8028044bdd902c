"""Commands: what a vendor offers, the life of one command, and what its acknowledgements say.

Life (states in the journal; every arrow is in `TRANSITIONS`, nothing else changes a state):

    ACCEPTED ──leaves──▶ DISPATCHED ──vendor took it──▶ SENT ─┐
       │  ▲                 │  │ ▲                            ├──▶ FINAL
       │  └─never left──────┘  │ └─sent once more─┐           │
       │                       └─no answer──▶ UNKNOWN ────────┤
       └──expired, cancelled, refused before it left──────────┘

A row says DISPATCHED on disk before its request leaves. A process that finds a DISPATCHED row at its start
treats it as UNKNOWN: only asking the vendor, or the command's `AfterLoss`, may go on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from bridge.domain.device import Device
from bridge.domain.interlocks import Act
from bridge.domain.observation import Observation, Value
from bridge.domain.text import Json

ACK_CODES: dict[str, str] = {
    "invalid_payload": "the payload is no JSON object (and no bare value that the command takes)",
    "invalid_params": "a parameter is missing, unknown, of the wrong kind or out of range",
    "unknown_device": "the account has no such device",
    "unknown_command": "this device (or account) does not take such a command",
    "id_required": "the command moves money or cannot be repeated safely: it needs an `id`",
    "id_reused": "the `id` was used before, for something else",
    "retained": "commands must not be retained",
    "expired": "`expires_at` (or the message's expiry) has passed",
    "not_allowed": "the configuration's allow-list, or the vendor's rules, forbid it",
    "confirm_required": 'the command is dangerous and needs `"confirm": true`',
    "interlock": "a lock or another interlock forbids it now",
    "unsupported": "the device's firmware or type cannot do it",
    "bad_frame": "the frame's header, length or checksum is wrong",
    "rate_limited": "the vendor's limit leaves no room; the message says when there is some",
    "no_answer": "the device or the vendor did not answer in its time",
    "device_refused": "the device said no",
    "values_differ": "the device took other values than those asked for; `result` has them",
    "auth_failed": "the vendor refuses the account's credentials or rights",
    "device_offline": "the vendor says that the device is not connected",
    "vendor_error": "the vendor answered with an error",
    "vendor_unreachable": "the vendor's cloud could not be reached; nothing was sent",
    "internal": "a fault of the gateway itself",
}
"""The closed list of CONTRACT section 7."""


class Status(StrEnum):
    """`status` of an acknowledgement."""

    ACCEPTED = "accepted"
    SENT = "sent"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    INDETERMINATE = "indeterminate"

    @property
    def final(self) -> bool:
        """Whether nothing follows."""
        return self not in (Status.ACCEPTED, Status.SENT)


class CommandState(StrEnum):
    """Where a journalled command stands."""

    ACCEPTED = "accepted"
    DISPATCHED = "dispatched"
    SENT = "sent"
    UNKNOWN = "unknown"
    FINAL = "final"


TRANSITIONS: dict[CommandState, frozenset[CommandState]] = {
    CommandState.ACCEPTED: frozenset({CommandState.DISPATCHED, CommandState.FINAL}),
    CommandState.DISPATCHED: frozenset(
        {
            CommandState.ACCEPTED,
            CommandState.DISPATCHED,
            CommandState.SENT,
            CommandState.UNKNOWN,
            CommandState.FINAL,
        }
    ),
    CommandState.SENT: frozenset({CommandState.SENT, CommandState.UNKNOWN, CommandState.FINAL}),
    CommandState.UNKNOWN: frozenset(
        {CommandState.UNKNOWN, CommandState.DISPATCHED, CommandState.SENT, CommandState.FINAL}
    ),
    CommandState.FINAL: frozenset(),
}


def advance(before: CommandState, after: CommandState) -> CommandState:
    """`after`, if a command may go there from `before`; else ValueError: a bug, never bad input."""
    if after not in TRANSITIONS[before]:
        raise ValueError(f"a command cannot go from {before} to {after}")
    return after


class Params(BaseModel):
    """Base of every command's parameter model: strict kinds, nothing beyond the named keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NoParams(Params):
    """A command without parameters."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """An observation of the device that proves a command: a metric with a value, or one of some events."""

    metric: str | None = None
    value: Value | None = None
    events: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AfterLoss:
    """What happens to a command that left and whose outcome nobody knows (METRICS section 4, last column).

    `ask_at_s`: ages of the loss at which `VendorAdapter.probe` is asked; the first answer that decides ends it.
    `send_again`: how often the command may be sent once more when asking did not decide (0: never), each time
    `again_after_s` after the last ask. `wait_s`: how long to wait for `Evidence` alone. `otherwise`: the end when
    all of that decided nothing, with `code` and `message`.
    """

    ask_at_s: tuple[float, ...] = ()
    send_again: int = 0
    again_after_s: float = 2.0
    wait_s: float = 0.0
    otherwise: Status = Status.INDETERMINATE
    code: str = "no_answer"
    message: str = "no answer, and the vendor cannot tell what happened"


@dataclass(frozen=True, slots=True)
class Follow:
    """When the vendor is asked about a command that it took and works on (`sent`): at these ages, then every
    `then_every_s`, until `until_s`, or, where the command has a `timeout_s`, until `grace_s` after that. What is not
    decided then ends as `otherwise`: INDETERMINATE where asking again would not be harmless."""

    ask_at_s: tuple[float, ...] = ()
    then_every_s: float = 300.0
    until_s: float = 600.0
    grace_s: float = 0.0
    otherwise: Status = Status.TIMED_OUT


Checker = Callable[["Order"], None]


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command as a device (or account) offers it.

    `params` validates and documents the parameters. `idempotent`, `needs_id`, `dangerous` are what `info` shows
    (CONTRACT section 4). `dangerous_if` names a condition on the parameters that also needs `confirm`.
    `writes`: changes something at the vendor, so a `lock` stops it. `exclusive`: no other exclusive command of the
    device begins before it is final, even while the vendor works on it; the others go on. `part` names the vendor's
    API that carries it out, where the account has several with credentials of their own (empty: the main one).
    `uses_state`: needs `Order.known`. `direct`: its request is the first thing that `execute` asks of the vendor (but
    for a login), so `execute` may begin while the command is on its way to the disk.
    `check` raises Rejection for what the schema cannot say (a wrong checksum, a
    firmware too old). `after_loss`, `evidence`, `acts` (what it does to devices, for interlocks), `repeats` (the
    ids, or the vendor's names, of earlier commands that it has carried out once more), `targets` (the devices that a
    command of the account changes, None where it does not name them) and `claims` (those of them for which it is
    exclusive) get the validated parameters.
    """

    name: str
    description: str
    params: type[Params] = NoParams
    idempotent: bool = True
    needs_id: bool = False
    dangerous: bool = False
    dangerous_if: Callable[[Params], str | None] | None = None
    writes: bool = True
    exclusive: bool = False
    uses_state: bool = False
    direct: bool = False
    part: str = ""
    check: Checker | None = None
    after_loss: Callable[[Any], AfterLoss] = field(default=lambda _params: AfterLoss())
    evidence: Callable[[Any], Evidence | None] = field(default=lambda _params: None)
    follow: Callable[[Device | None], Follow] = field(default=lambda _device: Follow())
    timeout_s: float | None = None
    acts: Callable[[Any], Sequence[Act]] = field(default=lambda _params: ())
    repeats: Callable[[Any], Sequence[str | int]] = field(default=lambda _params: ())
    targets: Callable[[Any], Sequence[str] | None] = field(default=lambda _params: ())
    claims: Callable[[Any], Sequence[str]] = field(default=lambda _params: ())

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the parameters, as `info` shows it."""
        schema = self.params.model_json_schema()
        for name, told in schema.get("properties", {}).items():
            schema["properties"][name] = _without_null(told)
        schema.pop("description", None)
        schema.pop("title", None)
        return schema

    @property
    def once(self) -> bool:
        """Whether nothing and nobody may have it executed a second time."""
        return self.needs_id and not self.idempotent

    def bare_key(self) -> str | None:
        """The parameter that a bare payload stands for: the only one that is required, if there is exactly one."""
        required = [name for name, info in self.params.model_fields.items() if info.is_required()]
        return required[0] if len(required) == 1 else None


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without the null that is its model's "not given": as a value, null is refused."""
    kept = {key: value for key, value in field.items() if (key, value) != ("default", None)}
    kinds = [kind for kind in kept.get("anyOf", ()) if kind != {"type": "null"}]
    return {**kinds[0], **{key: kept[key] for key in kept if key != "anyOf"}} if len(kinds) == 1 else kept


@dataclass(frozen=True, slots=True)
class Order:
    """A command on its way to a vendor. `params` is validated by the spec's model.

    `known` is the latest state of the device (metric → value), where the command uses it. `vendor_ref` is what the
    vendor called it before (None until then). `timeout_s` is how long the device may take.
    """

    id: str
    account: str
    device: Device | None
    spec: CommandSpec
    params: Any
    known: Mapping[str, Value] = field(default_factory=dict)
    vendor_ref: Json = None
    expires_at: datetime | None = None
    timeout_s: float | None = None
    dispatched_at: datetime | None = None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an adapter knows about a command now.

    `status` SENT: the vendor took it and works on it, `vendor_ref` names it there. A final status ends it.
    `observations` are taken in with the acknowledgement, in one transaction (the read-back state of the device).
    `inventory`: all devices of the account as the vendor lists them now; taken in before it, what is missing is gone.
    `quiet`: SENT without an acknowledgement, where it is the gateway that works on it, not the vendor.
    """

    status: Status
    code: str | None = None
    message: str = ""
    vendor_code: Json = None
    vendor_ref: Json = None
    result: Json = None
    observations: Sequence[Observation] = ()
    inventory: Sequence[Device] | None = None
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """The vendor request of a dry run, secrets masked; `explain` says what else is worth knowing (frame bytes)."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    explain: Json = None

    def request(self) -> Json:
        """The request as a document; None where no vendor is asked."""
        if not self.method:
            return None
        document: dict[str, Json] = {"method": self.method, "url": self.url}
        if self.headers:
            document["headers"] = dict(self.headers)
        return {**document, "body": self.body}
