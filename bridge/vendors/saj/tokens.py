"""Access tokens, and how long to wait after one was not to be had (page saj, section 2). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from bridge.domain.errors import BadReply
from bridge.domain.text import Json
from bridge.vendors.saj import wire

RENEW_AT = 0.9
"""The part of its life after which a token is renewed."""

CONFLICT_WINDOW_S = 3600.0
CONFLICT_REFUSALS = 3
CONFLICT_PAUSE_S = 600.0

REFUSED_PAUSES_S = (60.0, 300.0, 900.0, 3600.0)
"""After 10099: pauses before the next request; then it is the operator's business."""

_LOST_FIRST_S, _LOST_MAX_S = 30.0, 900.0


@dataclass(frozen=True, slots=True)
class Token:
    """An access token with its headers' values. Times are Unix seconds; None: the vendor named no lifetime.
    `application` tells for whom it was issued, `writes` whether the scope `write` was asked for."""

    access: str = field(repr=False)
    uid: str
    application: str
    obtained_at: float
    renew_at: float | None
    expires_at: float | None
    writes: bool

    def is_due(self, now_s: float) -> bool:
        """Whether it should be renewed."""
        return self.renew_at is not None and now_s >= self.renew_at

    def is_over(self, now_s: float) -> bool:
        """Whether its lifetime has passed."""
        return self.expires_at is not None and now_s >= self.expires_at

    def as_json(self) -> Json:
        """For the vault."""
        return asdict(self)


def token_of(data: Json, now_s: float, application: str, *, writes: bool) -> Token:
    """The token of an answer (2.1). Raises BadReply where token or user id is missing."""
    found = wire.fields(data)
    access, uid = wire.text(found.get("access_token")), wire.text(found.get("uid"))
    if access is None or uid is None or not (access + uid).isascii():
        raise BadReply("the answer has no access_token or no uid", operation="accessToken")
    lifetime = wire.measured(found.get("expires_in"))
    lifetime_s = float(lifetime) if lifetime is not None and lifetime > 0 else None
    return Token(
        access=access,
        uid=uid,
        application=application,
        obtained_at=now_s,
        renew_at=None if lifetime_s is None else now_s + RENEW_AT * lifetime_s,
        expires_at=None if lifetime_s is None else now_s + lifetime_s,
        writes=writes,
    )


def token_from(kept: Json) -> Token | None:
    """The inverse of `Token.as_json`; None for anything else."""
    if not isinstance(kept, dict):
        return None
    parts: dict[str, Any] = {
        name: float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value
        for name, value in kept.items()
    }
    try:
        return Token(**parts)
    except TypeError:
        return None


def recent(refusals: Sequence[float], now_s: float) -> list[float]:
    """The refusals that count for a conflict."""
    return [at for at in refusals if now_s - CONFLICT_WINDOW_S < at <= now_s]


def lost_pause_s(failures: int) -> float:
    """The pause after so many unanswered token requests in a row (1, 2 …)."""
    return min(_LOST_MAX_S, _LOST_FIRST_S * 2.0 ** min(10, failures - 1))
