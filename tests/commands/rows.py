"""The form of the tables: one row per command, its requests written from the vendor's page and not from the adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bridge.simulators.faults import Fault
from tests.commands.stage import Sent, Stage

Acks = tuple[tuple[str, str | None, Any], ...]


@dataclass(frozen=True)
class End:
    """How a command ends whose answer was lost, and how often it was sent for that."""

    status: str
    sends: int = 1
    code: str | None = None


DONE, AGAIN = End("succeeded"), End("succeeded", sends=2)
FAILED = End("failed", code="no_answer")
TIMED_OUT = End("timed_out", code="no_answer")
NOBODY_KNOWS = End("indeterminate", code="no_answer")
READ_ACKS: Acks = (("accepted", None, None), ("succeeded", None, None))


@dataclass(frozen=True)
class Row:
    """One command. `target`: the device, None for the account. `reserved`: keys of the contract beside the parameters.

    `requests`: all that the cloud is asked, in order. `acks`: status, code and vendor code of each acknowledgement.
    `result`: of the last one, or the set of its keys. `effects`: what the cloud did. `words`: what is in the path or
    the body of the request that carries it out, and of no other one. `fault`: its name in the plan of faults.
    `acted`, `idle`: the end after an answer that was lost, where the vendor did it and where it did not.
    `leaves_trace`: whether the ledger shows a second execution. `prepare`: what the cloud must be like.
    """

    command: str
    params: dict[str, Any]
    target: str | None
    requests: tuple[Sent, ...]
    words: str
    fault: str
    acted: End = DONE
    idle: End = AGAIN
    effects: tuple[str, ...] = ()
    acks: Acks = (("accepted", None, None), ("succeeded", None, 0))
    result: Any = None
    reserved: dict[str, Any] = field(default_factory=dict)
    leaves_trace: bool = True
    prepare: Callable[[Any], None] = lambda _cloud: None

    @property
    def payload(self) -> dict[str, Any]:
        return {"id": "c-1", **self.params, **self.reserved}

    async def ordered(self, stage: Stage, **more: Any) -> None:
        """Publishes the command."""
        await stage.order(self.target, self.command, {**self.payload, **more})

    def sends(self, stage: Stage) -> int:
        """How often the request that carries it out reached the cloud."""
        return sum(self.is_it(one) for one in stage.sent())

    def is_it(self, one: Sent) -> bool:
        line, body = one
        return self.words in f"{line} {body}"


@dataclass(frozen=True)
class Loss:
    """A way in which an answer is lost. `acts`: whether the cloud did what was asked."""

    name: str
    acts: bool
    fault: dict[str, Any]

    def strike(self, stage: Stage, row: Row, count: int = 1) -> None:
        """The next `count` answers to this command are lost so."""
        stage.cloud.faults.add(Fault(endpoint=row.fault, count=count, **self.fault))


LOSSES = (
    Loss("closed after the effect", acts=True, fault={"kind": "lose_reply"}),
    Loss("closed before the effect", acts=False, fault={"kind": "refuse_before_acting"}),
    Loss("silent after the effect", acts=True, fault={"kind": "lose_reply", "seconds": 90.0}),
    Loss("500 with the effect", acts=True, fault={"kind": "http_500", "acts": True}),
    Loss("503 without the effect", acts=False, fault={"kind": "http_500", "acts": False, "status": 503}),
    Loss("unreadable with the effect", acts=True, fault={"kind": "garbage", "acts": True}),
    Loss("unreadable without the effect", acts=False, fault={"kind": "garbage", "acts": False}),
    Loss("half an answer with the effect", acts=True, fault={"kind": "truncated_json", "acts": True}),
)


def unclear(code: int) -> tuple[Loss, Loss]:
    """A code of the vendor's that leaves the outcome open."""
    return (
        Loss(f"{code} with the effect", acts=True, fault={"kind": "native_code", "code": code, "acts": True}),
        Loss(f"{code} without the effect", acts=False, fault={"kind": "native_code", "code": code}),
    )
