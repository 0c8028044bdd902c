"""The cloud's end points, one method each (page wmj, section 4). The secret is in their bodies only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bridge.domain.errors import BadReply, DeviceOffline, LostAnswer
from bridge.domain.text import Json, flag
from bridge.pace.limits import Lane
from bridge.ports import Effect
from bridge.vendorkit.http import TOO_MANY, Call, Reply, Use, VendorHttp
from bridge.vendors.wmj.faults import ALREADY_REGISTERED, OFFLINE, verify_cloud, verify_device
from bridge.vendors.wmj.settings import WmjSettings
from bridge.vendors.wmj.wire import Answer, CloudRequest, answer_of

MASK = "***"

_MASKABLE_CHARS = 8


@dataclass(frozen=True, slots=True)
class Told:
    """The `info` of a device's own, good answer."""

    info: Mapping[str, Json]
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Connection:
    """What the cloud says of a device's connection, and with which of its codes."""

    is_online: bool
    received_at: datetime
    code: int


class WmjApi:
    """Each method makes one request and raises VendorError (section 5) unless the answer is good."""

    def __init__(self, http: VendorHttp, settings: WmjSettings) -> None:
        self._http = http
        self._settings = settings

    async def register(self, serial: str, lane: Lane, effect: Effect | None = None) -> int:
        """Binds the device to the account; returns the vendor's code, 0 or 1005 "already bound" (4.1)."""
        answer, _ = await self._answer(CloudRequest("/register", serial), lane, effect)
        verify_cloud(answer, "register", also=(ALREADY_REGISTERED,))
        return answer.code or 0

    async def logout(self, serial: str, lane: Lane, effect: Effect | None = None) -> int:
        """Unbinds the device; returns the vendor's code, 0 or 1005 (4.2)."""
        answer, _ = await self._answer(CloudRequest("/logout", serial), lane, effect)
        verify_cloud(answer, "logout", also=(ALREADY_REGISTERED,))
        return answer.code or 0

    async def get_online(self, serial: str, lane: Lane) -> Connection:
        """Whether the cloud calls the device connected (4.3). Code 1002 is a no."""
        answer, received_at = await self._answer(CloudRequest("/getOnLine", serial), lane)
        try:
            verify_cloud(answer, "getOnLine")
        except DeviceOffline:
            return Connection(False, received_at, OFFLINE)
        online = flag(answer.inner.get("on_line"))
        if online is None:
            raise BadReply("the answer has no on_line of 1 or 0", operation="getOnLine")
        return Connection(online, received_at, 0)

    async def send(self, request: CloudRequest, lane: Lane, effect: Effect | None = None) -> Told:
        """Sends a command to the device and returns its answer (4.4). `effect` where it changes something."""
        answer, received_at = await self._answer(request, lane, effect)
        verify_device(answer, request.operation)
        return Told(answer.info, received_at)

    def call(self, request: CloudRequest, lane: Lane, *, masked: bool = False) -> Call:
        """The HTTP request; `masked`: as it may be shown to people."""
        body: dict[str, Json] = {
            "app_id": self._settings.app_id,
            "app_secret": MASK if masked else self._settings.app_secret.get_secret_value(),
            "device_sn": request.serial,
        }
        uses = [Use("requests")]
        if request.command:
            body |= {"type": 1, "data": {"cmd_type": request.command, "info": dict(request.info)}}
            uses.append(Use("device", request.serial))
        return Call(
            operation=request.operation,
            method="POST",
            path=request.path,
            uses=uses,
            lane=lane,
            json=body,
            timeout_s=self._settings.timeout,
        )

    async def _answer(
        self, request: CloudRequest, lane: Lane, effect: Effect | None = None
    ) -> tuple[Answer, datetime]:
        call = self.call(request, lane)
        reply = await self._http.call(call, effect)
        if reply.status == TOO_MANY:
            raise await self._http.too_many(call)
        if reply.status != 200:
            raise LostAnswer(
                f"HTTP status {reply.status}", operation=request.operation, native_code=reply.status
            )
        try:
            answer = answer_of(self._masked(reply))
        except ValueError as error:
            raise BadReply(f"the answer cannot be read: {error}", operation=request.operation) from None
        if self._is_mixed_up(answer, request.serial):
            raise BadReply("the answer is that of another device", operation=request.operation)
        return answer, reply.received_at

    def _is_mixed_up(self, answer: Answer, serial: str) -> bool:
        """Whether the answer bears the serial number of another breaker of the account."""
        named = answer.inner.get("device_sn")
        told = named.strip().upper() if isinstance(named, str) else ""
        return told != serial and told in self._settings.devices.include

    def _masked(self, reply: Reply) -> bytes:
        """The body without our secret: what a cloud echoes could end up in a message or a record."""
        secret = self._settings.app_secret.get_secret_value()
        if len(secret) < _MASKABLE_CHARS:
            return reply.body
        return reply.body.replace(secret.encode(), MASK.encode())
