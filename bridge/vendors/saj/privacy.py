"""What tells about people (METRICS 1.9; CONTRACT 3), known or not on the page, and what is left without it. Pure."""

from __future__ import annotations

import re

from bridge.domain.account import AccountPolicy
from bridge.domain.text import Json

_USERS = ("user_", "c_user")
_PARTIES = ("organization", "contact")
_PARTS = ("ssid", "username", "nickname", "email", "mobile", "phone", "customer")
_WORDS = frozenset({"tel", "owner", "house"})
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def is_private(key: str) -> bool:
    """Whether a field tells about people: users, the organisations and contacts of a plant, and what looks like it."""
    low = key.lower()
    if low.startswith(_USERS) or low.endswith(_PARTIES):
        return True
    joined = low.replace("_", "")
    if any(part in joined for part in _PARTS):
        return True
    return not _WORDS.isdisjoint(word.lower() for word in _WORD.findall(key))


def published(value: Json, policy: AccountPolicy) -> Json:
    """What the vendor sent, without what is private unless the account publishes that."""
    return value if policy.customer_data else without_private(value)


def without_private(value: Json) -> Json:
    """The same at whatever depth without what is private."""
    if isinstance(value, dict):
        return {key: without_private(item) for key, item in value.items() if not is_private(key)}
    return [without_private(item) for item in value] if isinstance(value, list) else value
