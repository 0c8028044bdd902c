"""The vendor's codes as errors by what is to be done about them (page wmj, section 5)."""

from __future__ import annotations

from bridge.domain.errors import AuthFailed, BadReply, DeviceOffline, DeviceSilent, Refused, VendorError
from bridge.domain.text import Json
from bridge.vendors.wmj.wire import SCHEDULE_HOLDS, Answer

NO_ANSWER, OFFLINE, BAD_PARAMETER, NOT_REGISTERED, ALREADY_REGISTERED, BAD_CREDENTIALS = range(1001, 1007)

_TEXT_CHARS = 200


def cloud_error(code: int, text: str, operation: str) -> VendorError:
    """The error that a cloud code other than 0 stands for.

    1001: the device did not answer the cloud, so nobody knows what it did. 1004 is a Refused whose
    `native_code` tells the caller to register first.
    """
    told = f": {text[:_TEXT_CHARS]}" if text else ""
    if code == NO_ANSWER:
        return DeviceSilent(
            f"the device did not answer the cloud{told}", operation=operation, native_code=code
        )
    if code == OFFLINE:
        return DeviceOffline(f"the device is off line{told}", operation=operation, native_code=code)
    if code == BAD_CREDENTIALS:
        return AuthFailed(f"app_id or app_secret is refused{told}", operation=operation, native_code=code)
    meaning = {
        BAD_PARAMETER: "the cloud calls a parameter wrong",
        NOT_REGISTERED: "the device is not registered with this account",
        ALREADY_REGISTERED: "the device is registered already",
    }.get(code, f"the cloud answers with code {code}")
    return Refused(f"{meaning}{told}", code="vendor_error", operation=operation, native_code=code)


def device_error(code: Json, text: str, operation: str) -> Refused:
    """The device's own no."""
    told = f": {text[:_TEXT_CHARS]}" if text else ""
    reason = "a schedule holds the switch" if code == SCHEDULE_HOLDS else f"code {code}"
    return Refused(
        f"the device refused, {reason}{told}", code="device_refused", operation=operation, native_code=code
    )


def verify_cloud(answer: Answer, operation: str, also: tuple[int, ...] = ()) -> None:
    """Returns if the cloud said 0 (or one of `also`). Raises what its code means, BadReply without a code."""
    if answer.code is None:
        raise BadReply("the answer has no code", operation=operation)
    if answer.code != 0 and answer.code not in also:
        raise cloud_error(answer.code, answer.message, operation)


def verify_device(answer: Answer, operation: str) -> None:
    """Returns if both the cloud (0 or nothing) and the device (0) said yes; raises what they said instead."""
    if answer.code not in (None, 0):
        raise cloud_error(answer.code, answer.message, operation)
    if answer.device_code is None:
        raise BadReply("the answer has no code of the device", operation=operation)
    if answer.device_code != 0:
        raise device_error(answer.device_code, answer.device_message, operation)
