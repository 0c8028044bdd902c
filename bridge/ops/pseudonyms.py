"""Stable tokens in place of what must not be shown: the same value is the same token everywhere in a bundle, so that a
reader can follow one device through it without learning which one it is."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

from bridge.domain.text import Json

SHORTEST = 4
"""Shorter values are only replaced where they stand alone: inside words they would make everything unreadable."""


class Pseudonyms:
    """Tokens such as `device-3f2a91c0`, keyed, so that nobody finds the value by trying all that are possible."""

    def __init__(self, key_material: Iterable[str] = ()) -> None:
        """From secrets of the installation, so that its tokens are the same in every bundle; without any, at random."""
        text = "\n".join(key_material)
        self._key = hashlib.sha256(text.encode()).digest() if text else secrets.token_bytes(32)
        self._tokens: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def learn(self, kind: str, values: Iterable[str | None]) -> None:
        """These values are to be replaced by tokens of this kind."""
        for value in values:
            if value:
                self._tokens.setdefault(value, self.token(kind, value))
        self._pattern = None

    def token(self, kind: str, value: str) -> str:
        """The token of one value."""
        digest = hmac.new(self._key, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()
        return f"{kind}-{digest[:8]}"

    def clean(self, document: Json) -> Json:
        """The document with every learnt value replaced, in keys and in texts."""
        if isinstance(document, dict):
            return {self._text(str(key)): self.clean(part) for key, part in document.items()}
        if isinstance(document, list | tuple):
            return [self.clean(part) for part in document]
        return self._text(document) if isinstance(document, str) else document

    def _text(self, text: str) -> str:
        if text in self._tokens:
            return self._tokens[text]
        if self._pattern is None:
            long = sorted((value for value in self._tokens if len(value) >= SHORTEST), key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, long))) if long else re.compile(r"(?!)")
        return self._pattern.sub(lambda found: self._tokens[found[0]], text)
