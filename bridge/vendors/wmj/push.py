"""The door for the vendor's callbacks (page wmj, section 9; CONTRACT section 9). Reads, never asks."""

from __future__ import annotations

import hashlib
from collections.abc import Generator

from bridge.domain.account import AccountPolicy
from bridge.domain.errors import PushDenied, PushMalformed, PushUnusable
from bridge.domain.observation import AlarmMessage, Batch, Observation, Reading
from bridge.domain.text import dumps
from bridge.ports import PushAnswer, Pushed, PushRequest
from bridge.vendors.wmj.callbacks import pushed
from bridge.vendors.wmj.notes import Notes
from bridge.vendors.wmj.wire import Callback, callback_fields, callback_of

CONFIRM_S = 2.0
"""How long after an alarm the device is read (section 8)."""

_DUPLICATE_S = 3.0
_SUCCESS = PushAnswer(200, dumps({"code": 0, "msg": "success"}))


class CallbackDoor:
    """One URL for all devices and kinds. Nothing in a callback can be verified, so only the configured serial
    numbers count, and an alarm is followed by a reading."""

    def __init__(self, serials: frozenset[str], policy: AccountPolicy, notes: Notes) -> None:
        self._serials = serials
        self._policy = policy
        self._notes = notes

    def parse(self, request: PushRequest) -> Pushed:
        """A callback has neither id nor time: an identical body within 3 s is the same one (9.2)."""
        if request.tail not in ("", "/"):
            raise PushDenied(
                404, "callbacks come to the account's own address, nothing below it", what="path"
            )
        try:
            fields = callback_fields(request.body)
        except ValueError as error:
            raise PushMalformed(str(error)) from None
        try:
            message = callback_of(fields)
            self._expect_known(message)
            observations = pushed(message, request.received_at, self._policy)
        except ValueError as error:
            raise PushUnusable(str(error)) from None
        self._note(message)
        if any(self._is_doubtful(one) for one in observations):
            self._notes.confirm(message.serial, CONFIRM_S)
        key = hashlib.sha256(request.body).hexdigest()
        return Pushed([Batch(observations, body_key=key, body_window_s=_DUPLICATE_S)], _SUCCESS)

    def parsing(self, request: PushRequest) -> Generator[None, None, Pushed]:
        """A callback is one message: there are no pieces."""
        yield
        return self.parse(request)

    def success(self, request: PushRequest) -> PushAnswer:
        """`{"code": 0, "msg": "success"}`."""
        return _SUCCESS

    def failure(
        self,
        request: PushRequest | None,
        status: int,
        reason: str,
    ) -> PushAnswer:
        """`{"code": 1, "msg": …}` with the status."""
        return PushAnswer(status, dumps({"code": 1, "msg": reason}))

    def _is_doubtful(self, seen: Observation) -> bool:
        """An alarm; or a switch that goes to and fro: `on`, `off`, `on` within 3 s may be three changes or two and a
        repetition, which nothing in them tells, so the device is asked."""
        if isinstance(seen, Reading) and "switch_state" in seen.announced:
            return self._notes.is_restless(seen.device, str(seen.metrics["switch_state"]), _DUPLICATE_S)
        return isinstance(seen, AlarmMessage)

    def _expect_known(self, message: Callback) -> None:
        if message.serial not in self._serials:
            raise PushUnusable("the serial number is none of the account's devices")

    def _note(self, message: Callback) -> None:
        if message.word == "OnLine":
            self._notes.said(message.serial, online=True)
        elif message.word == "OffLine":
            self._notes.said(message.serial, online=False)
        else:
            self._notes.heard(message.serial)
