"""The control API of the simulated platform: login, queue of tasks (page 2.2, 4.9 to 4.20). No I/O.

What a task does to a meter happens at the meter's wake-up, in `cloud`; here it only waits, ends and is told.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.simulators.iotmeter import wire
from bridge.simulators.iotmeter.tasks import OPEN_STATES, Task, TaskQueue
from bridge.simulators.iotmeter.wire import LIST_CONDITIONS, RECORD_FIELDS, Malformed

NOT_TO_DELETE = "找不到要删除的数据"
NOT_TO_CHANGE = "找不到要修改的数据"
DONE = "操作完成"

Note = Callable[[Task, str, int], None]
"""Told of what happened to a task: task, effect, number of the request."""


@dataclass(frozen=True, slots=True)
class Account:
    """What the platform knows of its customer."""

    company_no: str
    api_key: str = field(repr=False)
    login_name: str
    password: str = field(repr=False)

    @property
    def digest(self) -> str:
        """MD5 of the password, lower case."""
        return hashlib.md5(self.password.encode(), usedforsecurity=False).hexdigest()


class Sessions:
    """Tokens with their ends. `single`: a login ends the session before it."""

    def __init__(self, rng: random.Random, life_s: float) -> None:
        self.life_s = life_s
        self.single = False
        self.logins = 0
        self._rng = rng
        self._ends: dict[str, float] = {}

    def open(self, now_s: float) -> tuple[str, float]:
        """A new token and when it ends."""
        if self.single:
            self._ends.clear()
        self.logins += 1
        token = f"FAKE{self._rng.getrandbits(512):0128x}"
        self._ends[token] = now_s + self.life_s
        return token, self._ends[token]

    def knows(self, token: str, now_s: float) -> bool:
        return self._ends.get(token, 0.0) > now_s

    def expire(self) -> None:
        """No token is good any more."""
        self._ends.clear()


class ControlDesk:
    """Answers of the control API. `processors`: the names that it takes."""

    def __init__(self, queue: TaskQueue, note: Note, processors: Sequence[str] = ("iotmeterv1",)) -> None:
        self.queue = queue
        self.processors = processors
        self.false_results = False
        self._note = note
        self._answers: Mapping[str, Callable[[str, Mapping[str, str], Any, int], dict[str, Any]]] = {
            "CtrlData/Add": self._add,
            "CtrlData/Update": self._update,
            "CtrlData/Delete": self._delete,
            "CtrlData/GetModel": self._model,
            "CtrlData/GetList": self._list,
            "CtrlData/Cancel": lambda name, _query, body, n: self._one("cancel", name, body, n),
            "CtrlData/Retry": lambda name, _query, body, n: self._one("retry", name, body, n),
            "CtrlData/AddMulti": self._add_multi,
            "CtrlData/UpdateMulti": self._update_multi,
            "CtrlData/DeleteMulti": lambda _name, _query, body, n: self._multi("delete", body, n),
            "CtrlData/CancelMulti": lambda _name, _query, body, n: self._multi("cancel", body, n),
            "CtrlData/RetryMulti": lambda _name, _query, body, n: self._multi("retry", body, n),
            "CtrlData/GetDetial": self._text,
            "Constants/CompanyInfo": lambda _name, _query, _body, _n: wire.good({}),
        }

    def endpoints(self) -> tuple[str, ...]:
        return tuple(self._answers)

    def answer(
        self, endpoint: str, name: str, query: Mapping[str, str], body: Any, request: int
    ) -> dict[str, Any]:
        """The answer to call number `request`. Raises Malformed."""
        return self._answers[endpoint](name, query, body, request)

    def _add(self, _name: str, _query: Mapping[str, str], body: Any, request: int) -> dict[str, Any]:
        return wire.good(self._queued(wire.task_of(body, self.processors), request).ctrl_id)

    def _queued(self, fields: Mapping[str, Any], request: int) -> Task:
        task = self.queue.add(fields)
        self._note(task, "task_queued", request)
        return task

    def _update(self, _name: str, _query: Mapping[str, str], body: Any, request: int) -> dict[str, Any]:
        task = self.queue.overwrite(wire.check("record", body, RECORD_FIELDS, complete=True))
        if task is None:
            return wire.bad(0, NOT_TO_CHANGE)
        self._note(task, "task_updated", request)
        return wire.good(task.ctrl_id)

    def _delete(self, name: str, _query: Mapping[str, str], body: Any, request: int) -> dict[str, Any]:
        _expect_empty(body)
        return self._outcome("delete", _ctrl_id(name), request)

    def _one(self, deed: str, name: str, body: Any, request: int) -> dict[str, Any]:
        _expect_empty(body)
        return self._outcome(deed, _ctrl_id(name), request)

    def _outcome(self, deed: str, ctrl_id: int, request: int) -> dict[str, Any]:
        task, message = self._do(deed, ctrl_id, request)
        return wire.bad(0, message) if message or task is None else wire.good(ctrl_id)

    def _do(self, deed: str, ctrl_id: int, request: int) -> tuple[Task | None, str]:
        """Cancels, retries or deletes; the task and why not (empty: done)."""
        task = self.queue.get(ctrl_id)
        if task is None:
            return None, NOT_TO_DELETE if deed == "delete" else NOT_TO_CHANGE
        if deed == "delete":
            self.queue.delete(ctrl_id)
        elif deed == "cancel":
            if task.state != 0:
                return task, "任务已发送"
            task.state = 5
        else:
            if task.state in OPEN_STATES or task.state == 3:
                return task, "任务不能重试"
            task.state, task.returned = 0, "{}"
        effect = {"delete": "task_deleted", "cancel": "task_cancelled", "retry": "task_retried"}[deed]
        self._note(task, effect, request)
        return task, ""

    def _model(self, name: str, _query: Mapping[str, str], body: Any, _request: int) -> dict[str, Any]:
        _expect_empty(body)
        task = self.queue.get(_ctrl_id(name))
        return wire.bad(None, "找不到数据") if task is None else wire.good(task.record())

    def _text(self, name: str, _query: Mapping[str, str], body: Any, _request: int) -> dict[str, Any]:
        _expect_empty(body)
        task = self.queue.get(_ctrl_id(name))
        return wire.bad(None, "找不到数据") if task is None else wire.good(task.describe())

    def _list(self, _name: str, query: Mapping[str, str], body: Any, _request: int) -> dict[str, Any]:
        start, count = wire.rows_of(query)
        conditions = wire.check("body", body, LIST_CONDITIONS, complete=False)
        rows = [task.record() for task in self.queue.search(conditions)]
        return wire.listed(rows, start, count)

    def _add_multi(self, _name: str, _query: Mapping[str, str], body: Any, request: int) -> dict[str, Any]:
        checked = [wire.task_of(one, self.processors) for one in _array(body)]
        tasks = [self._queued(fields, request) for fields in checked]
        return _multi_page(
            [_item(task.ctrl_id, task.target, not self.false_results, "") for task in tasks], ""
        )

    def _update_multi(self, _name: str, _query: Mapping[str, str], body: Any, request: int) -> dict[str, Any]:
        items = []
        for one in _array(body):
            record = wire.check("record", one, RECORD_FIELDS, complete=True)
            task = self.queue.overwrite(record)
            if task is not None:
                self._note(task, "task_updated", request)
            message = "" if task else NOT_TO_CHANGE
            items.append(_item(record["ctrl_id"], record["target_comm_no"], task is not None, message))
        return _multi_page(items, DONE)

    def _multi(self, deed: str, body: Any, request: int) -> dict[str, Any]:
        items = []
        for ctrl_id in _array(body):
            if type(ctrl_id) is not int:
                raise Malformed("an id is no number")
            task, message = self._do(deed, ctrl_id, request)
            items.append(_item(ctrl_id, task.target if task else "", not message, message))
        return _multi_page(items, DONE)


def _item(ctrl_id: int, target: str, result: bool, message: str) -> dict[str, Any]:
    return {"ctrl_id": ctrl_id, "target_comm_no": target, "result": result, "message": message}


def _multi_page(items: list[dict[str, Any]], message: str) -> dict[str, Any]:
    return {**wire.listed(items, 0, len(items)), "Message": message}


def _array(body: Any) -> list[Any]:
    if not isinstance(body, list) or not body:
        raise Malformed("the body is no array with something in it")
    return body


def _expect_empty(body: Any) -> None:
    if body is not None:
        raise Malformed("no body is documented")


def _ctrl_id(name: str) -> int:
    if not name.isdigit():
        raise Malformed("no ctrl_id in the path")
    return int(name)
