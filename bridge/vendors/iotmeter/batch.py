"""Commands of the account about control tasks, one by one or in batches (METRICS 4.3; page iotmeter 4.11 to 4.20).

Invariant: `add_tasks` and `retry_tasks` leave once; everything else leaves the same state if it is made twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, tzinfo

from bridge.domain.command import Order, Outcome, Status
from bridge.domain.errors import BadReply, LostAnswer, NotSent, Rejection
from bridge.domain.text import Json, flag
from bridge.ports import Effect
from bridge.vendorkit.spec import Kit
from bridge.vendors.iotmeter.checks import Queue
from bridge.vendors.iotmeter.commands import ABSENT_S, TASK_S, ends_at, new_task
from bridge.vendors.iotmeter.faults import Missing
from bridge.vendors.iotmeter.notes import Notes
from bridge.vendors.iotmeter.params import NewTask, TaskRecord, moment_at
from bridge.vendors.iotmeter.settings import IotMeterSettings
from bridge.vendors.iotmeter.steering import refuse_retry
from bridge.vendors.iotmeter.tasks import (
    CANCELLED,
    DOUBTFUL_STATES,
    FAILED,
    Task,
    full_type,
    public_record,
)
from bridge.vendors.iotmeter.wire import Answer, Record, decoded, records_of, text_of, whole

Item = dict[str, Json]

_NOT_LEFT = "the task cannot be read, so nothing was sent"


class Batches:
    """The task commands of one account."""

    def __init__(self, queue: Queue, kit: Kit, notes: Notes, settings: IotMeterSettings) -> None:
        self._api = queue.api
        self._clock = kit.clock
        self._interlocks = kit.policy.interlocks
        self._notes = notes
        self._settings = settings
        self._zone = settings.zone
        self._queue = queue
        self._actions: Mapping[str, Callable[[Order, Effect], Awaitable[Outcome]]] = {
            "list_tasks": self._list,
            "get_task": self._get,
            "describe_task": self._describe,
            "update_task": self._update,
            "delete_task": self._delete,
            "add_tasks": self._add_many,
            "update_tasks": self._update_many,
            "delete_tasks": self._many,
            "cancel_tasks": self._many,
            "retry_tasks": self._retry_many,
        }
        self._questions: Mapping[str, Callable[[Order], Awaitable[Outcome | None]]] = {
            "update_task": self._was_updated,
            "update_tasks": self._was_updated,
            "delete_task": self._was_deleted,
            "delete_tasks": self._was_deleted,
            "cancel_tasks": self._was_cancelled,
            "retry_tasks": self._was_retried,
            "add_tasks": self._was_added,
        }

    async def run(self, order: Order, effect: Effect) -> Outcome:
        """As `VendorAdapter.execute`."""
        return await self._actions[order.spec.name](order, effect)

    async def probe(self, order: Order) -> Outcome | None:
        """As `VendorAdapter.probe`."""
        question = self._questions.get(order.spec.name)
        return None if question is None else await question(order)

    # looking ------------------------------------------------------------------------------------------------------

    async def _list(self, order: Order, _effect: Effect) -> Outcome:
        params = order.params
        rows, total = await self._api.listed(params.conditions(self._zone), params.startrow, params.rowcount)
        tasks = [public_record(row) for row in rows]
        return Outcome(
            Status.SUCCEEDED, result={"tasks": tasks, "total": len(tasks) if total is None else total}
        )

    async def _get(self, order: Order, _effect: Effect) -> Outcome:
        record = await self._api.model(order.params.ctrl_id)
        return Outcome(
            Status.SUCCEEDED,
            vendor_code=whole(record.get("ctrl_state")),
            vendor_ref=order.params.ctrl_id,
            result=public_record(record),
        )

    async def _describe(self, order: Order, _effect: Effect) -> Outcome:
        text = await self._api.text(order.params.ctrl_id)
        return Outcome(Status.SUCCEEDED, vendor_ref=order.params.ctrl_id, result={"text": text})

    # changing one -------------------------------------------------------------------------------------------------

    async def _update(self, order: Order, effect: Effect) -> Outcome:
        wanted = order.params.ctrl_id
        answer = await self._api.change(
            "CtrlData/Update", "CtrlData/Update", order.params.body(self._zone), effect
        )
        if whole(answer.data) != wanted:
            raise BadReply("the answer names another task", operation="CtrlData/Update")
        return Outcome(Status.SUCCEEDED, vendor_ref=wanted, result={"ctrl_id": wanted})

    async def _delete(self, order: Order, effect: Effect) -> Outcome:
        ctrl_id = order.params.ctrl_id
        await self._api.change("CtrlData/Delete", f"CtrlData/Delete/{ctrl_id}", None, effect)
        return Outcome(Status.SUCCEEDED, vendor_ref=ctrl_id, result={"ctrl_id": ctrl_id})

    # changing many ------------------------------------------------------------------------------------------------

    async def _add_many(self, order: Order, effect: Effect) -> Outcome:
        bodies = add_bodies(order, self._settings.processor, self._zone, self._clock.now())
        answer = await self._api.change_once("CtrlData/AddMulti", "CtrlData/AddMulti", bodies, effect)
        by_target = {text_of(item.get("target_comm_no")): item for item in self._items(answer)}
        items = [
            await self._queued(order, number, task, by_target.get(task.target_comm_no))
            for number, task in enumerate(order.params.tasks, 1)
        ]
        await self._notes.own(item["ctrl_id"] for item in items)
        return _of_items(items)

    async def _queued(self, order: Order, number: int, task: NewTask, item: Record | None) -> Item:
        """Queued is what has an id and a good result; if only one of the two holds, the task itself tells (4.17)."""
        given: Record = item or {}
        ctrl_id = whole(given.get("ctrl_id")) or 0
        good = flag(given.get("result")) is True
        if (ctrl_id > 0) != good:
            found = await self._by_id(ctrl_id) if ctrl_id > 0 else await self._by_name(order, number, task)
            ctrl_id, good = (found.ctrl_id, True) if found is not None else (ctrl_id, False)
        return _item(
            ctrl_id, task.target_comm_no, good and ctrl_id > 0, text_of(given.get("message")),
            define_no=_define_no(order, number),
        )  # fmt: skip

    async def _by_id(self, ctrl_id: int) -> Task | None:
        try:
            return self._queue.task(await self._api.model(ctrl_id))
        except Missing:
            return None

    async def _by_name(self, order: Order, number: int, task: NewTask) -> Task | None:
        found = await self._queue.tasks(_define_no(order, number), task.target_comm_no)
        return found[-1] if found else None

    async def _update_many(self, order: Order, effect: Effect) -> Outcome:
        bodies = [task.body(self._zone) for task in order.params.tasks]
        answer = await self._api.change("CtrlData/UpdateMulti", "CtrlData/UpdateMulti", bodies, effect)
        return self._verdicts(answer, [task.ctrl_id for task in order.params.tasks])

    async def _many(self, order: Order, effect: Effect) -> Outcome:
        endpoint = {"delete_tasks": "CtrlData/DeleteMulti", "cancel_tasks": "CtrlData/CancelMulti"}[
            order.spec.name
        ]
        answer = await self._api.change(endpoint, endpoint, list(order.params.ctrl_ids), effect)
        return self._verdicts(answer, order.params.ctrl_ids)

    async def _retry_many(self, order: Order, effect: Effect) -> Outcome:
        for ctrl_id in order.params.ctrl_ids:
            refuse_retry(await self._before(ctrl_id), self._interlocks)
        endpoint = "CtrlData/RetryMulti"
        answer = await self._api.change_once(endpoint, endpoint, list(order.params.ctrl_ids), effect)
        return self._verdicts(answer, order.params.ctrl_ids)

    async def _before(self, ctrl_id: int) -> Task:
        try:
            return self._queue.task(await self._api.model(ctrl_id))
        except LostAnswer as error:
            raise NotSent(f"{_NOT_LEFT}: {error.message}", operation=error.operation) from None

    def _items(self, answer: Answer) -> list[Record]:
        try:
            return records_of(answer.data)
        except ValueError as error:
            raise BadReply(str(error), operation="CtrlData") from None

    def _verdicts(self, answer: Answer, wanted: Sequence[int]) -> Outcome:
        """Every item counts by itself, whatever the envelope says."""
        told = {whole(item.get("ctrl_id")): item for item in self._items(answer)}
        items = []
        for ctrl_id in wanted:
            item = told.get(ctrl_id, {})
            items.append(
                _item(
                    ctrl_id,
                    text_of(item.get("target_comm_no")),
                    flag(item.get("result")) is True,
                    text_of(item.get("message")),
                )
            )
        return _of_items(items)

    # what became of them ------------------------------------------------------------------------------------------

    async def _was_added(self, order: Order) -> Outcome | None:
        """Each by its name; what stays unfound for a minute was not queued, and is not queued again."""
        items = []
        for number, task in enumerate(order.params.tasks, 1):
            found = await self._by_name(order, number, task)
            items.append(
                _item(
                    found.ctrl_id if found else 0,
                    task.target_comm_no,
                    found is not None,
                    "" if found else "not queued",
                    define_no=_define_no(order, number),
                )
            )
        await self._notes.own(item["ctrl_id"] for item in items)
        if not all(item["result"] for item in items) and not self._waited(order):
            return None
        return _of_items(items)

    async def _was_updated(self, order: Order) -> Outcome | None:
        wanted = [order.params] if isinstance(order.params, TaskRecord) else order.params.tasks
        items = []
        for task in wanted:
            record = await self._record(task.ctrl_id)
            same = record is not None and _same(task.body(self._zone), record)
            items.append(_item(task.ctrl_id, task.target_comm_no, same, ""))
        return _of_items(items) if all(item["result"] for item in items) else None

    async def _was_deleted(self, order: Order) -> Outcome | None:
        items = [
            _item(ctrl_id, "", await self._record(ctrl_id) is None, "still there") for ctrl_id in _ids(order)
        ]
        return self._known_after_a_minute(order, items)

    async def _was_cancelled(self, order: Order) -> Outcome | None:
        items = []
        for ctrl_id in _ids(order):
            task = await self._by_id(ctrl_id)
            state = task.state if task else None
            items.append(_item(ctrl_id, task.target if task else "", state == CANCELLED, f"state {state}"))
        return self._known_after_a_minute(order, items)

    async def _was_retried(self, order: Order) -> Outcome | None:
        """A task that has not ended badly runs (again); whether another one was tried again, it does not show."""
        items = []
        for ctrl_id in _ids(order):
            task = await self._by_id(ctrl_id)
            ended = task is None or task.state in DOUBTFUL_STATES | {FAILED, CANCELLED}
            items.append(_item(ctrl_id, task.target if task else "", not ended, ""))
        return _of_items(items) if all(item["result"] for item in items) else None

    def _known_after_a_minute(self, order: Order, items: Sequence[Item]) -> Outcome | None:
        if all(item["result"] for item in items) or self._waited(order):
            return _of_items(items)
        return None

    def _waited(self, order: Order) -> bool:
        return self._notes.absent(order.id, self._clock.monotonic()) >= ABSENT_S

    async def _record(self, ctrl_id: int) -> Record | None:
        try:
            return await self._api.model(ctrl_id)
        except Missing:
            return None


def add_bodies(order: Order, processor: str, zone: tzinfo, now: datetime) -> list[dict[str, Json]]:
    """The body of `AddMulti` (4.17). Raises Rejection for a time-out that has passed (Q17)."""
    bodies = []
    for number, task in enumerate(order.params.tasks, 1):
        until = ends_at(now, order.timeout_s or TASK_S)
        if task.ctrl_timeout is not None:
            until = moment_at(task.ctrl_timeout, zone)
        if until <= now:
            raise Rejection("invalid_params", f"tasks.{number - 1}.ctrl_timeout: has passed")
        kind = full_type(task.ctrl_type, processor)
        bodies.append(
            new_task(
                processor=kind.partition(".")[0],
                define_no=_define_no(order, number),
                target=task.target_comm_no,
                devtype=task.target_devtype,
                span=(now, until),
                kind=kind,
                data=task.ctrl_data,
                zone=zone,
            )
        )
    return bodies


def _ids(order: Order) -> list[int]:
    if order.spec.name == "delete_task":
        return [order.params.ctrl_id]
    return list(order.params.ctrl_ids)


def _define_no(order: Order, number: int) -> str:
    return f"{order.id}-{number}"


def _item(ctrl_id: int, target: str, good: bool, message: str, define_no: str = "") -> Item:
    item: Item = {"ctrl_id": ctrl_id, "target_comm_no": target, "result": good}
    item["message"] = "" if good else message
    return item | ({"ctrl_define_no": define_no} if define_no else {})


def _of_items(items: Sequence[Item]) -> Outcome:
    bad = [item for item in items if not item["result"]]
    result = {"items": list(items)}
    if not bad:
        return Outcome(Status.SUCCEEDED, result=result)
    return Outcome(
        Status.FAILED,
        code="vendor_error",
        message=f"{len(bad)} of {len(items)} tasks: not done; `result` tells which",
        result=result,
    )


def _same(wanted: Record, record: Record) -> bool:
    """Whether the record holds what was to be written, times aside."""
    for name, value in wanted.items():
        if name in ("ctrl_time", "ctrl_timeout", "sync_time"):
            continue
        if name in ("ctrl_data", "return_data"):
            if decoded(value) != decoded(record.get(name)):
                return False
        elif text_of(value) != text_of(record.get(name)):
            return False
    return True
