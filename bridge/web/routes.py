"""The page over HTTP: three static files, JSON documents, a stream of changes, and the door for commands."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePath
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bridge.contract.commands import CommandMessage
from bridge.contract.topics import Topics
from bridge.domain.errors import StoreError
from bridge.domain.ids import is_command_id
from bridge.domain.text import Json, dumps, loads
from bridge.ports import Clock
from bridge.web.access import COOKIE, SESSION_S, Access, Denied, check_same_origin
from bridge.web.board import Board
from bridge.web.views import MAX_COMMANDS, MAX_PAGE, Filter, Views

MAX_BODY_BYTES = 64 * 1024
MAX_STREAMS = 50
QUIET_S = 15.0
APART_S = 1.0

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_STATIC = resources.files("bridge.web") / "static"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

Answer = Callable[[Request], Awaitable[Json]]


@dataclass(frozen=True, slots=True)
class Sources:
    """What the app gives the page: the gateway and its accounts as JSON, the door for commands, who asks."""

    overview: Callable[[], Awaitable[dict[str, Json]]]
    admit: Callable[[CommandMessage], Awaitable[None]]
    peer: Callable[[str, str], str]


class Page:
    """The status page. `routes` are added to the HTTP application; `close` ends its streams before that stops."""

    def __init__(
        self, access: Access, board: Board, views: Views, sources: Sources, topics: Topics, clock: Clock
    ) -> None:
        self._access = access
        self._board = board
        self._views = views
        self._sources = sources
        self._topics = topics
        self._clock = clock
        self._closing = False

    def routes(self) -> list[Route]:
        """Everything below `/` and `/page/`."""
        reading: Mapping[str, Answer] = {
            "overview": self._overview,
            "devices": self._devices,
            "device": self._device,
            "alarms": self._alarms,
            "commands": self._commands,
            "command": self._command,
            "gaps": self._gaps,
            "offers": self._offers,
        }
        return [
            *(Route(path, self._file(name)) for path, name in _files().items()),
            *(Route(f"/page/{name}", self._guarded(answer)) for name, answer in reading.items()),
            Route("/page/session", self._session),
            Route("/page/stream", self._stream),
            Route("/page/login", self._log_in, methods=["POST"]),
            Route("/page/logout", self._log_out, methods=["POST"]),
            Route("/page/send", self._send, methods=["POST"]),
        ]

    def close(self) -> None:
        """Ends the streams: a server that stops waits for them."""
        self._closing = True
        self._board.wake()

    # reading ----------------------------------------------------------------------------------------------------

    def _file(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        body = _STATIC.joinpath(name).read_bytes()
        content_type = _KINDS[PurePath(name).suffix]

        async def answer(request: Request) -> Response:
            try:
                self._access.check_host(request.headers.get("host", ""))
            except Denied as denied:
                return _denied(denied)
            return Response(body, headers={**HEADERS, "Content-Type": content_type})

        return answer

    def _guarded(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            try:
                self._check_reader(request)
                document = await answer(request)
            except Denied as denied:
                return _denied(denied)
            except StoreError as error:
                return _json({"error": str(error)}, 503)
            return _json({"error": "there is no such thing"}, 404) if document is None else _json(document)

        return guarded

    def _check_reader(self, request: Request) -> None:
        self._access.check_host(request.headers.get("host", ""))
        self._access.check_reader(request.cookies.get(COOKIE))

    async def _session(self, request: Request) -> Response:
        """What this browser may do; told to everybody, for the page must know whether to ask for the password."""
        try:
            self._access.check_host(request.headers.get("host", ""))
        except Denied as denied:
            return _denied(denied)
        session = self._access.session(request.cookies.get(COOKIE))
        return _json(
            {
                "needs_password": self._access.needs_password,
                "may_read": session is not None or not self._access.needs_password,
                "may_command": session is not None and self._access.commands,
                "token": session.token if session else None,
            }
        )

    async def _overview(self, _request: Request) -> Json:
        document = await self._sources.overview()
        for account in document["accounts"]:
            account.update(self._views.counts(account["id"]))
        return {**document, "events": list(self._board.events)}

    async def _devices(self, request: Request) -> Json:
        query = request.query_params
        wanted = Filter(
            words=tuple(query.get("q", "").lower().split())[:10],
            account=query.get("account", ""),
            kind=query.get("kind", ""),
            only=query.get("only", ""),
        )
        return self._views.devices(wanted, _whole(query, "offset", 0), _whole(query, "limit", 25, MAX_PAGE))

    async def _device(self, request: Request) -> Json:
        query = request.query_params
        return await self._views.device(query.get("account", ""), query.get("device", ""))

    async def _alarms(self, _request: Request) -> Json:
        return await self._views.alarms()

    async def _gaps(self, _request: Request) -> Json:
        return await self._views.gaps()

    async def _commands(self, request: Request) -> Json:
        return await self._views.commands(_whole(request.query_params, "limit", 25, MAX_COMMANDS))

    async def _command(self, request: Request) -> Json:
        query = request.query_params
        return await self._views.command(query.get("account", ""), query.get("id", ""))

    async def _offers(self, request: Request) -> Json:
        return self._views.offered(request.query_params.get("account", ""))

    # the stream of changes --------------------------------------------------------------------------------------

    async def _stream(self, request: Request) -> Response:
        try:
            self._check_reader(request)
            if self._board.listeners >= MAX_STREAMS:
                raise Denied(503, "too many open pages")
        except Denied as denied:
            return _denied(denied)
        headers = {**HEADERS, "X-Accel-Buffering": "no"}
        cookie = request.cookies.get(COOKIE)
        return StreamingResponse(self._changes(cookie), media_type="text/event-stream", headers=headers)

    async def _changes(self, cookie: str | None) -> AsyncIterator[bytes]:
        listener = self._board.listen()
        try:
            yield b"retry: 2000\n\n"
            while not self._closing:
                try:
                    self._access.check_reader(cookie)
                except Denied:
                    return
                listener.clear()
                yield b"data: " + dumps(self._board.revisions.as_json()) + b"\n\n"
                await asyncio.sleep(APART_S)
                await _either(listener, QUIET_S)
        finally:
            self._board.leave(listener)

    # changing ---------------------------------------------------------------------------------------------------

    async def _log_in(self, request: Request) -> Response:
        try:
            self._access.check_host(request.headers.get("host", ""))
            check_same_origin(request.headers)
            fields = await _body(request)
            cookie = self._access.log_in(str(fields.get("password", "")), self._peer(request))
        except Denied as denied:
            return _denied(denied)
        response = _json({"ok": True})
        encrypted = request.headers.get("x-forwarded-proto") == "https" or request.url.scheme == "https"
        response.set_cookie(
            COOKIE, cookie, max_age=int(SESSION_S), httponly=True, samesite="strict", secure=encrypted
        )
        return response

    async def _log_out(self, request: Request) -> Response:
        try:
            check_same_origin(request.headers)
        except Denied as denied:
            return _denied(denied)
        self._access.log_out(request.cookies.get(COOKIE))
        response = _json({"ok": True})
        response.delete_cookie(COOKIE)
        return response

    async def _send(self, request: Request) -> Response:
        """A command, through the door that commands over MQTT take; the answer is its first acknowledgement."""
        try:
            self._access.check_host(request.headers.get("host", ""))
            self._access.check_change(request.cookies.get(COOKIE), request.headers)
            message, account, command_id = self._message(await _body(request), self._peer(request))
            await self._sources.admit(message)
        except Denied as denied:
            return _denied(denied)
        except StoreError as error:
            return _json({"error": str(error)}, 503)
        ack = self._board.ack(account, command_id)
        if ack is None:
            return _json({"error": f"there is no account {account!r} here"}, 404)
        return _json({"ack": ack})

    def _message(self, fields: dict[str, Any], peer: str) -> tuple[CommandMessage, str, str]:
        account, command, device = fields.get("account"), fields.get("command"), fields.get("device")
        payload = fields.get("payload", {})
        named = isinstance(account, str) and account and isinstance(command, str) and command
        if not named or not isinstance(payload, dict) or not (device is None or isinstance(device, str)):
            raise Denied(400, "expected account, command, payload (an object) and, for a device, device")
        payload = {"id": f"page-{secrets.token_hex(8)}", **payload}
        if not is_command_id(payload["id"]):
            raise Denied(400, "id: expected text of 1 to 50 printable characters")
        topic = self._topics.command(str(account), device or None, str(command))
        parsed = self._topics.parse_command(topic)
        if parsed is None or parsed.account != account or (parsed.device_level is None) != (not device):
            raise Denied(400, "expected the plain name of an account and a command")
        message = CommandMessage(
            topic=topic,
            payload=dumps(payload),
            received_at=self._clock.now(),
            requester=f"status page from {peer}"[:200],
        )
        return message, str(account), str(payload["id"])

    def _peer(self, request: Request) -> str:
        forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
        return self._sources.peer(request.client.host if request.client else "", forwarded)


def _files() -> dict[str, str]:
    """Addresses of the static files: the page is `/`, the others are below `/page/`."""
    names = sorted(file.name for file in _STATIC.iterdir() if PurePath(file.name).suffix in _KINDS)
    return {"/" if name == "page.html" else f"/page/{name}": name for name in names}


async def _body(request: Request) -> dict[str, Any]:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise Denied(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    try:
        fields = loads(raw)
    except ValueError as error:
        raise Denied(400, f"expected a JSON object: {error}") from None
    if not isinstance(fields, dict):
        raise Denied(400, "expected a JSON object")
    return fields


async def _either(listener: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await listener.wait()
    except TimeoutError:
        return


def _whole(query: Mapping[str, str], name: str, default: int, most: int = 10**6) -> int:
    text = query.get(name, "")
    return min(most, int(text)) if text.isascii() and text.isdigit() and len(text) < 8 else default


def _json(document: Json, status: int = 200) -> Response:
    return Response(dumps(document), status_code=status, headers=HEADERS, media_type="application/json")


def _denied(denied: Denied) -> Response:
    return _json({"error": denied.reason}, denied.status)
