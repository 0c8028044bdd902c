"""What the vendor's answers mean, as errors by what is to be done about them (page iammeter, section 5)."""

from __future__ import annotations

import re

from bridge.domain.errors import AuthFailed, BadReply, RateLimited, Refused, VendorError
from bridge.domain.text import Json
from bridge.vendors.iammeter.settings import HOUR_S
from bridge.vendors.iammeter.wire import Envelope, envelope_of

UNKNOWN_METER = "unknown_device"
"""`Refused.code` of a serial number that is not in the account: worth asking again once a day."""

_TEXT_CHARS = 200
_ABOUT_METER = re.compile(r"\bsn\b|serial|not found|no such", re.IGNORECASE)


class WrongShape(BadReply):
    """The endpoint is not there (404), or answers in another shape than the page's: another endpoint may do."""


class TokenRefused(AuthFailed):
    """The vendor does not take the token (any more)."""


class Forbidden(AuthFailed):
    """HTTP 403: blocked until somebody changes something (section 5), the account or only this end point."""


def nothing(operation: str, native_code: Json = None, retry_after_s: float = HOUR_S) -> RateLimited:
    """The vendor's answer over the limit: nothing. No fault of the meter."""
    return RateLimited(
        "the vendor returned nothing: its limit is used up",
        retry_after_s=retry_after_s,
        operation=operation,
        native_code=native_code,
    )


def data_of(status: int, body: bytes, operation: str) -> Json:
    """`data` of a good answer. Raises RateLimited (nothing came), TokenRefused, Forbidden (403), Refused,
    WrongShape (404), BadReply."""
    if status == 429:
        raise nothing(operation, status)
    if status == 401:
        raise TokenRefused("the token is refused (HTTP status 401)", operation=operation, native_code=status)
    if status == 403:
        raise Forbidden("access is forbidden (HTTP status 403)", operation=operation, native_code=status)
    good = 200 <= status < 300
    try:
        envelope = envelope_of(body)
    except ValueError as error:
        raise _unreadable(status, f"the answer cannot be read: {error}", operation) from None
    if envelope is None:
        raise nothing(operation, status) if good else _unreadable(status, "no body", operation)
    if envelope.successful is False:
        raise refusal(envelope, operation)
    if not good:
        raise _unreadable(status, "an answer without reason", operation)
    return envelope.data


def refusal(envelope: Envelope, operation: str) -> VendorError:
    """`successful: false` by its message; messages are free text and may be missing."""
    text = envelope.message.strip()[:_TEXT_CHARS]
    if "token" in text.lower():
        return TokenRefused(f"the token is refused: {text}", operation=operation, native_code=text)
    if _ABOUT_METER.search(text):
        return Refused(
            f"the vendor does not know the meter: {text}",
            code=UNKNOWN_METER,
            operation=operation,
            native_code=text,
        )
    return Refused(
        f"the vendor refuses: {text or 'no reason given'}", operation=operation, native_code=text or None
    )


def _unreadable(status: int, reason: str, operation: str) -> BadReply:
    if status == 404:
        return WrongShape(
            "there is no such endpoint (HTTP status 404): is base_url right?",
            operation=operation,
            native_code=status,
        )
    told = reason if 200 <= status < 300 else f"HTTP status {status}: {reason}"
    return BadReply(told, operation=operation, native_code=status)
