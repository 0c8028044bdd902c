"""Calls to devices that register them where the vendor asks for it (code 1004; page wmj, section 2)."""

from __future__ import annotations

from bridge.domain.errors import DeviceOffline, LostAnswer, Refused
from bridge.pace.limits import Lane
from bridge.ports import Effect
from bridge.vendorkit.spec import Vault
from bridge.vendors.wmj.api import Connection, Told, WmjApi
from bridge.vendors.wmj.faults import NOT_REGISTERED
from bridge.vendors.wmj.notes import Notes
from bridge.vendors.wmj.wire import CloudRequest

_ASKED = "asked"
"""Kept before `unregister` leaves, and where its answer was lost."""


class Link:
    """Invariant: a device that a command took off the account is bound again by a command only."""

    def __init__(self, api: WmjApi, vault: Vault, notes: Notes) -> None:
        self._api = api
        self._vault = vault
        self._notes = notes

    async def send(self, request: CloudRequest, lane: Lane, effect: Effect | None = None) -> Told:
        """As `WmjApi.send`; a device that is not registered is registered, and the request repeated, once.

        The vendor did not pass on a request that it answers with 1004, so an unanswered registration leaves
        no doubt about the command: it is then a Refused.
        """
        try:
            told = await self._sent(request, lane, effect)
        except Refused as error:
            if error.native_code != NOT_REGISTERED or await self.is_released(request.serial):
                raise
            await self._bind(error, request.serial, lane)
            told = await self._sent(request, lane, effect)
        self._notes.heard(request.serial)
        return told

    async def read(self, serial: str, lane: Lane) -> Told:
        """`getdevinfo`."""
        return await self.send(CloudRequest("/send", serial, "getdevinfo"), lane)

    async def online(self, serial: str, lane: Lane) -> Connection:
        """`getOnLine`; never registers."""
        told = await self._api.get_online(serial, lane)
        self._notes.said(serial, online=told.is_online)
        return told

    async def register(self, serial: str, effect: Effect) -> int:
        """Binds the device by command; returns the vendor's code."""
        code = await self._api.register(serial, Lane.COMMAND, effect)
        await self._vault.put(_released_key(serial), None)
        return code

    async def unregister(self, serial: str, effect: Effect) -> int:
        """Unbinds the device by command; returns the vendor's code. After an answer that was lost, "not registered"
        means that it was done."""
        key = _released_key(serial)
        before = await self._vault.get(key)
        if before is None:
            await self._vault.put(key, _ASKED)
        try:
            code = await self._api.logout(serial, Lane.COMMAND, effect)
        except LostAnswer:
            raise
        except Exception as error:
            done = isinstance(error, Refused) and error.native_code == NOT_REGISTERED and before is not None
            if not done:
                await self._vault.put(key, before)
                raise
            code = NOT_REGISTERED
        await self._vault.put(key, True)
        return code

    async def is_released(self, serial: str) -> bool:
        """Whether the last word on the device's registration was `unregister`, answered or not."""
        return await self._vault.get(_released_key(serial)) in (True, _ASKED)

    async def _sent(self, request: CloudRequest, lane: Lane, effect: Effect | None) -> Told:
        try:
            return await self._api.send(request, lane, effect)
        except DeviceOffline:
            self._notes.said(request.serial, online=False)
            raise

    async def _bind(self, refusal: Refused, serial: str, lane: Lane) -> None:
        try:
            await self._api.register(serial, lane)
        except LostAnswer as error:
            raise Refused(
                f"{refusal.message}; registering it brought no answer: {error.message}",
                operation=refusal.operation,
                native_code=refusal.native_code,
            ) from error


def _released_key(serial: str) -> str:
    return f"released:{serial}"
