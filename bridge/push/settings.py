"""The section `http` of the configuration."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from bridge.domain.quantity import Size
from bridge.domain.settings import Network, Settings

_OFF = ("off", "false", "no")
_LISTEN = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>\d{1,5})\Z", re.ASCII
)


def _address(text: str) -> tuple[str, int]:
    match = _LISTEN.match(text)
    if match is not None and int(match["port"]) <= 65535:
        try:
            host = str(ip_address(match["v6"])) if match["v6"] else match["host"]
        except ValueError:
            host = ""
        if host:
            return host, int(match["port"])
    raise ValueError('expected host:port such as "127.0.0.1:8080", "[::1]:8080" or "0.0.0.0:8080", or off')


def _listen(value: Any) -> Any:
    if value is False or (isinstance(value, str) and value.lower() in _OFF):
        return False
    _address(value if isinstance(value, str) else "")
    return value


Listen = Annotated[str | Literal[False], PlainValidator(_listen, json_schema_input_type=str | Literal[False])]


def _word(value: Any) -> Any:
    return "off" if value is False else value.lower() if isinstance(value, str) else value


PageMode = Annotated[
    Literal["off", "read", "control"],
    BeforeValidator(_word, json_schema_input_type=Literal["off", "read", "control", False]),
]
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,253}$")]


class HttpSettings(Settings):
    """Where pushes, health, metrics and the status page are served (`listen` False: nowhere).

    `page`: `off`, `read`, or `control` (commands too, which needs `page_password`). With `page_password` nothing of the
    page is shown without it. `page_hosts`: names under which a page without a password answers, beyond addresses,
    `localhost` and names without a dot. `max_pushes`, `max_push_bytes` (at least one body): what may be under way at
    once. `max_wrong_secrets`: of one address in a minute; 0: any number.
    """

    listen: Listen = "127.0.0.1:8080"
    max_body: Size = 1024**2
    trusted_proxies: tuple[Network, ...] = ()
    page: PageMode = "read"
    page_password: SecretStr | None = None
    page_hosts: tuple[HostName, ...] = ()
    max_pushes: int = Field(default=500, ge=1, le=100_000)
    max_push_bytes: Size = 32 * 1024**2
    max_wrong_secrets: int = Field(default=60, ge=0, le=1_000_000)

    @field_validator("max_body")
    @classmethod
    def _some(cls, value: int) -> int:
        if value < 1:
            raise ValueError("expected a size above 0")
        return value

    @field_validator("page_password")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 8:
            raise ValueError("expected at least 8 characters")
        return value

    @model_validator(mode="after")
    def _control_has_password(self) -> HttpSettings:
        if self.page == "control" and self.page_password is None:
            raise ValueError("expected page_password beside page: control")
        return self

    @property
    def address(self) -> tuple[str, int] | None:
        """Host (IPv6 without brackets) and port (0: any free one) to listen on; None where HTTP is off."""
        return None if self.listen is False else _address(self.listen)
