"""Carrying out the commands of a meter (page iotmeter, sections 6 and 7): queue a task, follow it to its end.

Invariant: a task bears the command's `id` as `ctrl_define_no`, and one that left without an answer is searched for
by that name before anything is concluded, and before anything is queued again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.device import Device
from bridge.domain.errors import LostAnswer, NotSent, Refused
from bridge.domain.observation import Observation, Origin, Reading, Words
from bridge.domain.text import Json
from bridge.ports import Effect
from bridge.vendorkit.spec import Kit
from bridge.vendors.iotmeter.checks import Queue
from bridge.vendors.iotmeter.commands import ABSENT_S, DAY_S, ctrl_type, device_of, task_body
from bridge.vendors.iotmeter.faults import Missing, TokenRefused
from bridge.vendors.iotmeter.notes import Notes
from bridge.vendors.iotmeter.params import Valve
from bridge.vendors.iotmeter.reader import Reader
from bridge.vendors.iotmeter.settings import IotMeterSettings
from bridge.vendors.iotmeter.tasks import (
    GONE,
    NEVER_AGAIN,
    TIMED_OUT,
    Task,
    Verdict,
    charge_mistake,
    charged,
    outcome,
    suffix_of,
    verdict,
)


class Execution:
    """The commands that are tasks of the platform."""

    def __init__(
        self, queue: Queue, reader: Reader, notes: Notes, kit: Kit, settings: IotMeterSettings
    ) -> None:
        self._queue = queue
        self._reader = reader
        self._notes = notes
        self._clock = kit.clock
        self._vault = kit.vault
        self._settings = settings
        self._zone = settings.zone

    # queueing a task ----------------------------------------------------------------------------------------------

    async def run(self, order: Order, effect: Effect) -> Outcome:
        """As `VendorAdapter.execute`."""
        queue, device = self._queue, device_of(order)
        if order.dispatched_at is not None:
            found = await self._before_again(order)
            if found is not None:
                return self._taken(found.ctrl_id)
        await self._prepare(order, device)
        body = task_body(order, device, self._settings.processor, self._zone, self._clock.now())
        try:
            return self._taken(await queue.api.add(body, effect))
        except TokenRefused:
            # refused, so not queued; the search makes sure of it
            found = await self._search(order, self._clock.now() - timedelta(seconds=DAY_S))
        if found is not None:
            return self._taken(found.ctrl_id)
        return self._taken(await queue.api.add(body, effect))

    async def _before_again(self, order: Order) -> Task | None:
        """The task of an earlier attempt, if the platform has it after all."""
        try:
            return await self._search(order, _since(order))
        except LostAnswer as error:
            # of this attempt nothing has left, whatever the search brought
            raise NotSent(error.message, operation=error.operation, native_code=error.native_code) from None

    async def _prepare(self, order: Order, device: Device) -> None:
        """What has to be known before a task of this kind leaves."""
        params = order.params
        if order.spec.name == "open_account":
            await self._vault.put(_opening_key(order), {"open": order.known.get("account_open")})
        if order.spec.name != "recharge" or not self._settings.recharge_check:
            return
        counters = await self._counters_before(order, device)
        try:
            mistake = charge_mistake(counters, params.charge_value, params.total_value, params.charge_times)
        except ValueError as error:
            raise Refused(f"recharge_check: {error}; nothing was sent", code="no_answer") from None
        if mistake is not None:
            raise Refused(
                f"recharge_check: {mistake}; nothing was sent", code="values_differ", result=counters
            )

    async def _counters_before(self, order: Order, device: Device) -> Json:
        try:
            return await self._queue.settled_counters(order, device)
        except LostAnswer as error:
            raise NotSent(error.message, operation=error.operation, native_code=error.native_code) from None

    def _taken(self, ctrl_id: int) -> Outcome:
        return Outcome(Status.SENT, vendor_code=0, vendor_ref=ctrl_id)

    async def _search(self, order: Order, since: datetime | None) -> Task | None:
        suffix = suffix_of(ctrl_type(self._settings.processor, order.spec.name, order.params))
        return await self._queue.find(order.id, device_of(order).native_id, suffix, since)

    # what became of a task ----------------------------------------------------------------------------------------

    async def probe(self, order: Order) -> Outcome | None:
        """As `VendorAdapter.probe`."""
        queue, known = self._queue, isinstance(order.vendor_ref, int)
        if known:
            try:
                task = await queue.look(order.vendor_ref)
            except Missing:
                return Outcome(Status.INDETERMINATE, "no_answer", GONE)
        else:
            found = await self._search(order, _since(order))
            if found is None:
                return self._not_found(order)
            task = found
        self._notes.present(order.id)
        judged = await self._judged(order, task)
        if judged is not None and order.spec.name == "open_account":
            await self._vault.put(_opening_key(order), None)
        if judged is None and not known:
            return Outcome(Status.SENT, vendor_code=task.state, vendor_ref=task.ctrl_id)
        return judged

    def _not_found(self, order: Order) -> Outcome | None:
        """For what may be queued again the flow goes on; the rest must stay unfound for a minute first (7.2)."""
        opens = isinstance(order.params, Valve) and order.params.state == "open"
        if order.spec.name not in NEVER_AGAIN and not opens:
            return None
        if self._notes.absent(order.id, self._clock.monotonic()) < ABSENT_S:
            return None
        self._notes.present(order.id)
        return Outcome(
            Status.FAILED,
            "vendor_unreachable",
            "not queued: no answer came, and the platform has no such task; it was not sent again",
        )

    async def _judged(self, order: Order, task: Task) -> Outcome | None:
        name = order.spec.name
        if not task.is_final and self._queue.overdue(task):
            task = replace(task, state=TIMED_OUT, state_text="the platform never ended it")
        decided = verdict(name, order.params, task)
        if decided is Verdict.UNCLEAR:
            return await self._questioned(order, task)
        if isinstance(decided, Outcome):
            return await self._with_proof(order, decided)
        if name == "open_account" and await self._has_opened(order):
            return self._opened(task)
        return None

    async def _questioned(self, order: Order, task: Task) -> Outcome | None:
        """The questions of METRICS 4.1 about a command that must not run twice."""
        unknown = outcome(task, Status.INDETERMINATE, "no_answer", "nobody can tell whether the meter did it")
        if order.spec.name == "recharge":
            return await self._counted(order, task, unknown)
        if order.spec.name == "open_account" and await self._has_opened(order, ask=True):
            return self._opened(task)
        return unknown

    async def _counted(self, order: Order, task: Task, unknown: Outcome) -> Outcome | None:
        """The recharge counter decides. None while the meter has not been asked yet."""
        since = _since(order) or task.created_at
        if since is None:
            return unknown
        try:
            counters = await self._queue.ask_counters("after", order, device_of(order), since)
        except Refused:
            return unknown
        if not counters.ended:
            return None
        arrived = charged(counters.returned, order.params.charge_times)
        if arrived is None:
            return unknown
        decided = (
            outcome(task, Status.SUCCEEDED, None, "the meter's counter shows the recharge")
            if arrived
            else outcome(
                task, Status.FAILED, "device_refused", "the meter's counter does not show the recharge"
            )
        )
        return replace(decided, result=counters.returned)

    async def _has_opened(self, order: Order, *, ask: bool = False) -> bool:
        """Whether the account, not open before the command, is open by a later reading."""
        before = await self._vault.get(_opening_key(order))
        if not isinstance(before, dict) or before.get("open") is not False:
            return False
        if order.known.get("account_open") is True:
            return True
        return ask and any(
            reading.metrics.get("account_open") is True for reading in await self._reader.proof(order)
        )

    def _opened(self, task: Task) -> Outcome:
        return outcome(task, Status.SUCCEEDED, None, "a later reading shows the account open")

    async def _with_proof(self, order: Order, decided: Outcome) -> Outcome:
        """A success with the state that it left the meter in."""
        wanted = _wanted(order)
        if decided.status is not Status.SUCCEEDED or wanted is None:
            return decided
        name, value = wanted
        seen: list[Observation] = [*await self._reader.proof(order)]
        now = self._clock.now()
        native_id = device_of(order).native_id
        if not seen:
            seen = [Reading(native_id, now, Origin.COMMAND, {name: value})]
        elif not any(isinstance(one, Reading) and one.metrics.get(name) == value for one in seen):
            seen.append(Words(native_id, now, Origin.COMMAND, {name: value}))
        return replace(decided, observations=seen)


def _since(order: Order) -> datetime | None:
    """Older tasks of the same name belong to an earlier life of the `id`."""
    return order.dispatched_at - timedelta(seconds=DAY_S) if order.dispatched_at is not None else None


def _opening_key(order: Order) -> str:
    return f"opening:{order.id}"


def _wanted(order: Order) -> tuple[str, str | bool] | None:
    """The metric that a successful command leaves behind."""
    if order.spec.name == "valve":
        return "valve_state", "open" if order.params.state == "open" else "closed"
    return ("account_open", True) if order.spec.name == "open_account" else None
