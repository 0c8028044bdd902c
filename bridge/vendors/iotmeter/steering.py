"""`cancel` and `retry`: commands about another command's task (page iotmeter 4.15, 4.16; METRICS 4.1)."""

from __future__ import annotations

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.errors import LostAnswer, NotSent, Refused, Rejection, VendorError
from bridge.domain.interlocks import Interlocks
from bridge.ports import Effect
from bridge.vendors.iotmeter.api import left_open
from bridge.vendors.iotmeter.checks import Queue
from bridge.vendors.iotmeter.commands import device_of
from bridge.vendors.iotmeter.deeds import moves_valve
from bridge.vendors.iotmeter.faults import Missing
from bridge.vendors.iotmeter.tasks import (
    CANCELLED,
    DANGEROUS,
    DOUBTFUL_STATES,
    FAILED,
    GONE,
    Task,
    outcome,
)


class Steering:
    """Invariant: a task that must not run twice is never retried."""

    def __init__(self, queue: Queue, interlocks: Interlocks) -> None:
        self._queue = queue
        self._interlocks = interlocks

    async def cancel(self, order: Order, effect: Effect) -> Outcome:
        """Whether a task that was sent can be cancelled is not stated, so its state is read afterwards."""
        task = await self._before(order)
        if task.is_final:
            return _cancelled(task)
        path = f"CtrlData/Cancel/{task.ctrl_id}"
        await self._queue.api.change("CtrlData/Cancel", path, None, effect)
        try:
            task = self._queue.task(await self._queue.api.model(task.ctrl_id))
        except VendorError as error:
            raise left_open(error, "cancelled, but reading the task failed") from error
        if task.is_final:
            return _cancelled(task)
        return Outcome(Status.SENT, vendor_code=task.state, vendor_ref=task.ctrl_id)

    async def retry(self, order: Order, effect: Effect) -> Outcome:
        """The task then goes on under its own id. Raises Rejection `not_allowed` for money."""
        task = await self._before(order)
        refuse_retry(task, self._interlocks)
        await self._queue.api.change_once("CtrlData/Retry", f"CtrlData/Retry/{task.ctrl_id}", None, effect)
        return _retried(task)

    async def probe(self, order: Order) -> Outcome | None:
        """What became of it, by the task's state."""
        try:
            task = await self._named(order)
        except Missing:
            return Outcome(Status.INDETERMINATE, "no_answer", GONE)
        if order.spec.name == "cancel":
            return _cancelled(task) if task.is_final else None
        ended_badly = task.state in DOUBTFUL_STATES | {FAILED, CANCELLED}
        return None if ended_badly else _retried(task)

    async def _before(self, order: Order) -> Task:
        """The task that is meant, before anything leaves."""
        try:
            return await self._named(order)
        except LostAnswer as error:
            raise NotSent(error.message, operation=error.operation, native_code=error.native_code) from None

    async def _named(self, order: Order) -> Task:
        target = device_of(order).native_id
        if order.params.ctrl_id is not None:
            task = self._queue.task(await self._queue.api.model(order.params.ctrl_id))
            if task.target != target:
                raise Refused(f"task {task.ctrl_id} is one of another device", code="not_allowed")
            return task
        found = await self._queue.tasks(order.params.command_id, target)
        if not found:
            raise Missing(f"the platform has no task {order.params.command_id!r} for this device")
        return found[-1]


def refuse_retry(task: Task, interlocks: Interlocks) -> None:
    """Raises Rejection for a task that must not be sent a second time: money, and what would pass the operator's
    rules for switching by."""
    if task.command in DANGEROUS:
        raise Rejection(
            "not_allowed", f"task {task.ctrl_id}, a {task.command!r}, is never sent a second time"
        )
    if moves_valve(task.kind) and interlocks.of(task.target).watch_switching:
        raise Rejection(
            "interlock",
            f"task {task.ctrl_id} moves the valve of {task.target}, and switching it is under interlocks that a retry "
            f"would pass by: send {task.command!r} itself",
        )


def _retried(task: Task) -> Outcome:
    return Outcome(Status.SUCCEEDED, vendor_ref=task.ctrl_id, result={"ctrl_id": task.ctrl_id})


def _cancelled(task: Task) -> Outcome:
    if task.state == CANCELLED:
        return outcome(task, Status.SUCCEEDED, None, "the task is cancelled")
    return outcome(task, Status.FAILED, "device_refused", f"the task has ended otherwise: state {task.state}")
