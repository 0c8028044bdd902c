"""Commands against a hostile world: lost answers, crashes at any transaction, failing disks, duplicates, locks.

Whatever happens in whatever order: what must not repeat takes effect at most once, every accepted command ends with
exactly one final acknowledgement, what was rejected never reaches the vendor, and no ending is a lie.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.contract.commands import CommandMessage
from bridge.domain.command import Outcome, Status
from bridge.domain.errors import LostAnswer, StoreError
from bridge.domain.observation import Batch, Confirmation, Observation, Origin
from bridge.domain.times import rfc3339
from tests.fakes.harness import Harness
from tests.fakes.vendor import (
    Done,
    Script,
    auth_failed,
    hangs,
    lost,
    never_left,
    not_sent,
    offline,
    queued,
    rate_limited,
    refused,
    taken,
)

DEVICES = ("D1", "D2")
WITHOUT_EFFECT = {"failed", "cancelled", "expired", "rejected"}


def _slow(script: Script, *, before: bool) -> Script:
    return replace(script, slow_before_s=7.0) if before else replace(script, slow_s=7.0)


def _script(kind: str, number: int) -> Script:
    made = {
        "fine": Script(),
        "slow": Script(slow_s=7.0),
        "waits": Script(slow_before_s=7.0),
        "lost": lost(acted=False),
        "lost, done": lost(acted=True),
        "lost late, done": _slow(lost(acted=True), before=False),
        "not sent": not_sent(),
        "never left": never_left(),
        "waits, never left": _slow(never_left(), before=True),
        "read before lost": never_left(LostAnswer("no answer to the reading before")),
        "waits, read before lost": _slow(never_left(LostAnswer("no answer to the reading")), before=True),
        "refused": refused(),
        "offline": offline(),
        "auth failed": auth_failed(),
        "rate limited": rate_limited(20.0),
        "hangs": hangs(acted=False),
        "hangs, done": hangs(acted=True),
        "fault": Script(after=RuntimeError("a bug"), acts=False),
        "fault, done": Script(after=RuntimeError("a bug"), acts=True),
        "fault before": never_left(RuntimeError("a bug")),
        "taken": taken(f"task-{number}"),
        "queued": queued(f"task-{number}", answered=True),
        "queued slowly": _slow(queued(f"task-{number}", answered=True), before=False),
        "queued, lost": queued(f"task-{number}", answered=False),
    }
    return made[kind]


SCRIPTS = st.just(["fine"]) | st.lists(
    st.sampled_from(
        [
            "fine", "slow", "waits", "lost", "lost, done", "lost late, done", "not sent", "never left",
            "waits, never left", "read before lost", "waits, read before lost", "refused", "offline",
            "auth failed", "rate limited", "hangs", "hangs, done", "fault", "fault, done", "fault before",
        ]
    ),
    min_size=1,
    max_size=2,
)  # fmt: skip

TASKS = st.lists(
    st.sampled_from(["queued", "queued slowly", "queued, lost", "lost", "hangs", "never left"]),
    min_size=1,
    max_size=2,
)
"""What becomes of a command that the vendor queues."""

WITHOUT_ID = -1
ORDERS: dict[str, tuple[str, dict[str, Any], int]] = {
    "on": ("breaker", {"state": "on"}, 1),
    "off": ("breaker", {"state": "off"}, 2),
    "pulse": ("pulse_on", {"delay_s": 1}, 1),
    "pulse without id": ("pulse_on", {"delay_s": WITHOUT_ID}, 1),
    "nonsense": ("pulse_on", {"delay_s": 0}, 0),
    "threshold": ("threshold", {"amps": 5}, 2),
    "pay": ("recharge", {"charge_value": 12.5}, 1),
    "read": ("read", {}, 0),
    "valve": ("valve", {"state": "open"}, 1),
    "calibrate": ("calibrate", {}, 1),
}
"""Command, parameters, and how often it may take effect."""


@dataclass
class Sent:
    """A message that a sender published. `id` None: without one; then `pulse_s` tells its effect."""

    message: CommandMessage
    command: str
    id: str | None
    most: int
    pulse_s: int | None = None


class Commands(RuleBasedStateMachine):
    """One gateway, one vendor, and everything that can go wrong between them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.sent: list[Sent] = []
        self.number = 0
        self.excused: set[str] = set()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        self.harness = Harness(self.folder, devices=DEVICES)
        self.run(self.harness.start())

    def teardown(self) -> None:
        try:
            if hasattr(self, "harness"):
                self.run(self._come_to_rest())
                self._judge()
        finally:
            if hasattr(self, "harness"):
                self.run(self.harness.crash())
            self.loop.close()
            shutil.rmtree(self.folder)

    # what senders do ----------------------------------------------------------------------------------------------

    def _send(
        self, command: str, device: str, payload: dict[str, Any], most: int, scripts: list[str]
    ) -> None:
        self.number += 1
        if command == "calibrate":
            scripts = ["taken"]
        self.harness.vendor.will(command, *(_script(kind, self.number) for kind in scripts))
        pulse_s = 100 + self.number if payload.get("delay_s") == WITHOUT_ID else None
        command_id = f"c{self.number}" if pulse_s is None else None
        given = {"id": command_id, **payload} if pulse_s is None else {"delay_s": pulse_s}
        message = self.harness.message(f"home/{device}/cmd/{command}", given)
        self.sent.append(Sent(message, command, command_id, most, pulse_s))
        self.run(self._deliver(message))

    @rule(
        kind=st.sampled_from(sorted(ORDERS)),
        device=st.sampled_from(DEVICES),
        scripts=SCRIPTS,
        tasks=TASKS,
        trouble=st.sampled_from(
            [
                "none",
                "fails",
                "fails when done",
                "dies",
                "dies when done",
                "lock",
                "lock, unlock",
                "shows",
                "reported",
                "expires",
                "crash",
            ]
        ),
        transactions=st.integers(1, 6),
        seconds=st.sampled_from([0.0, 1.0, 8.0, 62.0, 700.0]),
    )
    def order(
        self,
        kind: str,
        device: str,
        scripts: list[str],
        tasks: list[str],
        trouble: str,
        transactions: int,
        seconds: float,
    ) -> None:
        """A command, and what happens to it before its answer comes."""
        command, payload, most = ORDERS[kind]
        if command == "valve":
            scripts = tasks
        if trouble == "expires":
            payload = {**payload, "expires_at": rfc3339(self.harness.at(float(transactions)))}
        self._prepare(trouble, transactions)
        self._send(command, device, payload, most, scripts)
        if "lock" in trouble:
            self.lock("lock", device)
        if "unlock" in trouble:
            self.lock("unlock", None)
        if trouble == "shows":
            self.show(device, payload.get("state", "on"))
        if trouble == "reported":
            self.report(f"task-{self.number}")
        if trouble == "crash":
            self.crash()
        self.run(self._wait(seconds))

    def _prepare(self, trouble: str, transactions: int) -> None:
        """What is to go wrong at a moment that is still to come."""
        if trouble == "fails":
            self.fail_to_write(after=transactions, times=3)
        if trouble == "dies":
            self.die_soon(transactions, after=bool(transactions % 2))
        if trouble == "fails when done":
            self._when_done(lambda: self.fail_to_write(after=0, times=transactions))
        if trouble == "dies when done":
            self._when_done(lambda: self.die_soon(1, after=bool(transactions % 2)))
        if trouble == "reported":
            self._when_done(lambda: self.report(f"task-{self.number}"))

    @precondition(lambda self: self.sent)
    @rule(how=st.sampled_from(["redelivered", "again", "for something else"]), data=st.data())
    def publish_once_more(self, how: str, data: st.DataObject) -> None:
        before = data.draw(st.sampled_from(self.sent))
        topic, payload = before.message.topic.removeprefix("mb/"), before.message.payload
        if how == "redelivered":
            message = self.harness.message(topic, payload, mid=before.message.mid, dup=True)
        elif before.id is None:
            return
        elif how == "again":
            message = self.harness.message(topic, payload)
        elif before.most:
            message = self.harness.message("home/D1/cmd/wipe", {"id": before.id, "confirm": True})
        else:
            return
        self.run(self._deliver(message))

    def lock(self, command: str, device: str | None) -> None:
        scope = {"account": "home", "device": device} if device else {}
        self.run(self._deliver(self.harness.message(f"bridge/cmd/{command}", scope)))

    # what the world does ------------------------------------------------------------------------------------------

    def crash(self) -> None:
        self.run(self._restart())

    def _when_done(self, then: Callable[[], None]) -> None:
        """Something happens at the moment at which a device acts."""

        def once(_done: Done) -> None:
            self.harness.vendor.on_effect = lambda _done: None
            then()

        self.harness.vendor.on_effect = once

    def die_soon(self, transactions: int, after: bool) -> None:
        store = self.harness.store
        store.dies_at = store.count + transactions
        store.dies_after_commit = after

    def fail_to_write(self, after: int, times: int) -> None:
        count = 0

        def fails() -> bool:
            nonlocal count
            count += 1
            return after < count <= after + times

        self.harness.store.fails = fails

    def show(self, device: str, state: str) -> None:
        self.run(self._show(device, state))

    def report(self, ref: str) -> None:
        """The vendor's own word on a task, perhaps before the answer that names it, and as often as it likes."""
        word = Confirmation(
            vendor_ref=ref,
            native_state=3,
            received_at=self.harness.clock.now(),
            command_id=None,
            device="D1",
            data={"ctrl_id": ref},
            commands=frozenset({"valve", "calibrate"}),
            replaces=frozenset(),
        )
        if self.loop.is_running():
            task = asyncio.ensure_future(self.harness.intake.take("home", [Batch((word,))]))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        else:
            self.run(self._take(word))

    @precondition(lambda self: self.sent)
    @rule(number=st.integers(1, 30), done=st.booleans())
    def report_later(self, number: int, done: bool) -> None:
        ref = f"task-{min(number, self.number)}"
        tasks = self.harness.vendor.tasks
        if done and ref in tasks and tasks[ref] is None:
            tasks[ref] = Outcome(Status.SUCCEEDED)
        self.report(ref)

    @rule(status=st.sampled_from([Status.SUCCEEDED, Status.FAILED, None]), answers=st.booleans())
    def change_the_world(self, status: Status | None, answers: bool) -> None:
        for ref, outcome in self.harness.vendor.tasks.items():
            if outcome is None and status is not None:
                self.harness.vendor.tasks[ref] = Outcome(status)
        self.harness.vendor.probe_error = None if answers else LostAnswer("no answer")
        self.lock("unlock", None)

    # how it is done -----------------------------------------------------------------------------------------------

    async def _deliver(self, message: CommandMessage) -> None:
        """As a broker and the session do: again while the store fails, and as DUP after a crash, until it is taken."""
        while True:
            task = asyncio.ensure_future(self.harness.admission.admit(message))
            await self.harness.clock.settle()
            if task.done() and not isinstance(task.exception(), StoreError):
                task.result()
                break
            if not task.done():
                await self._restart()
                topic = message.topic.removeprefix("mb/")
                message = self.harness.message(topic, message.payload, mid=message.mid, dup=True)
        await self._revive()

    async def _wait(self, seconds: float) -> None:
        await self.harness.advance(seconds)
        await self._revive()

    async def _show(self, device: str, state: str) -> None:
        await self._take(self.harness.reading({"switch_state": state}, device=device, origin=Origin.PUSH))

    async def _take(self, observation: Observation) -> None:
        task = asyncio.ensure_future(self.harness.take(observation))
        await self.harness.clock.settle()
        if task.done() and task.exception() is not None:
            assert isinstance(task.exception(), StoreError)
        await self._revive()

    async def _revive(self) -> None:
        if self.harness.store.dead:
            await self._restart()

    async def _restart(self) -> None:
        unfinished = {row.id for row in self.harness.journal() if row.state != "final"}
        self.excused |= unfinished  # the answer was lost with the process
        await self.harness.restart()

    async def _come_to_rest(self) -> None:
        vendor = self.harness.vendor
        vendor.scripts.clear()
        vendor.on_effect = lambda _done: None
        vendor.probe_error = None
        await self._wait(100)  # what was answered is told before anything else happens
        await self.harness.restart()  # what hangs would hang forever
        await self._deliver(self.harness.message("bridge/cmd/unlock", {}))
        await self.harness.advance(1500)
        for ref, outcome in vendor.tasks.items():
            vendor.tasks[ref] = outcome or Outcome(Status.TIMED_OUT)
        await self.harness.advance(1500)

    # what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def nothing_happens_too_often(self) -> None:
        if not hasattr(self, "harness"):
            return
        vendor = self.harness.vendor
        for one in self.sent:
            assert self._effects(one) <= one.most, one
        assert all(count <= 1 for count in vendor.most_under_way.values())

    def _effects(self, one: Sent) -> int:
        effects = self.harness.vendor.effects
        if one.id is not None:
            return sum(done.id == one.id for done in effects)
        return sum(done.params.get("delay_s") == one.pulse_s for done in effects)

    def _judge(self) -> None:
        self.nothing_happens_too_often()
        acks = self.harness.acks()
        journal = {row.id: row for row in self.harness.journal()}
        finals = Counter(ack["id"] for ack in acks if ack["final"] and ack["status"] != "rejected")
        assert all(row.state == "final" for row in journal.values())
        assert finals == Counter(journal.keys()), "exactly one ending for each that was accepted"
        assert Counter(ack["id"] for ack in acks if ack["status"] == "accepted") == Counter(journal.keys())
        told: dict[str, dict[str, Any]] = {}
        for ack in acks:
            if ack["status"] != "rejected":
                assert not told.get(ack["id"], {}).get("final"), "nothing follows an ending"
                told[ack["id"]] = ack
        for one in self.sent:
            self._judge_one(one, told)
        self._judge_duplicates(acks)

    def _judge_one(self, one: Sent, told: dict[str, dict[str, Any]]) -> None:
        if one.id is None:
            return
        if one.id not in told:
            assert one.id not in self.harness.vendor.executed, "rejected, and executed"
            answers = [ack["status"] for ack in self.harness.acks(one.id)]
            assert answers, "no answer at all"
            assert set(answers) == {"rejected"}
            return
        status = told[one.id]["status"]
        answered = self.harness.vendor.answered.get(one.id)
        if answered is not None and answered.final and one.id not in self.excused:
            assert status == answered, "the vendor's answer was not told"
        if one.command in ("pulse_on", "recharge"):
            if status == "succeeded":
                assert self._effects(one) == 1, "said to be done, and was not"
            if status in WITHOUT_EFFECT:
                assert self._effects(one) == 0, "said not to be done, and was"
        if status in ("cancelled", "expired"):
            assert self._effects(one) == 0

    def _judge_duplicates(self, acks: list[dict[str, Any]]) -> None:
        for copy in self.harness.acks(duplicates=True):
            if copy["duplicate"]:
                assert {**copy, "duplicate": False} in acks


Commands.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TestCommands = Commands.TestCase
