"""What must not be shown to people: values whose name says that they are secrets. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from bridge.domain.text import Json

MASK = "***"

_SECRET = re.compile(
    r"pass|pwd|secret|token|credential|authorization|cookie|(^|[_-])key\Z|(api|app)_?key|\Asign(ature)?\Z",
    re.IGNORECASE,
)


@lru_cache(maxsize=2048)
def is_secret(name: str) -> bool:
    """Whether the value of a header, parameter or key of this name is a secret."""
    return _SECRET.search(name) is not None


def masked(value: Json) -> Json:
    """The value with everything masked whose key is a secret's."""
    if isinstance(value, dict):
        return {
            key: MASK if is_secret(key) and part is not None else masked(part) for key, part in value.items()
        }
    return [masked(part) for part in value] if isinstance(value, list) else value
