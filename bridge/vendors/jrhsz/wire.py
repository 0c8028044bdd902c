"""What goes to the platform, and what comes, read tolerantly (page jrhsz 1, 2, 4, 11).

Pure. Nothing here decides what a value means. Bytes that are no answer are a BadReply that quotes none of them:
they may hold tokens and customers' names (Q2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlencode

from bridge.domain.errors import BadReply
from bridge.domain.text import Json, dumps, loads_sent, number

PAGE_SIZE = 1000
TOKEN_LIFE = timedelta(hours=2)
RENEW_BEFORE = timedelta(minutes=10)
"""A token is renewed at 110 minutes (2.3)."""

Row = Mapping[str, Json]
Encoding = Literal["json", "form"]


@dataclass(frozen=True, slots=True)
class Query:
    """A request to `/meter/{endpoint}` before it gets token and account name."""

    endpoint: str
    params: Mapping[str, Json] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Below the base URL."""
        return f"/meter/{self.endpoint}"

    def page(self, page_no: int) -> Query:
        """The same for one page; pages count from 1."""
        return self.given(pageNo=page_no, pageSize=PAGE_SIZE)

    def given(self, **params: Json) -> Query:
        """The same with more parameters."""
        return replace(self, params={**self.params, **params})


@dataclass(frozen=True, slots=True)
class Answer:
    """The envelope of every answer. `data` is a string (login), a list, one object, or missing (Q3). `count`: what the
    platform says there is, None where it does not; only a 0 is worth something (Q6)."""

    code: int
    message: str
    data: Json = field(repr=False)
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """What a login gave. It holds the clear password (2.4): it goes into requests and the vault, nowhere else."""

    text: str = field(repr=False)
    expires_at: datetime

    @property
    def renew_at(self) -> datetime:
        """When to log in again although it still lives."""
        return self.expires_at - RENEW_BEFORE


def answer_of(body: bytes, operation: str) -> Answer:
    """The envelope. `code` may be a number or its text. Raises BadReply."""
    try:
        root = loads_sent(body)
    except ValueError:
        root = None
    code = number(root.get("code")) if isinstance(root, dict) else None
    if not isinstance(root, dict) or not isinstance(code, int):
        told = f"{len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()[:16]}"
        raise BadReply(f"the answer cannot be read: {told}", operation=operation)
    message, count = root.get("msg"), number(root.get("totalCount"))
    return Answer(
        code,
        message if isinstance(message, str) else "",
        root.get("data"),
        count if isinstance(count, int) else None,
    )


def rows_of(answer: Answer, operation: str) -> Sequence[Json]:
    """`data` as a list: one object is a list of one, nothing is an empty one (Q3). Raises BadReply.

    Whether the entries are objects is not looked at: their number decides about further pages.
    """
    if answer.data is None or answer.data == "":
        return []
    if isinstance(answer.data, dict):
        return [answer.data]
    if not isinstance(answer.data, list):
        raise BadReply("the answer's data is neither a list nor an object", operation=operation)
    return answer.data


def token_of(answer: Answer, received_at: datetime) -> Token:
    """The token of a login that succeeded; it lives two hours from receipt (2.3). Raises BadReply."""
    if not isinstance(answer.data, str) or not answer.data:
        raise BadReply("the answer to the login holds no token", operation="login")
    return Token(answer.data, received_at + TOKEN_LIFE)


def body_of(params: Mapping[str, Json], encoding: Encoding) -> tuple[bytes, str]:
    """Parameters as body and its Content-Type (Q1)."""
    if encoding == "form":
        return urlencode(dict(params)).encode(), "application/x-www-form-urlencoded"
    return dumps(dict(params)), "application/json; charset=utf-8"
