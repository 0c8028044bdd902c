"""Secrets inside command parameters: what is journalled and compared is a seal, the secret stays in memory.

Invariant: nothing that leaves `Wallet.seal` shows the secret, and equal secrets of one account have equal seals.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from dataclasses import dataclass, field

from pydantic import SecretStr

_SEAL = re.compile(r"sealed:[0-9a-f]{64}\Z")
_KEPT = 1000


@dataclass(slots=True)
class Wallet:
    """The secrets of commands under way, by their seals. `key` is a secret that is not kept with the journal."""

    key: SecretStr
    _opened: OrderedDict[str, str] = field(default_factory=OrderedDict, repr=False)

    def seal(self, secret: SecretStr) -> str:
        """The seal to keep in place of a secret, which is remembered."""
        plain = secret.get_secret_value()
        if is_sealed(plain):
            return plain
        digest = hmac.new(self.key.get_secret_value().encode(), plain.encode(), hashlib.sha256).hexdigest()
        self._opened[f"sealed:{digest}"] = plain
        while len(self._opened) > _KEPT:
            self._opened.popitem(last=False)
        return f"sealed:{digest}"

    def open(self, value: object) -> object:
        """The secret of a seal; anything else, and a seal from before a restart, as it is."""
        return self._opened.get(value, value) if isinstance(value, str) else value


def is_sealed(text: str) -> bool:
    """Whether this is a seal: as a parameter's value it says that the secret was lost."""
    return _SEAL.match(text) is not None
