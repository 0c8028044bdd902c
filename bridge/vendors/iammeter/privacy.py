"""What tells about people (METRICS 1.9; CONTRACT 3) in fields that the page does not know, and what is left without it.
Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bridge.domain.account import AccountPolicy
from bridge.domain.text import Json

_WORDS = frozenset({"city", "place", "street", "tel"})
_PARTS = (
    *("address", "contact", "customer", "email", "mobile", "owner", "phone"),
    *("placename", "sitename", "ssid", "user"),
)
_SECRETS = ("token", "password", "secret")


def published(fields: Mapping[str, Json], policy: AccountPolicy) -> dict[str, Json]:
    """The fields as sent, less customer data at whatever depth unless the account publishes it; never a secret."""
    return _left(fields, customer=policy.customer_data)


def sorted_out(fields: Mapping[str, Json]) -> tuple[dict[str, Json], dict[str, Json]]:
    """What may always be published, and what only where the account publishes customer data."""
    public = {
        name: _without(value, customer=False) for name, value in fields.items() if not _is_private(name)
    }
    return _left(public, customer=False), _left(
        {name: value for name, value in fields.items() if public.get(name) != value}, customer=True
    )


def _left(fields: Mapping[str, Json], *, customer: bool) -> dict[str, Json]:
    return {
        name: _without(value, customer=customer)
        for name, value in fields.items()
        if not _is_secret(name) and (customer or not _is_private(name))
    }


def _without(value: Json, *, customer: bool) -> Json:
    if isinstance(value, dict):
        return _left(value, customer=customer)
    return [_without(item, customer=customer) for item in value] if isinstance(value, list) else value


def _is_secret(name: str) -> bool:
    return any(part in name.lower() for part in _SECRETS)


def _is_private(name: str) -> bool:
    word = re.sub(r"[^a-z]", "", name.lower())
    return word in _WORDS or any(part in word for part in _PARTS)
