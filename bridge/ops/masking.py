"""What must not be shown of a JSON value: everything whose key sounds like a secret."""

from __future__ import annotations

import re

from bridge.domain.text import Json
from bridge.ops.log import MASK

_SECRET_NAME = re.compile(r"pass|pwd|secret|token|credential|api_?key|app_?key", re.IGNORECASE)


def masked(value: Json) -> Json:
    """The value with everything masked whose key sounds like a secret."""
    if isinstance(value, dict):
        return {
            key: MASK if _SECRET_NAME.search(key) and part is not None else masked(part)
            for key, part in value.items()
        }
    return [masked(part) for part in value] if isinstance(value, list) else value
