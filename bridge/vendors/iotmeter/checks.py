"""`get_recharge` as a question of the gateway's own: asked before a recharge if the account wants it, and after one
whose end is not known (page iotmeter, 7.2).

The task that asks bears a name made from the command's `id`, so that it is found again after a restart.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from bridge.domain.command import Order
from bridge.domain.device import Device
from bridge.domain.errors import AuthFailed, LostAnswer, NotSent, RateLimited, Refused, VendorError
from bridge.domain.text import Json
from bridge.ports import Clock
from bridge.vendors.iotmeter.api import ControlApi
from bridge.vendors.iotmeter.commands import GRACE_S, TASK_S, ends_at, new_task
from bridge.vendors.iotmeter.faults import Missing
from bridge.vendors.iotmeter.notes import Notes
from bridge.vendors.iotmeter.tasks import METER, SUCCESS, SUFFIXES, Task, suffix_of, task_of
from bridge.vendors.iotmeter.wire import Record

_KIND = SUFFIXES["get_recharge"][0]
_PAUSES_S = (1.0, 2.0)
_SLACK = timedelta(seconds=2)
"""Times of tasks are whole seconds."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What a meter says of its recharges. `ended`: the question will get no answer any more; `returned` is None until
    there is one."""

    returned: Json = None
    ended: bool = False


class Queue:
    """The platform's queue as a command sees it: tasks found by name, tasks added, none of them twice."""

    def __init__(self, api: ControlApi, clock: Clock, notes: Notes, zone: tzinfo, processor: str) -> None:
        self.api = api
        self._clock = clock
        self._notes = notes
        self._zone = zone
        self._processor = processor

    async def tasks(self, define_no: str, target: str) -> list[Task]:
        """The tasks of this name for this device, oldest first. The platform's filter is not relied upon."""
        conditions: Record = {"ctrl_define_no": define_no, "target_comm_no": target}
        found = [self._readable(record) for record in await self.api.search(conditions)]
        mine = [
            task
            for task in found
            if task is not None and task.define_no == define_no and task.target == target
        ]
        return sorted(mine, key=lambda task: task.ctrl_id)

    async def find(self, define_no: str, target: str, suffix: str, since: datetime | None) -> Task | None:
        """The first task of this name, device and type that was not made before `since`."""
        for task in await self.tasks(define_no, target):
            old = since is not None and task.created_at is not None and task.created_at < since - _SLACK
            if suffix_of(task.kind) == suffix and not old:
                return task
        return None

    async def look(self, ctrl_id: int) -> Task:
        """One task as it is now. A look that brings no answer, or a refusal, is made up to three times (page 5): the
        next one by the schedule may be half an hour away. Raises Missing where there is no such task."""
        for pause_s in _PAUSES_S:
            try:
                return self.task(await self.api.model(ctrl_id))
            except (Missing, AuthFailed, RateLimited, NotSent):
                raise
            except VendorError:
                await self._clock.sleep(pause_s)
        return self.task(await self.api.model(ctrl_id))

    def task(self, record: Record) -> Task:
        """Raises LostAnswer for a record that cannot be read."""
        task = self._readable(record)
        if task is None:
            raise LostAnswer("the task cannot be read", operation="CtrlData/GetModel")
        return task

    def overdue(self, task: Task) -> bool:
        """Whether the platform should have ended this task by itself (7.3)."""
        return task.ends_at is not None and self._clock.now() > task.ends_at + timedelta(seconds=GRACE_S)

    async def ask_counters(self, stage: str, order: Order, device: Device, since: datetime) -> Counters:
        """Queues the question, or looks at the one that was queued after `since`. To be called again until it has
        `ended`."""
        name = check_name(stage, order.id)
        found = await self.find(name, device.native_id, _KIND, since)
        if found is None:
            await self._ask(name, device)
            return Counters()
        await self._notes.own([found.ctrl_id])
        return self.counters(found)

    def counters(self, task: Task) -> Counters:
        """What a question has brought so far."""
        if task.is_final:
            return Counters(task.returned if task.state == SUCCESS else None, ended=True)
        return Counters(ended=self.overdue(task))

    async def _ask(self, name: str, device: Device) -> None:
        now = self._clock.now()
        body = new_task(
            processor=self._processor,
            define_no=name,
            target=device.native_id,
            devtype=METER,
            span=(now, ends_at(now, TASK_S)),
            kind=f"{self._processor}.{_KIND}",
            data={},
            zone=self._zone,
        )
        await self._notes.own([await self.api.add(body, None)])

    async def settled_counters(self, order: Order, device: Device) -> Json:
        """The counters before a recharge: waits for the meter's next wake-up. A question that an earlier run of the
        gateway queued for the same command is taken up. Raises Refused if there is no answer."""
        since = self._clock.now() - timedelta(seconds=TASK_S)
        pause_s = 5.0
        while True:
            counters = await self.ask_counters("before", order, device, since)
            if counters.ended:
                break
            await self._clock.sleep(pause_s)
            pause_s = min(300.0, pause_s * 2)
        if counters.returned is None:
            raise Refused(
                "recharge_check: the meter's counters could not be read; nothing was sent", code="no_answer"
            )
        return counters.returned

    def _readable(self, record: Record) -> Task | None:
        try:
            return task_of(record, self._zone)
        except ValueError:
            return None


def check_name(stage: str, order_id: str) -> str:
    """At most 50 characters, different for each command and stage."""
    return f"{stage}-{hashlib.sha256(order_id.encode()).hexdigest()[:40]}"
