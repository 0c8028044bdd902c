"""The platform's refusals as errors by what is to be done about them (page iotmeter, section 5)."""

from __future__ import annotations

import re

from bridge.domain.errors import AuthFailed, LostAnswer, RateLimited, Refused, VendorError
from bridge.vendors.iotmeter.wire import Answer

_ABOUT_TOKEN = re.compile(r"token|令牌|登录|登陆|unauthori[sz]ed|not logged", re.IGNORECASE)
_ABOUT_KEY = re.compile(r"密钥|授权|认证|api_key|company_no|unauthori[sz]ed", re.IGNORECASE)
_ABOUT_ABSENCE = re.compile(r"找不到|不存在|not found", re.IGNORECASE)
_TEXT_CHARS = 200
_TOO_MANY = 429
_BUSY_S = 30.0


class Missing(Refused):
    """The platform knows no such record: for a reading an answer, not a fault (page vector V10)."""


class TokenRefused(AuthFailed):
    """The control API wants another token; what was asked for was not done."""


def http_fault(status: int, operation: str, *, control: bool) -> VendorError:
    """The error that an HTTP status other than 200 stands for."""
    if status in (401, 403):
        kind = TokenRefused if control else AuthFailed
        what = "the token" if control else "company_no or data_api_key"
        return kind(f"{what} is refused (HTTP status {status})", operation=operation, native_code=status)
    if status == _TOO_MANY:
        return RateLimited(
            "the platform answers 429", retry_after_s=_BUSY_S, operation=operation, native_code=status
        )
    return LostAnswer(f"HTTP status {status}", operation=operation, native_code=status)


def refusal(answer: Answer, operation: str, *, control: bool) -> VendorError:
    """The error that `State` `failed` stands for, by its text: there are no numeric codes."""
    told = answer.message.strip()[:_TEXT_CHARS] or "no reason given"
    # before absence: a token, too, may be one that "does not exist"
    if (_ABOUT_TOKEN if control else _ABOUT_KEY).search(told):
        kind = TokenRefused if control else AuthFailed
        return kind(f"the platform refuses the credentials: {told}", operation=operation)
    if _ABOUT_ABSENCE.search(told):
        return Missing(f"the platform does not find it: {told}", operation=operation)
    return Refused(f"the platform refuses: {told}", operation=operation)
