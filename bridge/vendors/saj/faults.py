"""The vendor's codes as errors by what is to be done about them (page saj, section 5)."""

from __future__ import annotations

from bridge.domain.errors import AuthFailed, BadReply, LostAnswer, RateLimited, Refused, VendorError
from bridge.vendors.saj.wire import Answer, answer_of

SERVER_FAULT, HOUR_USED_UP, DAY_USED_UP = 10001, 10003, 10004
NO_SUCH_API, BAD_PARAMETER, BAD_CREDENTIALS, FORBIDDEN_API, NO_TOKEN = 10005, 10006, 10007, 10014, 10099
TOKEN_UNKNOWN = 10012
TOKEN_CODES = frozenset({10002, 10008, 10009, 10010, 10011, 10012, 10013, 10015})
"""Codes that are refusals of the token, before anything is executed."""

_MEANINGS = {
    10002: "the access token is missing",
    10008: "the access token does not belong to app_id",
    10009: "the authorization code timed out",
    10010: "the access token expired",
    10011: "the access token does not belong to the user id",
    10012: "the access token does not exist",
    10013: "the refresh token does not exist",
    10015: "the refresh token does not match",
}
_TEXT_CHARS = 200


class TokenRefused(AuthFailed):
    """The call was not executed because of its token: a new one may help."""


class VendorFault(LostAnswer):
    """The vendor itself says that it could not serve the call: 10001, or a code that nobody knows."""


class EndpointClosed(Refused):
    """This endpoint does not exist, or not for this application. The others go on."""


def told(message: str) -> str:
    """The vendor's own text, to be put behind ours."""
    return f": {message[:_TEXT_CHARS]}" if message else ""


def error_of(code: int, message: str, operation: str, *, writes: bool) -> VendorError:
    """The error that a code other than 0 stands for. A RateLimited made here has no time to wait yet."""
    words = told(message)
    if code in TOKEN_CODES:
        return TokenRefused(f"{_MEANINGS[code]}{words}", operation=operation, native_code=code)
    if code in (HOUR_USED_UP, DAY_USED_UP):
        period = "hour" if code == HOUR_USED_UP else "day"
        return RateLimited(
            f"the vendor's calls of this {period} are used up{words}",
            retry_after_s=0.0,
            operation=operation,
            native_code=code,
        )
    if code in (NO_SUCH_API, FORBIDDEN_API):
        return closed(code, message, operation)
    if code == BAD_CREDENTIALS:
        return AuthFailed(f"app_id or app_key is refused{words}", operation=operation, native_code=code)
    if code == BAD_PARAMETER:
        return Refused(f"the vendor calls a parameter wrong{words}", operation=operation, native_code=code)
    if code != SERVER_FAULT and writes:
        return Refused(f"the vendor answers with code {code}{words}", operation=operation, native_code=code)
    return VendorFault(f"the vendor answers with code {code}{words}", operation=operation, native_code=code)


def closed(code: int, message: str, operation: str) -> EndpointClosed:
    """10005, 10014 and HTTP 404."""
    if code == FORBIDDEN_API:
        return EndpointClosed(
            f"the application may not call {operation}{told(message)}",
            code="auth_failed",
            operation=operation,
            native_code=code,
        )
    return EndpointClosed(
        f"there is no {operation} at this base_url{told(message)}",
        code="unsupported",
        operation=operation,
        native_code=code,
    )


def verified(status: int, body: bytes, operation: str, *, writes: bool) -> Answer:
    """A good answer. The body decides first, the HTTP status second. Raises VendorError."""
    try:
        answer = answer_of(status, body, operation)
    except BadReply:
        if 200 <= status < 300:
            raise
        raise _by_status(status, operation) from None
    if answer.code != 0:
        raise error_of(answer.code, answer.message, operation, writes=writes)
    if not 200 <= status < 300:
        raise _by_status(status, operation)
    return answer


def _by_status(status: int, operation: str) -> VendorError:
    if status in (401, 403):
        return TokenRefused(f"HTTP status {status}", operation=operation, native_code=TOKEN_UNKNOWN)
    if status == 404:
        return closed(NO_SUCH_API, "HTTP status 404", operation)
    if status == 429:
        return error_of(HOUR_USED_UP, "HTTP status 429", operation, writes=False)
    return LostAnswer(f"HTTP status {status}", operation=operation, native_code=status)
