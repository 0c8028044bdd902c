"""The platform's codes as errors by what is to be done about them (page jrhsz, section 5)."""

from __future__ import annotations

from bridge.domain.errors import AuthFailed, RateLimited, Refused, VendorError
from bridge.vendors.jrhsz.settings import SPACING_S

GOOD = 200
UNKNOWN_ACCOUNT, WRONG_PASSWORD = 1002, 1005
NO_TOKEN, TOKEN_EXPIRED, MISSING_PARAMETER, NO_RIGHT, DUPLICATE, TOO_FAST = range(1006, 1012)
TOKEN_TROUBLE = frozenset({NO_TOKEN, TOKEN_EXPIRED, NO_RIGHT})
"""Codes after which one more login may help."""

BACKOFF_MAX_S = 60.0

_TEXT_CHARS = 200
_MEANING = {
    UNKNOWN_ACCOUNT: "the account does not exist, or has no API permission",
    WRONG_PASSWORD: "the password is refused; it is not tried again before a new configuration, "
    "or a restart an hour later",
    NO_TOKEN: "the platform does not know the token that it just gave",
    TOKEN_EXPIRED: "the platform calls the token expired that it just gave",
    MISSING_PARAMETER: "the platform misses a parameter; perhaps body_encoding is wrong",
    NO_RIGHT: "the account has no right to this end point",
}


def error_of(code: int, text: str, operation: str) -> VendorError:
    """The error that a code other than 200 stands for; an undocumented one is as 1001, a plain no."""
    told = f": {text[:_TEXT_CHARS]}" if text else ""
    meaning = _MEANING.get(code, f"the platform answers with code {code}") + told
    if code in (UNKNOWN_ACCOUNT, WRONG_PASSWORD):
        return AuthFailed(meaning, operation=operation, native_code=code)
    if code == TOO_FAST:
        return too_fast(SPACING_S, operation)
    kind = "auth_failed" if code in TOKEN_TROUBLE else "vendor_error"
    return Refused(meaning, code=kind, operation=operation, native_code=code)


def too_fast(wait_s: float, operation: str) -> RateLimited:
    """Code 1011: the request was not processed."""
    return RateLimited(
        "the platform calls this access too fast",
        retry_after_s=wait_s,
        operation=operation,
        native_code=TOO_FAST,
    )


def backoff_s(times: int) -> float:
    """The pause after the so-many-th 1011 in a row: 2.2 s, 4.4 s, 8.8 s … (section 3, rule 2)."""
    return min(BACKOFF_MAX_S, SPACING_S * 2.0 ** min(10, times - 1))
