"""Account ids, device ids in topics, command ids."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

ACCOUNT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
GATEWAY = "bridge"
"""The reserved account id under which the gateway itself takes commands."""

_NO_CHARACTERS = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
"""The last two of each plane. With them, halves of characters and U+FDD0 to U+FDEF a broker may hang up."""

_UNSAFE = re.compile(r"[/+#\x00-\x20\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef" + _NO_CHARACTERS + r"]|\s")


@lru_cache(maxsize=16384)
def topic_level(native_id: str) -> str:
    """A vendor's device id as one topic level: what MQTT or a level forbids is percent-encoded, nothing else.

    Not meant to be undone: whoever has a level looks for the device whose level it is.
    """
    return _UNSAFE.sub(_percent, native_id)


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match.group().encode(errors="surrogatepass"))


def is_command_id(text: object) -> bool:
    """Whether this can be a command's `id`: text of 1 to 50 characters without control characters."""
    return isinstance(text, str) and 1 <= len(text) <= 50 and text.isprintable()


def id_from_correlation(data: bytes) -> str:
    """The `id` that MQTT 5 Correlation Data stands for (CONTRACT section 6)."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    return text if is_command_id(text) else "cd-" + hashlib.sha256(data).hexdigest()[:32]
