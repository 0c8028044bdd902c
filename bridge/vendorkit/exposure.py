"""A request as people may see it: what is sent, exactly, but for the secrets in it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_plus

import httpx

from bridge.domain.command import Preview
from bridge.domain.secrecy import MASK, is_secret, masked
from bridge.domain.text import Json, loads


def exposed(
    method: str,
    url: str,
    params: Mapping[str, str],
    headers: Mapping[str, str],
    body: Json | bytes,
    explain: Json = None,
) -> Preview:
    """`url` may have a query of its own; `params` are appended as httpx does it. `body`: JSON, or bytes of the kind
    that the header Content-Type names."""
    if params and (query := str(httpx.QueryParams(dict(params)))):
        url = f"{url}{'&' if '?' in url else '?'}{query}"
    kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    return Preview(
        method=method,
        url=_url(url),
        headers={name: MASK if is_secret(name) else value for name, value in headers.items()},
        body=_body(body, kind) if isinstance(body, bytes) else masked(body),
        explain=explain,
    )


def _url(url: str) -> str:
    place, mark, query = url.partition("?")
    if not mark:
        return url
    parts = [part.partition("=") for part in query.split("&")]
    return f"{place}?" + "&".join(
        f"{name}={MASK}" if is_secret(unquote_plus(name)) else f"{name}{equals}{value}"
        for name, equals, value in parts
    )


def _body(content: bytes, kind: str) -> Json:
    text = content.decode(errors="replace")
    if "json" in kind:
        return masked(loads(content))
    if "x-www-form-urlencoded" in kind:
        return masked(dict(parse_qsl(text, keep_blank_values=True)))
    return text
