"""Small decisions about a command under way. Pure: rows and errors in, outcomes and ages out."""

from __future__ import annotations

from datetime import datetime

from bridge.domain.command import Follow, Outcome, Status
from bridge.domain.errors import (
    AuthFailed,
    DeviceOffline,
    LostAnswer,
    NotSent,
    RateLimited,
    Refused,
    VendorError,
)
from bridge.domain.observation import Availability, Observation, Origin
from bridge.store.protocols import JournalRow


def next_look_s(plan: Follow, asks: int) -> float:
    """The age at which the vendor is asked for the `asks`-th time (from 0)."""
    if asks < len(plan.ask_at_s):
        return plan.ask_at_s[asks]
    last = plan.ask_at_s[-1] if plan.ask_at_s else 0.0
    return last + plan.then_every_s * (asks - len(plan.ask_at_s) + 1)


def final_no(error: VendorError, row: JournalRow, now: datetime) -> Outcome:
    """A vendor's no as the end of a command, with what it says of the device."""
    observations: tuple[Observation, ...] = ()
    if isinstance(error, DeviceOffline) and row.device is not None:
        observations = (
            Availability(row.device, online=False, received_at=now, origin=Origin.COMMAND, said=True),
        )
    return Outcome(
        Status.FAILED,
        code_of(error),
        error.message,
        vendor_code=error.native_code,
        result=error.result if isinstance(error, Refused) else None,
        observations=observations,
    )


def code_of(error: VendorError) -> str:
    """What an acknowledgement calls this failure (`domain.command.ACK_CODES`)."""
    match error:
        case NotSent():
            return "vendor_unreachable"
        case LostAnswer():
            return "no_answer"
        case RateLimited():
            return "rate_limited"
        case AuthFailed():
            return "auth_failed"
        case DeviceOffline():
            return "device_offline"
        case Refused():
            return error.code
    return "vendor_error"
