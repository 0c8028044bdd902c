"""The platform's queue of control tasks (page 4.10 to 4.21, 6.1). No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.simulators.iotmeter.wire import Malformed, joined, spaced, unix_of

STATE_WORDS = {
    0: "等待发送", 1: "已发送", 2: "已应答", 3: "任务成功", 4: "任务失败", 5: "任务取消", 6: "任务超时",
    7: "发送失败", 99: "其他错误",
}  # fmt: skip
OPEN_STATES = (0, 1, 2)


@dataclass(slots=True)
class Task:
    """One record; times as Unix seconds, `ctrl_data` and `return_data` as the text they are."""

    ctrl_id: int
    company_no: str
    fields: dict[str, Any]
    created_s: float
    ends_s: float
    state: int = 0
    feedback: str = ""
    returned: str = "{}"
    upper_ctrl_id: int = 0
    sync: tuple[int, str, str] = (0, "", "")

    @property
    def target(self) -> str:
        return str(self.fields["target_comm_no"])

    @property
    def suffix(self) -> str:
        return str(self.fields["ctrl_type"]).partition(".")[2]

    def record(self) -> dict[str, Any]:
        """As `GetModel` tells it."""
        return {
            "ctrl_id": self.ctrl_id,
            "upper_ctrl_id": self.upper_ctrl_id,
            "company_no": self.company_no,
            "processor_name": self.fields["processor_name"],
            "ctrl_define_no": self.fields["ctrl_define_no"],
            "target_comm_no": self.target,
            "target_devtype": self.fields["target_devtype"],
            "ctrl_time": joined(self.created_s),
            "ctrl_timeout": joined(self.ends_s),
            "ctrl_state": self.state,
            "ctrl_state_msg": STATE_WORDS.get(self.state, ""),
            "ctrl_feedback_msg": self.feedback,
            "ctrl_type": self.fields["ctrl_type"],
            "ctrl_data": self.fields["ctrl_data"],
            "return_data": self.returned,
            "sync_flag": self.sync[0],
            "sync_time": self.sync[1] or joined(self.created_s),
            "sync_msg": self.sync[2],
        }

    def report(self) -> dict[str, Any]:
        """As `CtrlData/Report` tells it."""
        return {
            "ctrl_id": self.ctrl_id,
            "meter_comm_no": self.target,
            "ctrl_time": spaced(self.created_s),
            "ctrl_timeout": spaced(self.ends_s),
            "ctrl_type": self.fields["ctrl_type"],
            "ctrl_state": self.state,
            "ctrl_state_msg": STATE_WORDS.get(self.state, ""),
            "ctrl_feedback_msg": self.feedback,
            "return_data": self.returned,
        }

    def describe(self) -> str:
        """The text of `GetDetial`."""
        parts = {
            "事物流水号": self.ctrl_id,
            "处理程序标识": self.fields["processor_name"],
            "自定义编号": self.fields["ctrl_define_no"],
            "通讯号": self.target,
            "设备类型": "表具" if self.fields["target_devtype"] == 1 else "RTU",
            "任务类型": self.fields["ctrl_type"],
            "任务时间": spaced(self.created_s),
            "任务超时": spaced(self.ends_s),
            "任务状态": f"{self.state} ({STATE_WORDS.get(self.state, '')})",
            "任务反馈": self.feedback,
            "任务数据": self.fields["ctrl_data"],
            "返回数据": self.returned,
        }
        return "".join(f"{name}:{value} </br>" for name, value in parts.items())


class TaskQueue:
    """The tasks of the platform, numbered from 1."""

    def __init__(self, company_no: str) -> None:
        self._company_no = company_no
        self._tasks: dict[int, Task] = {}
        self._last = 0

    def add(self, fields: Mapping[str, Any]) -> Task:
        """A checked task of 4.10, waiting."""
        self._last += 1
        task = Task(
            self._last,
            self._company_no,
            dict(fields),
            unix_of(fields["ctrl_time"]),
            unix_of(fields["ctrl_timeout"]),
        )
        self._tasks[task.ctrl_id] = task
        return task

    def get(self, ctrl_id: int) -> Task | None:
        return self._tasks.get(ctrl_id)

    def delete(self, ctrl_id: int) -> Task | None:
        return self._tasks.pop(ctrl_id, None)

    def all(self) -> list[Task]:
        return list(self._tasks.values())

    def open_for(self, target: str) -> Iterable[Task]:
        """The tasks that wait for this device, oldest first."""
        return [task for task in self._tasks.values() if task.target == target and task.state == 0]

    def overdue(self, now_s: float) -> list[Task]:
        """Tasks under way whose time is over."""
        return [task for task in self._tasks.values() if task.state in OPEN_STATES and now_s >= task.ends_s]

    def search(self, conditions: Mapping[str, Any]) -> list[Task]:
        """The tasks that all given conditions leave (4.14)."""
        wanted = dict(conditions)
        since = unix_of(wanted.pop("ctrl_time_from")) if "ctrl_time_from" in wanted else float("-inf")
        until = unix_of(wanted.pop("ctrl_time_to")) if "ctrl_time_to" in wanted else float("inf")
        return [
            task
            for task in self._tasks.values()
            if since <= task.created_s <= until
            and all(task.record()[name] == value for name, value in wanted.items())
        ]

    def overwrite(self, record: Mapping[str, Any]) -> Task | None:
        """`Update` (4.11): every field, also the state. Raises Malformed for a time that is none."""
        task = self._tasks.get(record["ctrl_id"])
        if task is None:
            return None
        created_s, ends_s = unix_of(_plain(record["ctrl_time"])), unix_of(_plain(record["ctrl_timeout"]))
        task.fields = {name: record[name] for name in task.fields}
        task.created_s, task.ends_s = created_s, ends_s
        task.state, task.feedback = record["ctrl_state"], record["ctrl_feedback_msg"]
        task.returned, task.upper_ctrl_id = record["return_data"], record["upper_ctrl_id"]
        task.sync = (record["sync_flag"], record["sync_time"], record["sync_msg"])
        return task


def _plain(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed("a time is no text")
    return value
