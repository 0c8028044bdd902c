"""Who may see the page and who may command from it.

- Without a password the page is read-only, and it answers only under names that nobody else can point at this machine
  (addresses, `localhost`, names without a dot, `page_hosts`): a web page elsewhere cannot read it by DNS rebinding.
- With a password everything but the empty shell needs a session: a random cookie (HttpOnly, SameSite=Strict), held in
  memory only, so a restart ends it.
- A change needs the session's own token in a header besides, and must come from the page itself.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from bridge.ports import Clock

log = logging.getLogger("bridge.web")

COOKIE = "meterbridge_session"
TOKEN_HEADER = "x-meterbridge-token"  # noqa: S105 - a header's name
SESSION_S = 12 * 3600.0
MAX_SESSIONS = 100
WRONG_PER_MINUTE = 10


class Denied(Exception):
    """The request is not answered: HTTP status, and why in words for people."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class Session:
    """One browser that gave the password. `token` goes with every change."""

    token: str
    until_s: float


class Access:
    """The rules of one page."""

    def __init__(self, mode: str, password: str | None, hosts: Sequence[str], clock: Clock) -> None:
        """`mode` is `read` or `control`; `control` without a password allows no commands."""
        self._password = password.encode() if password else None
        self._hosts = frozenset(host.lower() for host in hosts)
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._wrong: list[float] = []
        self.commands = mode == "control" and password is not None

    @property
    def needs_password(self) -> bool:
        """Whether there is a password."""
        return self._password is not None

    def check_host(self, host: str) -> None:
        """Raises Denied for a name that another web site may have pointed here."""
        if self._password is None and not self._is_own(host):
            raise Denied(
                421,
                f"this page does not answer as {host!r}: add it to http.page_hosts, or set http.page_password",
            )

    def session(self, cookie: str | None) -> Session | None:
        """The session behind a cookie, None if there is none (any more)."""
        session = self._sessions.get(cookie) if cookie else None
        if session is None or session.until_s <= self._clock.monotonic():
            return None
        return session

    def check_reader(self, cookie: str | None) -> None:
        """Raises Denied unless this browser may read."""
        if self._password is not None and self.session(cookie) is None:
            raise Denied(401, "log in first")

    def check_change(self, cookie: str | None, headers: Mapping[str, str]) -> None:
        """Raises Denied unless this request is a change that the page itself makes in a session."""
        if not self.commands:
            raise Denied(
                403, "the page is read-only: http.page: control and http.page_password would change that"
            )
        check_same_origin(headers)
        session = self.session(cookie)
        if session is None:
            raise Denied(401, "log in first")
        if not hmac.compare_digest(session.token.encode(), headers.get(TOKEN_HEADER, "").encode()):
            raise Denied(403, "the request does not come from this page")

    def log_in(self, password: str, peer: str) -> str:
        """The cookie of a new session. Raises Denied: 401 for a wrong password, 429 after too many of them."""
        now = self._clock.monotonic()
        self._wrong = [at for at in self._wrong if now - at < 60]
        if len(self._wrong) >= WRONG_PER_MINUTE:
            raise Denied(429, "too many wrong passwords: wait a minute")
        if self._password is None or not hmac.compare_digest(self._password, password.encode()):
            self._wrong.append(now)
            log.warning("page.wrong_password", extra={"peer": peer})
            raise Denied(401, "wrong password")
        cookie = secrets.token_urlsafe(32)
        self._sessions[cookie] = Session(secrets.token_urlsafe(32), now + SESSION_S)
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        log.info("page.login", extra={"peer": peer})
        return cookie

    def log_out(self, cookie: str | None) -> None:
        """Ends a session."""
        self._sessions.pop(cookie or "", None)

    def _is_own(self, host: str) -> bool:
        name = host_name(host)
        if name in self._hosts or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            ip_address(name)
        except ValueError:
            return bool(name) and "." not in name
        return True


def check_same_origin(headers: Mapping[str, str]) -> None:
    """Raises Denied for a request that another site made the browser send."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:  # the browser's own word; it holds behind a proxy that changes Host, too
        same = site in ("same-origin", "none")
    else:
        same = origin is None or origin.partition("://")[2] == headers.get("host", "")
    if not same:
        raise Denied(403, "the request comes from another site")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Denied(415, "expected application/json")


def host_name(host: str) -> str:
    """The name or address in a Host header, lower case, without port and brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")
